"""r1 serve as a whole, on a real model: urllib, curl and the official openai client; SIGTERM drains, SIGKILL and a new start.

usage: serve_test.py R1_PROGRAM [MODEL_DIR]; the client is tried if this Python has it (R1_GOLDEN_PYTHON runs the test then).
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

PROGRAM, MODEL = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
if not MODEL:
    print("R1_TEST_MODEL is not set")
    sys.exit(77)
golden = os.environ.get("R1_GOLDEN_PYTHON")
if golden and not os.environ.get("R1_SERVE_TEST_AGAIN"):
    os.environ["R1_SERVE_TEST_AGAIN"] = "1"
    os.execv(golden, [golden, "-B", *sys.argv])

TOKEN = "t0ken"
QUESTION = [{"role": "user", "content": "What is 2 + 3? Answer with a number."}]
BODY = {"messages": QUESTION, "max_tokens": 12, "seed": 5, "logprobs": True, "return_token_ids": True}


class Server:
    def __init__(self, *options):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "-m", MODEL, "--device", "cpu", "--listen", "127.0.0.1:0", "--name", "small", "--token-env", "R1_SERVE_TOKEN",
             "--kv-cache-gb", "0.5", *options], stdout=self.log, stderr=subprocess.STDOUT, env={**os.environ, "R1_SERVE_TOKEN": TOKEN})
        for _ in range(600):
            found = re.search(r"^listening on (http://\S+)$", self.text(), re.M)
            if found:
                self.url = found.group(1)
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        if "built without an HTTP server" in self.text():
            sys.exit(77)
        self.process.kill()
        raise SystemExit("the server did not start: " + self.text())

    def text(self):
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def ask(self, path, body=None, token=TOKEN):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body is not None else None,
                                         {"Content-Type": "application/json", "Authorization": "Bearer " + token})
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)


def openai_client(server, whole):
    try:
        import openai
    except ImportError:
        print("not tried: this Python has no package openai")
        return
    client = openai.OpenAI(base_url=server.url, api_key=TOKEN, max_retries=0, timeout=120)
    assert client.models.list().data[0].id == "small"
    settings = dict(model="small", messages=QUESTION, max_tokens=12, seed=5, logprobs=True)
    reply = client.chat.completions.create(**settings, n=2, stop=["\n\n"])
    assert len(reply.choices) == 2 and reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    reply = client.chat.completions.create(**settings)
    assert reply.choices[0].message.content == whole["choices"][0]["message"]["content"]
    assert [t.logprob for t in reply.choices[0].logprobs.content] == [t["logprob"] for t in whole["choices"][0]["logprobs"]["content"]]
    text = ""
    for chunk in client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}):
        text += "".join(c.delta.content or "" for c in chunk.choices)
        usage = chunk.usage
    assert text == reply.choices[0].message.content, (text, reply)
    assert usage.completion_tokens == reply.usage.completion_tokens
    ids = client.completions.create(model="small", prompt=whole["choices"][0]["prompt_token_ids"], max_tokens=12, seed=5, logprobs=0,
                                    extra_body={"return_token_ids": True})
    assert ids.choices[0].model_extra["token_ids"] == whole["choices"][0]["token_ids"]
    assert ids.choices[0].logprobs.token_logprobs == [t.logprob for t in reply.choices[0].logprobs.content]
    for error, call in [(openai.NotFoundError, dict(settings, model="other")), (openai.BadRequestError, dict(settings, temperature=-1)),
                        (openai.BadRequestError, dict(settings, max_tokens=10 ** 9))]:
        try:
            client.chat.completions.create(**call)
            raise SystemExit(f"no {error.__name__}")
        except error as e:
            assert e.body["type"] == "invalid_request_error", e.body
    try:
        openai.OpenAI(base_url=server.url, api_key="wrong", max_retries=0).models.list()
        raise SystemExit("a wrong key was taken")
    except openai.AuthenticationError as e:
        assert e.code == "invalid_api_key"
    print("openai", openai.__version__, "agrees")


def main():
    server = Server()
    try:
        try:
            server.ask("/models", token="no")
            raise SystemExit("a wrong token was taken")
        except urllib.error.HTTPError as e:
            assert e.code == 401
        whole = server.ask("/chat/completions", BODY)
        assert whole["choices"][0]["message"]["content"]
        openai_client(server, whole)
        if shutil.which("curl"):
            out = subprocess.run(["curl", "-sN", server.url + "/chat/completions", "-H", "Authorization: Bearer " + TOKEN, "-H", "Content-Type: application/json",
                                  "-d", json.dumps({**BODY, "stream": True})], capture_output=True, text=True, timeout=120, check=True).stdout
            assert out.endswith("data: [DONE]\n\n"), out[-300:]
            chunks = [json.loads(line[6:]) for line in out.splitlines() if line.startswith("data: {")]
            assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == whole["choices"][0]["message"]["content"]
        server.process.send_signal(signal.SIGKILL)  # and a new one gives the same answer
        server.process.wait()
        server = Server()
        again = server.ask("/chat/completions", BODY)
        assert again["choices"] == whole["choices"]
        results = []
        running = threading.Thread(target=lambda: results.append(server.ask("/chat/completions", {**BODY, "max_tokens": 60, "ignore_eos": True})))
        running.start()
        while "r1_calls_active 1\n" not in urllib.request.urlopen(urllib.request.Request(
                server.url[:-3] + "/metrics", headers={"Authorization": "Bearer " + TOKEN}), timeout=60).read().decode():
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        running.join(120)
        assert results and results[0]["usage"]["completion_tokens"] == 60, "a call was cut by SIGTERM"
        assert server.process.wait(60) == 0, server.text()
        assert "2 finished" in server.text(), server.text()
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
    refused = subprocess.run([PROGRAM, "serve", "-m", MODEL, "--device", "cpu", "--listen", "0.0.0.0:0"], capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2 and "--token-env" in refused.stderr, refused


main()
