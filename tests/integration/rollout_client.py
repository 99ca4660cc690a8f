"""The grpcio client of Python against `r1 serve --grpc`: messages made from proto/rollout.proto and weights.proto as they are, health, reflection, TLS and
token, draws that repeat, refusals. usage: rollout_client.py R1_PROGRAM PROTO_DIR; skipped (77) where Python has no grpcio or there is no protoc
(R1_GOLDEN_PYTHON runs it if set)."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

golden = os.environ.get("R1_GOLDEN_PYTHON")
if golden and not os.environ.get("R1_ROLLOUT_CLIENT_AGAIN"):
    os.environ["R1_ROLLOUT_CLIENT_AGAIN"] = "1"
    os.execv(golden, [golden, "-B", *sys.argv])
try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as e:
    print("skipped:", e)
    sys.exit(77)
if not shutil.which("protoc"):
    print("skipped: no protoc")
    sys.exit(77)

HERE = pathlib.Path(__file__).parent
PROGRAM, PROTO = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
TOKEN = "t0ken"


def messages(folder):
    subprocess.run(["protoc", "-I", PROTO, f"--descriptor_set_out={folder / 'set'}", "rollout.proto", "weights.proto"], check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString((folder / "set").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for f in files.file:
        pool.Add(f)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName("r1." + name))


class Client:
    def __init__(self, channel, kind, token=TOKEN):
        self.kind, self.metadata = kind, [("authorization", "Bearer " + token)] if token else []
        service = "/r1.rollout.v1.RolloutService/"
        self.describe_call = channel.unary_unary(service + "Describe", lambda m: m.SerializeToString(), kind("rollout.v1.DescribeReply").FromString)
        self.generate_call = channel.unary_stream(service + "Generate", lambda m: m.SerializeToString(), kind("rollout.v1.GenerateReply").FromString)

    def describe(self):
        return self.describe_call(self.kind("rollout.v1.DescribeRequest")(), metadata=self.metadata, timeout=30)

    def generate(self, samples=3, stream=True, **fields):
        request = self.kind("rollout.v1.GenerateRequest")(prompt_tokens=list(b"What is 2 + 3?"), samples=samples, stream=stream, **fields)
        request.sampling.temperature = 1
        request.sampling.max_new_tokens = 20
        request.key.seed = 5
        tokens, logprobs, finished = {}, {}, {}
        for reply in self.generate_call(request, metadata=self.metadata, timeout=60):
            for t in reply.tokens:
                tokens.setdefault(t.sample, []).extend(t.token_ids)
                logprobs.setdefault(t.sample, []).extend(t.logprobs)
            for f in reply.finished:
                finished[f.sample] = f
        return tokens, logprobs, finished


def refused(code, call, word=""):
    try:
        call()
    except grpc.RpcError as e:
        assert e.code() in (code if isinstance(code, tuple) else (code,)) and word in e.details(), (e.code(), e.details())
        return
    raise SystemExit(f"no {code}")


def serve(folder, *options):
    log = folder / "serve.log"
    process = subprocess.Popen([PROGRAM, "serve", "-m", folder / "tiny", "--device", "cpu", "--listen", "127.0.0.1:0", "--grpc", "0", "--kv-cache-gb", "0.05",
                                "--token-env", "R1_TEST_TOKEN", *options], stdout=open(log, "w"), stderr=subprocess.STDOUT, env={**os.environ, "R1_TEST_TOKEN": TOKEN})
    for _ in range(600):
        found = re.search(r"^rollouts on grpc://(\S+)$", log.read_text(), re.M)
        if found:
            return process, found.group(1)
        if process.poll() is not None:
            if "built without" in log.read_text():
                print("skipped:", log.read_text())
                sys.exit(77)
            break
        time.sleep(0.05)
    raise SystemExit("the server did not start: " + log.read_text())


def raw(channel, method, request, stream=False):
    same = lambda b: b
    if stream:
        return next(iter(channel.stream_stream(method, same, same)(iter([request]), timeout=30)))
    return channel.unary_unary(method, same, same)(request, timeout=30)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="r1_grpcio_"))
    process = None
    try:
        kind = messages(folder)
        subprocess.run([sys.executable, "-B", HERE / "tiny_model.py", folder / "tiny"], check=True)
        process, address = serve(folder)
        with grpc.insecure_channel(address) as channel:
            assert raw(channel, "/grpc.health.v1.Health/Check", b"") == b"\x08\x01", "not SERVING"
            name = b"r1.rollout.v1.RolloutService"
            assert raw(channel, "/grpc.health.v1.Health/Check", b"\x0a" + bytes([len(name)]) + name) == b"\x08\x01", "not SERVING by name"
            listed = raw(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x3a\x00", stream=True)
            assert name in listed and b"r1.weights.v1.WeightService" in listed, listed
            client = Client(channel, kind)
            about = client.describe()
            assert about.protocol == 1 and about.vocab_size == 259 and len(about.tokenizer) == 16, about
            tokens, logprobs, finished = client.generate()
            assert sorted(finished) == [0, 1, 2]
            for s, f in finished.items():
                assert list(f.token_ids) == tokens[s] and list(f.logprobs) == logprobs[s] and 0 < len(f.token_ids) <= 20
                assert all(p <= 0 for p in f.logprobs) and f.stop in (1, 3)
                assert [(r.start, r.weights.version, len(r.weights.digest)) for r in f.version_runs] == [(0, 0, 16)]
            assert client.generate(stream=False)[2] == finished, "the same key gave other completions"
            refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: client.generate(samples=0), "samples")
            refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: client.generate(expect={"version": 9}), "version 9")
            refused(grpc.StatusCode.UNAUTHENTICATED, lambda: Client(channel, kind, "").describe(), "no token")
            refused(grpc.StatusCode.UNAUTHENTICATED, lambda: Client(channel, kind, "wrong").generate(), "wrong")
            refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: client.generate(prompt_id="x" * (17 << 20)), "larger than max")
            garbage = channel.unary_stream("/r1.rollout.v1.RolloutService/Generate", lambda b: b, lambda b: b)
            refused((grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED),  # by gRPC, before our code
                    lambda: list(garbage(b"\xff\xff\xff", metadata=client.metadata, timeout=30)))
            client.generate()  # and it still answers
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (folder / "serve.log").read_text()

        if shutil.which("openssl"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                            "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "server.key", "-out", folder / "server.pem"], check=True, capture_output=True)
            process, address = serve(folder, "--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key")
            port = address.rsplit(":", 1)[1]
            trusted = grpc.ssl_channel_credentials((folder / "server.pem").read_bytes())
            with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
                assert Client(channel, kind).generate()[2] == finished, "TLS: other completions"
            with grpc.insecure_channel(f"localhost:{port}") as channel:
                refused(grpc.StatusCode.UNAVAILABLE, lambda: Client(channel, kind).describe())
        print("grpcio", grpc.__version__, "agrees")
    finally:
        if process and process.poll() is None:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
