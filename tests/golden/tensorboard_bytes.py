"""Prints the bytes that TensorBoard's own code writes for four events: the constants of core/metrics_test.cpp."""
import io

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def show(name, event):
    out = io.BytesIO()
    RecordWriter(out).write(event.SerializeToString(deterministic=True))
    print(name, out.getvalue().hex())


show("version", event_pb2.Event(wall_time=1.5, file_version="brain.Event:2"))
show("start", event_pb2.Event(wall_time=2.5, step=7, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)))
scalars = [summary_pb2.Summary.Value(tag="reward", simple_value=0.25), summary_pb2.Summary.Value(tag="kl", simple_value=-1.0)]
show("scalars", event_pb2.Event(wall_time=3.5, step=300, summary=summary_pb2.Summary(value=scalars)))
text = summary_pb2.Summary.Value(
    tag="sample",
    metadata=summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")),
    tensor=tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        string_val=["hi **é**".encode()],
        tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)]),
    ),
)
show("text", event_pb2.Event(wall_time=4.5, step=2, summary=summary_pb2.Summary(value=[text])))
