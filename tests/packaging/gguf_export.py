"""`r1 convert MODEL OUT.gguf`, and llama.cpp reading the result.

A real model becomes F16, Q8_0 and Q4_K files; r1 itself checks logits and tokenizer of each. llama.cpp (the package llama-cpp-python, or
xllamacpp, which ships llama.cpp built) then loads each file: its tokens of a text, the log-probabilities of its first choice and its greedy
answer are compared with those of `r1 serve` on the same file. Without such a package that half is left out; without a model all of it.
usage: gguf_export.py R1_PROGRAM MODEL
R1_LLAMA_CPP_PYTHON: an interpreter that has one of the packages.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

R1, MODEL = sys.argv[1], sys.argv[2]
QUESTION = "What is the capital of France? Answer in one sentence."

# Runs under R1_LLAMA_CPP_PYTHON: chats greedily with a file; prints its answer and, a token, its log-probability.
CHAT = r'''
import json, sys
path, question = sys.argv[1:]
messages = [{"role": "user", "content": question}]
try:
    import llama_cpp
    model = llama_cpp.Llama(path, n_ctx=512, logits_all=True, verbose=False, n_threads=1)
    reply = model.create_chat_completion(messages, temperature=0, max_tokens=16, logprobs=True, top_logprobs=1)
    choice = reply["choices"][0]
    tokens = [(t["token"], t["logprob"]) for t in choice["logprobs"]["content"]]
except ImportError:
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.warmup = 512, 1, 1, False
    server = xllamacpp.Server(params)
    reply = server.handle_chat_completions({"messages": messages, "temperature": 0, "max_tokens": 16, "logprobs": True, "top_logprobs": 1})
    choice = reply["choices"][0]
    tokens = [(t["token"], t["logprob"]) for t in choice["logprobs"]["content"]]
print("RESULT" + json.dumps({"text": choice["message"]["content"], "tokens": tokens}))
'''


def ask_r1(path):
    """The same greedy question to the same file by r1: text, and a log-probability a token."""
    server = subprocess.Popen([R1, "serve", "--model", str(path), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = None
        for line in server.stdout:
            if found := re.search(r"http://[\w.:]+", line):
                address = found.group(0)
                break
        assert address, "r1 serve printed no address"
        import urllib.request
        body = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 16, "logprobs": True}
        request = urllib.request.Request(address.removesuffix("/v1") + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        choice = json.load(urllib.request.urlopen(request, timeout=120))["choices"][0]
        return {"text": choice["message"]["content"], "tokens": [(t["token"], t["logprob"]) for t in choice["logprobs"]["content"]]}
    finally:
        server.terminate()
        server.wait(30)


def has_llama(python):
    found = subprocess.run([python, "-c", "try:\n import llama_cpp\nexcept ImportError:\n import xllamacpp"], capture_output=True)
    return found.returncode == 0


def main():
    if not MODEL or not pathlib.Path(MODEL).exists():
        print("skipped: R1_TEST_MODEL names no model")
        return 77
    python = os.environ.get("R1_LLAMA_CPP_PYTHON", sys.executable)
    llama = has_llama(python)
    with tempfile.TemporaryDirectory() as tmp:
        for kind, tolerance in (("f16", 0.02), ("q8_0", 0.15), ("q4_k", 0.25)):
            path = pathlib.Path(tmp, f"model.{kind}.gguf")
            done = subprocess.run([R1, "convert", MODEL, path, "--type", kind, "--threads", "1"], capture_output=True, text=True)
            print(done.stdout, end="")
            assert done.returncode == 0, done.stderr
            assert "read back: " in done.stdout
            if kind == "f16":
                again = subprocess.run([R1, "convert", MODEL, path], capture_output=True, text=True)
                assert again.returncode != 0 and "exists; --force" in again.stderr, again.stderr
            if not llama:
                continue
            theirs = subprocess.run([python, "-c", CHAT, path, QUESTION], capture_output=True, text=True, timeout=300)
            lines = [line for line in theirs.stdout.splitlines() if line.startswith("RESULT")]
            assert lines, theirs.stderr[-2000:]
            theirs, ours = json.loads(lines[-1][6:]), ask_r1(path)
            print(f"{kind}: llama.cpp {theirs['text']!r}, r1 {ours['text']!r}")
            shared = 0  # while both chose the same
            for (a, x), (b, y) in zip(theirs["tokens"], ours["tokens"]):
                if a != b:
                    break
                assert abs(x - y) < tolerance, (kind, a, x, y)
                shared += 1
            print(f"{kind}: {shared} tokens alike, largest difference {max((abs(x - y) for (_, x), (_, y) in list(zip(theirs['tokens'], ours['tokens']))[:shared]), default=0):.4f} nats")
            assert shared >= 4, (theirs, ours)
    if not llama:
        print("llama.cpp not tried: no llama-cpp-python or xllamacpp in", python)
    return 0


sys.exit(main())
