"""Prints what TensorBoard itself finds in a folder of event files: a line a tag, step:value."""
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
for tag in events.Tags()["scalars"]:
    print(tag, *(f"{e.step}:{e.value}" for e in events.Scalars(tag)))
for tag in events.Tags()["tensors"]:
    print(tag, *(f"{e.step}:{e.tensor_proto.string_val[0].decode()}" for e in events.Tensors(tag)))
