"""`r1 generate` as a user calls it: a set from a tiny model and from a server, records drawn again, filtered anew, rewritten, mixed, as Parquet;
and what is refused. usage: generate_set.py R1_PROGRAM"""
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).parent
PROGRAM = sys.argv[1]


def r1(*args, code=0, words=""):
    done = subprocess.run([PROGRAM, "-q", "generate", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    both = done.stdout + done.stderr
    assert words in both, (args, words, both)
    if code != 0 and "it differs" not in words:
        assert both.count("r1: error:") == 1, both
    return both


def rows(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


class Writer(http.server.BaseHTTPRequestHandler):
    """Answers sums; rewrites a working when it is shown one, not always in the form that is asked for. Puts reasoning apart."""
    protocol_version = "HTTP/1.1"
    seen = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Writer.seen.append(body)
        text = body["messages"][-1]["content"]
        message = {"role": "assistant"}
        if "Working:" in text:
            answer = text[text.rfind("\\boxed{"):].split("}")[0] + "}"
            form = "<think>I add the two numbers.</think> The sum is %s." if body["seed"] % 3 else "The sum is %s."
            message["content"] = form % answer
        else:
            a, b = map(int, re.findall(r"\d+", text))
            message["reasoning_content"] = f"hm hm {body['seed'] % 1000}"
            message["content"] = "\\boxed{%d}" % (a + b)
        reply = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 9}}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)

    def log_message(self, *args):
        pass


def local(folder, data):
    model = folder / "tiny"
    subprocess.run([sys.executable, HERE / "tiny_model.py", model], check=True)
    made = folder / "a.jsonl"
    flags = ["-m", model, "-d", data, "-n", 3, "--max-new-tokens", 20, "--stop", "e", "--seed", 4, "--score", 'data.template_variables={think: true}', "-o", made]
    r1(*flags)
    first = made.read_bytes()
    records = rows(made)
    assert len(records) == 60 and len({json.dumps(r["messages"]) for r in records}) > 50
    stopped = [i for i, r in enumerate(records) if r["provenance"]["stop_reason"] == "stop"]
    assert stopped, "no sample met the stop string"
    assert all(records[i]["messages"][-1]["content"].endswith("e") and records[i]["provenance"]["stop_text"] == "e" for i in stopped)
    assert all(r["messages"][-1]["content"].startswith("<think>\n") for r in records)
    for number in (1, stopped[0] + 1, 60):
        r1("--regenerate", made, "--record", number, words="equal byte by byte")
    r1("--regenerate", made, "--record", 61, code=2, words="has 60 records")
    edited = folder / "edited.jsonl"
    edited.write_bytes(first.replace(b'"verdict":"unparsed"', b'"verdict":"ok"').replace(b'"verdict":"wrong"', b'"verdict":"ok"'))
    r1("--regenerate", edited, code=1, words="it differs: /")
    # Again: nothing to do. One sample more a prompt: the old ones stay.
    r1(*flags)
    assert made.read_bytes() == first
    r1(*flags, "rollout.samples_per_prompt=4")
    texts = lambda records: [r["messages"][-1]["content"] for r in records]
    assert [t for i, t in enumerate(texts(rows(made))) if i % 4 != 3] == texts(records)
    r1(*flags[:-1], made, "--temperature", "0.5", code=2, words="holds samples of other prompts, models or settings")
    subprocess.run([sys.executable, HERE / "tiny_model.py", model, "1"], check=True)
    r1("--regenerate", made, code=2, words="not those that drew the record")
    r1(*flags, "rollout.samples_per_prompt=5", code=2, words="the weights of")
    return made


def served(folder, data, url):
    made = folder / "served"
    flags = ["--url", url, "--served-model", "big", "-d", data, "-n", 2, "--temperature", "0.6", "--top-p", "0.95", "--score", "--license", "mit",
             "--filter", "finished,correct,format", "--select", "shortest", "--keep", 1, "-o", made]
    r1(*flags, f'rewrite={{model: writer, url: "{url}"}}')
    asked = len(Writer.seen)
    assert Writer.seen[0]["top_p"] == 0.95 and Writer.seen[0]["temperature"] == 0.6, Writer.seen[0]
    records = rows(made / "data.jsonl")
    card = (made / "README.md").read_text()
    assert 0 < len(records) < 20 and "| - not rewritten | %d |" % (20 - len(records)) in card and 'license: "mit"' in card, card
    for r in records:
        assert r["messages"][-1]["content"].startswith("<think>I add the two numbers.</think>") and r["verdict"] == "ok"
        assert r["provenance"]["source"].startswith("<think>\nhm hm") and r["provenance"]["rewriter"] == "writer"
    r1(*flags, f'rewrite={{model: writer, url: "{url}"}}')
    assert len(Writer.seen) == asked, "finished work was asked for again"
    r1("--regenerate", made / "data.jsonl", code=2, words="drawn by a server's model")
    again = folder / "again.jsonl"
    r1("--from", made / "raw/samples.jsonl", "--filter", "correct", "-o", again)
    assert len(rows(again)) == 40 and len(Writer.seen) == asked
    return made / "data.jsonl"


def main(folder):
    data = folder / "sums.jsonl"
    subprocess.run([PROGRAM, "data", "add", "--level", "2", "-n", "20", "-o", data], check=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Writer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = local(folder, data)
    finished = served(folder, data, f"http://127.0.0.1:{server.server_port}/v1")
    mixed = folder / "mix.jsonl"
    r1("--mix", f"{made}=1,{finished}=1", "-o", mixed)
    count = len(rows(finished))
    assert len(rows(mixed)) == 2 * count and sum(r["source"] == "served" for r in rows(mixed)) == count
    columns = folder / "columns"
    done = subprocess.run([PROGRAM, "-q", "generate", "--mix", mixed, "-o", columns, "--format", "parquet"], capture_output=True, text=True)
    if done.returncode == 0:
        assert (columns / "data.parquet").read_bytes()[:4] == b"PAR1"
        r1("--mix", columns / "data.parquet", "-o", folder / "back.jsonl")
        assert sorted(json.dumps(r["messages"]) for r in rows(folder / "back.jsonl")) == sorted(json.dumps(r["messages"]) for r in rows(mixed))
    else:
        assert done.returncode == 2 and "this build has no Parquet" in done.stderr, done.stderr
    out = folder / "never"
    r1("-m", folder / "tiny", "-d", data, code=2, words="output.path")
    r1("-m", folder / "tiny", "-d", folder / "none.jsonl", "-o", out, code=2, words="does not exist")
    r1("-m", folder / "tiny", "-d", data, "-o", folder / "x.csv", code=2, words=".jsonl")
    r1("-m", folder / "tiny", "-d", data, "-o", out, "--filter", "corect", code=2, words="--filter corect is unknown")
    r1("-m", folder / "tiny", "-d", data, "-o", out, "--filter", "correct", code=2, words="needs rewards")
    assert not out.exists(), "work began before the options were checked"
    r1("-m", folder / "tiny", "-d", data, "-o", out, "rollout.samples=3", code=2, words="rollout.samples")
    r1("-m", folder / "tiny", "-d", data, "-o", out, "--max-new-tokens", 4090, code=2, words="context")
    r1("--url", "http://127.0.0.1:1/v1", "-d", data, "-o", out, code=2, words="--served-model")
    r1("--url", "http://127.0.0.1:1/v1", "--served-model", "x", "-d", data, "-o", folder / "down", "engines.0.retries=0", code=1, words="no connection")
    print("generate: local, served, rewritten, filtered anew, mixed; all as wanted")


folder = pathlib.Path(tempfile.mkdtemp(prefix="r1_set_"))
try:
    main(folder)
finally:
    shutil.rmtree(folder, ignore_errors=True)
