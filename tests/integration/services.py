"""Training through rollout servers as a user runs it: `r1 serve --grpc` and `r1 train` with rollout.engine grpc://..., on a tiny model. The final weights
must be, to the bit, those of a run in one process: with one server, with three, with servers killed (SIGKILL) and started again at random, and
over a network that delays, stalls and cuts connections. usage: services.py R1_PROGRAM [KILLS] [SEED]"""
import hashlib
import itertools
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 4
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
UPDATES = 30 * KILLS
SLOW_UPDATES = 60  # over a slow network

RECIPE = f"""
schema: 1
kind: grpo
model: {{path: tiny, dtype: bfloat16, device: cpu}}
data: {{generate: {{task: add, level: 1, n: 40, seed: 0}}, template: chat}}
rollout: {{samples_per_prompt: 4, max_new_tokens: 48}}
rewards: [{{name: length, max: 24}}]
rl: {{steps: {UPDATES}, prompts_per_rollout: 6, learning_rate: 1.0e-3, warmup_steps: 0}}
train: {{threads: 1}}
output: {{save_every: 100, tensorboard: false}}
"""


class Server:
    """One `r1 serve --grpc`, that can be killed and started again at its port."""

    def __init__(self, folder, number, options=(), token=""):
        self.folder, self.log, self.port, self.process = folder, folder / f"server{number}.log", 0, None
        self.options, self.environment = options, {**os.environ, "R1_TEST_TOKEN": token}
        self.start()

    def start(self):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([PROGRAM, "--threads", "1", "serve", "-m", "tiny", "--device", "cpu", "--listen", "127.0.0.1:0", "--grpc", str(self.port),
                                             "--kv-cache-gb", "0.05", "--max-rows", "8", *self.options], cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, env=self.environment)
        for _ in range(600):
            found = re.search(r"^rollouts on grpc://127.0.0.1:(\d+)$", self.log.read_text(), re.M)
            if found:
                self.port = int(found.group(1))
                return
            if self.process.poll() is not None:
                if "built without" in self.log.read_text():
                    print("no gRPC or no HTTP in this build")
                    sys.exit(77)
                break
            time.sleep(0.05)
        raise SystemExit("a server did not start: " + self.log.read_text())

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Proxy:
    """Passes bytes on to a port, each piece `delay` seconds late, now and then later or never: then the connection is torn, in one of the ways there are."""

    TEARS = ("closed", "reset", "half closed", "truncated")

    def __init__(self, port, rng, cut, pieces, delay=0.05, jitter=0.03, stall=0.05):
        """One in `cut` of the `pieces` (a count that proxies share) tears its connection, so that every way comes up however quick the run is."""
        self.target, self.rng, self.delay, self.jitter, self.stall, self.cut, self.pieces = port, rng, delay, jitter, stall, cut, pieces
        self.stalls, self.tears = 0, dict.fromkeys(self.TEARS, 0)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(1 << 20):
                wait = self.delay + self.rng.uniform(-self.jitter, self.jitter)
                if self.rng.random() < self.stall:  # as a lost packet that TCP sends again
                    wait += 0.2
                    self.stalls += 1
                time.sleep(max(0.0, wait))
                number = next(self.pieces)
                if number % self.cut == 0:
                    self.tear(sink, data, self.TEARS[number // self.cut % len(self.TEARS)])
                    break
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def tear(self, sink, data, how):
        self.tears[how] += 1
        if how == "half closed":  # nothing comes any more, though what goes the other way is taken for a while
            sink.shutdown(socket.SHUT_WR)
            time.sleep(0.5)
        if how == "truncated" and len(data) > 1:  # in the middle of a frame of HTTP/2
            sink.sendall(data[: len(data) // 2])
        if how in ("reset", "truncated"):
            sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sink.close()


def train(folder, name, ports, during=None, host="127.0.0.1", extra=(), token="", updates=UPDATES):
    engine = "local" if not ports else "grpc://" + ",".join(f"{host}:{p}" for p in ports)
    with open(folder / f"{name}.log", "w") as log:
        run = subprocess.Popen([PROGRAM, "train", "recipe.yaml", f"rollout.engine={engine}", f"output.dir={name}", f"rl.steps={updates}", *extra], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                               env={**os.environ, "R1_TEST_TOKEN": token})
    if during:
        during(run)
    try:
        code = run.wait(240)
    finally:
        run.kill()
    assert code == 0, (name, code, (folder / f"{name}.log").read_text()[-3000:])
    weights = (folder / name / "checkpoints" / f"step_{updates:06}" / "model.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest()


def kill_at_random(servers, rng):
    def during(run):
        while run.poll() is None:
            time.sleep(rng.uniform(0.05, 0.3))
            victim = rng.choice(servers)
            victim.kill()
            counts[0] += 1
            time.sleep(rng.uniform(0.0, 0.2))
            victim.start()
    counts = [0]
    return during, counts


def main():
    rng = random.Random(SEED)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="r1_services_"))
    servers = []
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        subprocess.run([sys.executable, "-B", HERE / "tiny_model.py", folder / "tiny", "3"], check=True)
        (folder / "recipe.yaml").write_text(RECIPE)
        expected = train(folder, "local", [])
        servers = [Server(folder, i) for i in range(3)]
        ports = [s.port for s in servers]
        assert train(folder, "one", ports[:1]) == expected, "one server: other weights"
        assert train(folder, "three", ports) == expected, "three servers: other weights"
        print("one and three servers: the weights of the local run")

        during, counts = kill_at_random(servers, rng)
        assert train(folder, "killed", ports, during) == expected, "killed servers: other weights"
        print(f"{counts[0]} servers killed and started again: the weights of the local run")
        assert counts[0] >= KILLS, "the run was over before servers could be killed"

        shorter = train(folder, "short", [], updates=SLOW_UPDATES)
        pieces = itertools.count(1)
        proxies = [Proxy(p, rng, 100, pieces) for p in ports]
        start = time.time()
        assert train(folder, "slow", [p.port for p in proxies], extra=["rollout.grpc.weights=delta"], updates=SLOW_UPDATES) == shorter, "slow network: other weights"
        tears = {how: sum(p.tears[how] for p in proxies) for how in Proxy.TEARS}
        print(f"50 ms of delay, {sum(p.stalls for p in proxies)} pieces 200 ms late, connections torn: {tears}: the weights of the local run, {time.time() - start:.1f} s")
        assert all(tears.values()), "the run was over before connections were torn in every way"

        if shutil.which("openssl"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                            "-addext", "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.pem"], cwd=folder, check=True, capture_output=True)
            servers.append(Server(folder, 3, ["--tls-cert", "server.pem", "--tls-key", "server.key", "--token-env", "R1_TEST_TOKEN"], "s3cret"))
            secret = dict(ports=[servers[3].port], host="localhost", extra=["rollout.grpc={token_env: R1_TEST_TOKEN, tls: {ca: server.pem}}"])
            assert train(folder, "secret", token="s3cret", **secret) == expected, "TLS: other weights"
            for token, word, options in [("wrong", "the token is wrong", secret), ("s3cret", "not reached", {**secret, "extra": []})]:
                try:
                    train(folder, "refused", token=token, **{**options, "extra": [*options["extra"], "rollout.grpc.start_timeout=2"]})
                    raise SystemExit("not refused: " + word)
                except AssertionError as e:
                    assert word in str(e) and f"localhost:{servers[3].port}" in str(e), e
            print("TLS and a token: the weights of the local run; without either, refused")

        # Nobody there: an error that names the servers, exit code 2; a run through servers goes on as a local one, and the other way round.
        for s in servers:
            s.process.send_signal(signal.SIGTERM)
        for s in servers:
            assert s.process.wait(60) == 0, s.log.read_text()
        gone = subprocess.run([PROGRAM, "train", "recipe.yaml", f"rollout.engine=grpc://127.0.0.1:{ports[0]}", "rollout.grpc.start_timeout=1", "output.dir=gone"],
                              cwd=folder, capture_output=True, text=True, timeout=60)
        assert gone.returncode == 2 and f"127.0.0.1:{ports[0]}" in gone.stderr and "start_timeout" in gone.stderr, gone
        far = subprocess.run([PROGRAM, "train", "recipe.yaml", "rollout.engine=grpc://10.0.0.1:5", "output.dir=far"], cwd=folder, capture_output=True, text=True, timeout=60)
        assert far.returncode == 2 and "tls" in far.stderr, far
        open_to_all = subprocess.run([PROGRAM, "serve", "-m", "tiny", "--device", "cpu", "--listen", "127.0.0.1:0", "--grpc", "0.0.0.0:0"], cwd=folder, capture_output=True, text=True, timeout=60)
        assert open_to_all.returncode == 2 and "--tls-cert" in open_to_all.stderr, open_to_all
        print("refusals name address and remedy")
    finally:
        for s in servers:
            if s.process.poll() is None:
                s.kill()
        shutil.rmtree(folder, ignore_errors=True)


main()
