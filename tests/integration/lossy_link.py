"""Training over a network that loses 5 % of its packets and delays each by 50 ms with jitter: two network namespaces, joined by a forwarder between two
tun devices, a rollout server in the one and the trainer in the other; then two ranks, one in each. Each run must end with the weights, to the bit, and the
samples of the same run over a link that loses nothing: no sample lost or doubled, no stale weights used.
usage: lossy_link.py R1_PROGRAM [short|long] [SEED]   exit code 77 = skipped: no /dev/net/tun, or no right to make namespaces

Nothing of the machine's own network is touched: this process leaves it at once, and what it makes goes away with it, also when it is killed."""
import ctypes
import fcntl
import hashlib
import heapq
import json
import os
import pathlib
import random
import re
import select
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
LONG = len(sys.argv) > 2 and sys.argv[2] == "long"
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
UPDATES, RANK_UPDATES = (60, 10) if LONG else (8, 2)
LOSS, DELAY, JITTER = 0.05, 0.05, 0.015  # share, seconds
ADDRESSES = ("10.77.0.1", "10.77.0.2")

RECIPE = """
kind: grpo
model: {path: tiny, dtype: bfloat16, device: cpu}
data: {generate: {task: add, level: 1, n: 40, seed: 0}, template: chat}
rollout: {samples_per_prompt: 4, max_new_tokens: 24}
rewards: [{name: length, max: 12}]
rl: {prompts_per_rollout: 4, learning_rate: 1.0e-3, warmup_steps: 0}
train: {threads: 1, lanes: 2, comm_start_timeout_s: 60}
output: {save_every: 100, samples_every: 1, tensorboard: false}
"""

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET, PR_SET_PDEATHSIG = 0x40000000, 1
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x891C, 0x8914, 0x1


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def new_namespace(address):
    """Leaves this thread in it. -> its descriptor, and that of its end of the link."""
    if libc.unshare(CLONE_NEWNET) != 0:
        skip(f"no network namespace can be made here ({os.strerror(ctypes.get_errno())})")
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"link", IFF_TUN | IFF_NO_PI))
    except OSError as e:
        skip(f"no tun device ({e.strerror})")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        as_address = lambda text: struct.pack("16sHH4s8x", b"link", socket.AF_INET, 0, socket.inet_aton(text)) + b"\0" * 8
        fcntl.ioctl(s, SIOCSIFADDR, as_address(address))
        fcntl.ioctl(s, SIOCSIFNETMASK, as_address("255.255.255.0"))
        for name in (b"link", b"lo"):
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY), tun


class Link:
    """Carries packets between the two devices, late, and not all of them."""

    def __init__(self, tuns, rng):
        self.tuns, self.rng, self.loss, self.delay, self.jitter = tuns, rng, 0.0, 0.0, 0.0
        self.carried = self.dropped = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        due, number = [], 0  # heap of (when, number, device to write to, packet)
        while True:
            wait = max(0.0, due[0][0] - time.monotonic()) if due else 1.0
            for tun in select.select(self.tuns, [], [], wait)[0]:
                packet = os.read(tun, 65536)
                if self.rng.random() < self.loss:
                    self.dropped += 1
                    continue
                number += 1
                when = time.monotonic() + self.delay + self.rng.uniform(-self.jitter, self.jitter)
                heapq.heappush(due, (when, number, self.tuns[1 - self.tuns.index(tun)], packet))
            while due and due[0][0] <= time.monotonic():
                try:
                    os.write(due[0][2], due[0][3])
                    self.carried += 1
                except OSError:  # the device's queue is full: a packet less
                    self.dropped += 1
                heapq.heappop(due)

    def lossy(self, yes):
        self.loss, self.delay, self.jitter = (LOSS, DELAY, JITTER) if yes else (0.0, 0.0, 0.0)


def start(namespace, command, log, **environment):
    def enter():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if libc.setns(namespace, CLONE_NEWNET) != 0:
            os._exit(99)

    with open(log, "w") as out:
        return subprocess.Popen([PROGRAM, *command], stdout=out, stderr=subprocess.STDOUT, preexec_fn=enter, env={**os.environ, "OMP_NUM_THREADS": "1", "R1_TEST_TOKEN": "s3cret", **environment})


def wait_for(text, log, process):
    for _ in range(600):
        found = re.search(text, log.read_text(), re.M)
        if found:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    if "built without" in log.read_text():
        skip("no gRPC or no HTTP in this build")
    sys.exit(f"{log.name}: no {text}:\n{log.read_text()[-3000:]}")


def samples(folder):
    """Every sample that was trained on, once each, with the weights' age."""
    rows = []
    for path in sorted((folder / "samples").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows.append(json.dumps({k: v for k, v in row.items() if not k.startswith(("time", "seconds"))}, sort_keys=True))
    assert rows, "no samples were written"
    assert len(set(rows)) == len(rows), "a sample came twice"
    return rows


class Runs:
    def __init__(self, folder, namespaces, link):
        self.folder, self.namespaces, self.link = folder, namespaces, link
        self.processes = []

    def start(self, where, command, name, **environment):
        log = self.folder / f"{name}.log"
        self.processes.append(start(self.namespaces[where], command, log, **environment))
        return self.processes[-1], log

    def ended(self, name, processes, updates):
        for process, log in processes:
            try:
                code = process.wait(900 if LONG else 120)
            except subprocess.TimeoutExpired:
                sys.exit(f"{name} takes too long:\n{log.read_text()[-3000:]}")
            assert code == 0, (name, code, log.read_text()[-3000:])
        folder = self.folder / name
        weights = hashlib.sha256((folder / "checkpoints" / f"step_{updates:06}" / "model.safetensors").read_bytes()).hexdigest()
        ages = [json.loads(line).get("staleness/max", 0) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return weights, samples(folder), max(ages)

    def train(self, name, lossy, updates, *more):
        self.link.lossy(lossy)
        began, dropped = time.time(), self.link.dropped
        out = self.ended(name, [self.start(1, ["train", "recipe.yaml", f"output.dir={name}", f"rl.steps={updates}", *more], name)], updates)
        print(f"{name}: {updates} updates, {len(out[1])} samples, {self.link.dropped - dropped} packets lost, {time.time() - began:.1f} s")
        return out

    def ranks(self, name, lossy, updates, *more):
        self.link.lossy(lossy)
        began, dropped = time.time(), self.link.dropped
        variables = {"WORLD_SIZE": "2", "MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": "29600"}
        command = ["train", "recipe.yaml", f"output.dir={name}", f"rl.steps={updates}", *more]
        out = self.ended(name, [self.start(r, command, f"{name}.{r}", RANK=str(r), LOCAL_RANK="0", LOCAL_WORLD_SIZE="1", **variables) for r in (0, 1)], updates)
        print(f"{name}: {updates} updates of two ranks, {len(out[1])} samples, {self.link.dropped - dropped} packets lost, {time.time() - began:.1f} s")
        return out


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not os.path.exists("/dev/net/tun"):
        skip("no /dev/net/tun")
    if not shutil.which("openssl"):
        skip("no openssl, whose certificates servers beyond this machine need")
    ends = [new_namespace(address) for address in ADDRESSES]
    link = Link([tun for _, tun in ends], random.Random(SEED))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="r1_lossy_"))
    runs = Runs(folder, [namespace for namespace, _ in ends], link)
    os.chdir(folder)
    try:
        subprocess.run([sys.executable, "-B", HERE / "tiny_model.py", "tiny", "3"], check=True)
        pathlib.Path("recipe.yaml").write_text(RECIPE)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={ADDRESSES[0]}", "-addext",
                        f"subjectAltName=IP:{ADDRESSES[0]}", "-keyout", "server.key", "-out", "server.pem"], check=True, capture_output=True)
        server, log = runs.start(0, ["--threads", "1", "serve", "-m", "tiny", "--device", "cpu", "--listen", "127.0.0.1:0", "--grpc", f"{ADDRESSES[0]}:7001", "--kv-cache-gb", "0.05",
                                     "--max-rows", "8", "--tls-cert", "server.pem", "--tls-key", "server.key", "--token-env", "R1_TEST_TOKEN"], "server")
        wait_for(r"^rollouts on grpc://", log, server)
        remote = [f"rollout.engine=grpc://{ADDRESSES[0]}:7001", "rollout.grpc={token_env: R1_TEST_TOKEN, tls: {ca: server.pem}}"]

        clean = runs.train("clean", False, UPDATES, *remote)
        assert clean[2] == 0
        assert runs.train("lossy", True, UPDATES, *remote) == clean, "the lossy link: other weights or samples"
        beside = runs.train("clean_beside", False, UPDATES, *remote, "rl.max_staleness=1")
        assert beside[2] == 1 and beside[0] != clean[0], "staleness 1 is no other run"
        assert runs.train("lossy_beside", True, UPDATES, *remote, "rl.max_staleness=1") == beside, "the lossy link with staleness 1: other weights or samples"
        assert link.dropped > UPDATES, f"{link.dropped} packets were lost: hardly a lossy link"

        ranks = runs.ranks("clean_ranks", False, RANK_UPDATES)
        assert runs.ranks("lossy_ranks", True, RANK_UPDATES) == ranks, "two ranks over the lossy link: other weights or samples"
        print(f"{link.dropped} packets lost, {link.carried} carried: weights and samples of the links that lose nothing")
    finally:
        for p in runs.processes:
            p.kill()
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


main()
