"""Kills `r1 generate` by SIGKILL in the middle of sampling, again and again; the finished set must equal that of a call that was never killed.
usage: generate_kills.py R1_PROGRAM local|http SAMPLES KILLS
local: a tiny random model in process. http: two servers of one model (stand-ins in this script), both asked at once."""
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
PER_PROMPT = 8


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):  # a killed client's connection
        pass


class Server(http.server.BaseHTTPRequestHandler):
    """Its reply is a function of question and seed; now and then it is right."""
    protocol_version = "HTTP/1.1"
    asked = {}

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Server.asked[self.server.server_port] = Server.asked.get(self.server.server_port, 0) + 1
        question = body["messages"][-1]["content"]
        key = hashlib.sha256(f"{question} {body['seed']}".encode()).digest()
        a, b = map(int, re.findall(r"\d+", question))
        words = " ".join("step%d" % (x % 40) for x in key[: 4 + key[0] % 12])
        text = f"<think>{words}</think>\n\\boxed{{{a + b + (key[1] % 3 == 0)}}}"
        reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "length" if key[2] % 16 == 0 else "stop"}],
                            "usage": {"completion_tokens": len(text)}}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)

    def log_message(self, *args):
        pass


def main():
    program, kind, samples, kills = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="r1_generate_"))
    try:
        run(program, kind, samples, kills, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(program, kind, samples, kills, folder):
    rng = random.Random(samples * 31 + kills)
    data = folder / "prompts.jsonl"
    subprocess.run([program, "data", "add", "--level", "4", "-n", str(samples // PER_PROMPT), "-o", data], check=True)
    if kind == "local":
        subprocess.run([sys.executable, HERE / "tiny_model.py", folder / "tiny"], check=True)
        teacher = ["-m", folder / "tiny", "--max-new-tokens", "16"]
    else:
        ports = []
        for _ in range(2):
            server = Listener(("127.0.0.1", 0), Server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            ports.append(server.server_port)
        teacher = ["--url", ",".join(f"http://127.0.0.1:{p}/v1" for p in ports), "--served-model", "stand-in", "--parallel", "4"]

    def command(out):
        extra = ["--filter", "finished,correct", "--dedup", "0.8", "--select", "shortest", "--keep", "2"] if kind == "http" else []
        return [program, "-q", "generate", *teacher, "-d", data, "-n", str(PER_PROMPT), "--seed", "5", "--score", *extra, "-o", out]

    env = dict(os.environ, OMP_NUM_THREADS="1")
    start = time.time()
    subprocess.run(command(folder / "whole"), check=True, env=env)
    whole_s = time.time() - start
    raw_size = (folder / "whole/raw/samples.jsonl").stat().st_size
    head = sum(len(line) for line in open(folder / "whole/raw/samples.jsonl", "rb") if b'"columns"' in line)
    killed = folder / "killed"
    raw = killed / "raw/samples.jsonl"
    done = 0
    for share in sorted(rng.uniform(0.02, 0.95) for _ in range(kills)):
        process = subprocess.Popen(command(killed), env=env)
        while process.poll() is None and not (raw.exists() and raw.stat().st_size >= head + share * (raw_size - head)):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        done += process.wait() == -signal.SIGKILL
        assert not (killed / "data.jsonl").exists(), "the set appeared before it was complete"
    assert done == kills, f"only {done} of {kills} kills hit a running program"
    before = raw.read_bytes().count(b'"text"')
    subprocess.run(command(killed), check=True, env=env)
    for name in ("data.jsonl", "README.md"):
        a, b = (folder / "whole" / name).read_bytes(), (killed / name).read_bytes()
        assert a == b, f"{name} differs after {kills} kills: {len(a)} and {len(b)} bytes"
    records = (killed / "data.jsonl").read_bytes().count(b"\n")
    drawn = sum(1 for line in open(raw, "rb") if b'"text":' in line)
    wanted = samples // PER_PROMPT * PER_PROMPT
    assert drawn == wanted, f"{drawn} samples were drawn, {wanted} were wanted: some twice"
    assert records > 0
    if kind == "http":
        assert all(Server.asked.get(p, 0) > wanted / 10 for p in ports), f"one server did nearly everything: {Server.asked}"
        assert records < wanted
    # The same samples filtered otherwise, without drawing.
    subprocess.run([program, "-q", "generate", "--from", raw, "--filter", "finished", "-o", folder / "again.jsonl"], check=True, env=env)
    print(f"{kind}: {drawn} samples, {kills} kills ({before} samples before the last start), {records} records, equal; whole run {whole_s:.1f} s")


main()
