"""What stops a pipeline, and that the next call goes on from there with the same results: a full disk, a file-size limit, a judge that nobody
answers for; `keep: needed`; the report of the folder. usage: pipeline_faults.py R1_PROGRAM"""
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading

from pipeline_support import make_tiny, outputs, r1

RECIPE = """
schema: 1
kind: pipeline
vars: {judge: 'http://127.0.0.1:1/v1'}
output: {dir: out, keep: KEEP}
stages:
  - name: sft
    recipe:
      kind: sft
      model: {path: tiny, dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 12, seed: 0}, template: chat}
      sft: {steps: 2, examples_per_update: 4, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 1, tensorboard: false}
  - name: rl
    recipe:
      kind: grpo
      model: {path: '${sft.checkpoint}', dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 20, seed: 0}, template: chat}
      rollout: {samples_per_prompt: 2, max_new_tokens: 6}
      rewards:
        - {name: length, max: 3}
        - {name: judge, url: '${vars.judge}', model: m, retries: 0, timeout: 5, weight: 0.5}
      rl: {steps: 2, prompts_per_rollout: 4, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 1, tensorboard: false}
  - name: eval
    recipe:
      kind: eval
      model: {path: '${rl.checkpoint}', dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 6, seed: 0}, template: chat}
      protocol: greedy
      max_new_tokens: 6
"""


class Judge(http.server.BaseHTTPRequestHandler):
    """Says CORRECT where the answer that it is shown has a 4 in it."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = body["messages"][-1]["content"]
        # The last marked block is the answer.
        blocks = re.findall(r"\[BEGIN[^\]]*\]\n?(.*?)\n?\[END", shown, re.S) or [shown]
        word = "CORRECT" if "4" in blocks[-1] else "INCORRECT"
        reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": word}, "finish_reason": "stop"}], "usage": {}}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)

    def log_message(self, *args):
        pass


def make(folder, keep="weights"):
    make_tiny(folder)
    (folder / "p.yaml").write_text(RECIPE.replace("KEEP", keep))


def pipeline(folder, judge, **more):
    return r1(folder, "pipeline", "p.yaml", f"vars.judge={judge}", **more)


def disk(tmp, judge, expected):
    """The weights do not fit: the stage that writes them stops, the finished one before it stays, the next call ends the same."""
    folder = tmp / "limited"
    make(folder)
    size = (folder / "tiny/model.safetensors").stat().st_size
    pipeline(folder, judge, code=1, limit=size // 2, words=("r1: error: stage sft: ", "File too large"))
    assert outputs(folder) == {}
    pipeline(folder, judge)
    assert outputs(folder) == expected
    # A disk that is really full, where the machine lets one be made.
    full = tmp / "full"
    full.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={20 * size}", "tmpfs", full], capture_output=True).returncode == 0
    if not mounted:
        print("no file system of one's own here: the full disk is not tried, the file-size limit is")
        return
    try:
        make(full)
        ballast = full / "ballast"
        with open(ballast, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        def leave(room):
            with open(ballast, "r+b") as f:
                f.truncate(max(0, ballast.stat().st_size - room))

        leave(size)  # room for the records, none for a checkpoint: that is known before any work
        refusal = pipeline(full, judge, code=2, words=("r1: error: stage sft: ", "one checkpoint takes"))
        assert "step 1/2" not in refusal, refusal
        leave(int(4.3 * size))  # a checkpoint alone would have room
        stopped = pipeline(full, judge, code=1, words=("r1: error: stage sft: ", "No space left on device"))
        assert "step 1/2" in stopped, stopped
        ballast.unlink()
        subprocess.run(["mount", "-o", f"remount,size={60 * size}", full], check=True)
        pipeline(full, judge)
        assert outputs(full) == expected
    finally:
        subprocess.run(["umount", "-l", full], check=False)


def main():
    tmp = pathlib.Path(tempfile.mkdtemp())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    judge = f"http://127.0.0.1:{server.server_port}/v1"
    with socket.socket() as s:  # a port that nobody listens on
        s.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{s.getsockname()[1]}/v1"
    try:
        whole = tmp / "whole"
        make(whole)
        # The dry run asks nobody.
        r1(whole, "pipeline", "p.yaml", f"vars.judge={nobody}", "--dry-run", words=("3 eval",))
        # Nobody answers: what was finished before stays; the same call with the judge there goes on.
        pipeline(whole, nobody, code=2, words=("r1: error: stage rl: ", f"no connection to {nobody}"))
        assert sorted(outputs(whole)) == ["sft"]
        text = pipeline(whole, judge)
        assert "stage 1/3 sft" in text and ": finished" in text.split("stage 1/3 sft")[1].splitlines()[0], text
        expected = outputs(whole)
        assert sorted(expected) == ["eval", "rl", "sft"]
        disk(tmp, judge, expected)

        # keep: needed: weights go once those who refer to them are finished; records stay, and nothing runs again for it.
        needed = tmp / "needed"
        make(needed, "needed")
        pipeline(needed, judge)
        assert outputs(needed) == expected
        assert not list(needed.glob("out/stages/sft/*/run/checkpoints")) and not list(needed.glob("out/stages/rl/*/run/checkpoints"))
        assert ": finished" in pipeline(needed, judge)
        # A later stage under other settings needs the weights again: they are made again, and are the same.
        text = r1(needed, "pipeline", "p.yaml", f"vars.judge={judge}", "stages.2.set={seed: 5}")
        assert "stage 2/3 rl" in text and "dropped" in text and outputs(needed)["rl"] == expected["rl"], text

        # The report's command line on a pipeline's own folder.
        r1(whole, "report", "out", words=("out/report.html",))
        page = (whole / "out/report.html").read_text()
        for part in ("Pipeline of 3 stages", "Stage by stage", "Benchmarks by stage", "Answers by stage", "The same prompt at every stage", "add_1, greedy"):
            assert part in page, part
        r1(whole, "report", "out", "-o", "deep/er/page.html", words=("deep/er/page.html",))
        assert (whole / "deep/er/page.html").exists()
        assert r1(whole, "-q", "report", "out", "--out", "quiet.html") == ""
        r1(whole, "report", "nothing", code=2, words=("no such folder",))
        r1(whole, "report", code=2, words=("run",))
        r1(whole, "report", "out", "nothing", "-o", "two.html", words=("r1: warning: nothing: no such folder",))
    finally:
        server.shutdown()
        shutil.rmtree(tmp, ignore_errors=True)


main()
