"""The lm-evaluation-harness package and `r1 eval` on the same GSM8K items of one served model, both through its HTTP endpoint, greedy.

usage: lm_eval_http.py R1_PROGRAM MODEL_DIR ROWS.jsonl [ITEMS]     exit code 77 = skipped
R1_LM_EVAL_PYTHON names a Python that has lm-eval (0.4.13 was tried) with its api extras.
The task has the filters of its gsm8k task and our benchmark's prompt. Wanted: each side's accuracy within the other's 95 % interval, for
strict-match against strict and flexible-extract against lenient, and grading of lm-eval's own samples that says which items differ and why.
"""
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM, MODEL, ROWS = sys.argv[1:4] if len(sys.argv) > 3 else (sys.argv[1], "", "")
ITEMS = int(sys.argv[4]) if len(sys.argv) > 4 else 24
LM_EVAL = os.environ.get("R1_LM_EVAL_PYTHON")
if not (MODEL and LM_EVAL and pathlib.Path(ROWS).is_file()):
    print("skipped: needs a model (R1_TEST_MODEL), GSM8K rows and R1_LM_EVAL_PYTHON")
    sys.exit(77)
NEW_TOKENS = 200
TASK = (pathlib.Path(__file__).resolve().parents[1] / "golden/lm_eval_gsm8k.yaml").read_text()
PROMPT = r"{{question}}\nPlease reason step by step. End with a line that holds #### and then the final number alone."


def wilson(p, n, z=1.96):
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), middle + half


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"FAIL {command}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    rows = [json.loads(line) for line in open(ROWS, encoding="utf-8")][:ITEMS]
    (folder / "rows.jsonl").write_text("".join(json.dumps({"question": r["question"], "answer": r["answer"]}) + "\n" for r in rows))
    (folder / "local_gsm8k.yaml").write_text(TASK.replace("ROWS", str(folder / "rows.jsonl")).replace("PROMPT", PROMPT).replace("UNTIL", '["</s>"]').replace(
        "LENGTH", f", max_gen_toks: {NEW_TOKENS}"))
    log = open(folder / "serve.log", "w+")
    server = subprocess.Popen([PROGRAM, "serve", "-m", MODEL, "--listen", "127.0.0.1:0", "--name", "served", "--kv-cache-gb", "0.5"], stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(1200):
            found = re.search(r"^listening on (http://\S+)$", (folder / "serve.log").read_text(), re.M)
            if found or server.poll() is not None:
                break
            time.sleep(0.1)
        if not found:
            sys.exit("FAIL r1 serve did not start\n" + (folder / "serve.log").read_text())
        url = found.group(1).rstrip("/")  # ends with /v1
        run([LM_EVAL, "-m", "lm_eval", "--model", "local-chat-completions", "--model_args",
             f"model=served,base_url={url}/chat/completions,num_concurrent=8,max_retries=3,tokenized_requests=False,timeout=1800",
             "--tasks", "local_gsm8k", "--include_path", str(folder), "--apply_chat_template", "--log_samples", "--output_path", str(folder / "lm")],
            env={**os.environ, "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")})
        ours = json.loads(run([PROGRAM, "-q", "eval", "-m", url, "--served-model", "served", "-b", "gsm8k", "-d", f"gsm8k={folder}/rows.jsonl", "--protocol", "greedy",
                               "--max-new-tokens", str(NEW_TOKENS), "--concurrency", "8", "-o", str(folder / "ours"), "--json"]))["benchmarks"]["gsm8k"]["greedy"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    theirs = json.loads(next((folder / "lm").rglob("results_*.json")).read_text())["results"]["local_gsm8k"]
    samples = next((folder / "lm").rglob("samples_*.jsonl"))
    texts = {json.loads(l)["doc_id"]: json.loads(l)["resps"][0][0] for l in open(samples, encoding="utf-8")}
    mine = [json.loads(l)["text"] for l in open(folder / "ours" / "gsm8k.samples.jsonl", encoding="utf-8")]
    equal = sum(texts[i].strip() == mine[i].strip() for i in range(ITEMS))
    print(f"{ITEMS} items, {equal} completions equal")
    fail = False
    for ours_name, theirs_name in (("strict", "strict-match"), ("lenient", "flexible-extract")):
        a, b = ours[ours_name]["pass@1"], theirs[f"exact_match,{theirs_name}"]
        low, high = wilson(a, ITEMS)
        low_b, high_b = wilson(b, ITEMS)
        fail = fail or not (low <= b <= high and low_b <= a <= high_b)
        print(f"{ours_name}: r1 eval {100 * a:.1f} % [{100 * low:.1f}, {100 * high:.1f}], lm-eval {100 * b:.1f} %")
    print(run([PROGRAM, "eval", "--completions", str(samples), "-b", "gsm8k"]))
    if equal < 0.9 * ITEMS:
        sys.exit("FAIL greedy completions of one model differ")
    if fail:
        sys.exit("FAIL the accuracies are outside each other's interval")
