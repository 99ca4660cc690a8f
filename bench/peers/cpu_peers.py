"""Runs every CPU peer on one model, one after the other, each in a process of its own.

  python cpu_peers.py --model HF_DIR --gguf FILE --json OUT.jsonl [--llama-python BIN] [--only hf,llama,trl]

Appends one JSON line a case to OUT (fields: README.md). A peer that is not installed, or dies, gives a line with
"skipped" or "failed" and the others still run; the exit code is 1 only when a peer failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import common


def run_case(name, command, args):
    """Runs one peer; its lines go to the screen and to args.json as they come. Returns False when the peer failed."""
    env = dict(
        os.environ,
        OMP_NUM_THREADS=str(args.threads),
        MKL_NUM_THREADS=str(args.threads),
        TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="1",
        CUDA_VISIBLE_DEVICES="",
    )
    if args.nice:
        command = ["nice", "-n", str(args.nice), *command]
    rows = 0
    with tempfile.TemporaryFile("w+") as errors, open(args.json, "a", encoding="utf-8") as sink:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env) as process:
            for line in process.stdout:
                if line.startswith('{"case"'):
                    rows += 1
                    print(line, end="", flush=True)
                    sink.write(line)
                    sink.flush()
        if process.returncode == 0 and rows > 0:
            return True
        errors.seek(0)
        tail = " | ".join(errors.read().strip().splitlines()[-3:])
        sink.write(json.dumps(common.record(name, failed=f"exit code {process.returncode}: {tail}")) + "\n")
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="HF directory of SmolLM2-135M-Instruct")
    parser.add_argument("--gguf", help="GGUF of the same model for llama.cpp; without it llama.cpp is skipped")
    parser.add_argument("--json", required=True, help="JSON lines are appended here")
    parser.add_argument("--llama-python", default=sys.executable, help="Python that has llama-cpp-python")
    parser.add_argument("--only", default="hf,llama,trl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--patience", type=float, default=0, help="seconds a case may wait for a quiet machine")
    parser.add_argument("--nice", type=int, default=0)
    args = parser.parse_args()

    here = os.path.dirname(os.path.abspath(__file__))
    common_args = ["--threads", str(args.threads), "--runs", str(args.runs), "--patience", str(args.patience)]
    commands = {
        "hf": ("hf_generate", [sys.executable, f"{here}/hf_generate.py", "--model", args.model, *common_args]),
        "trl": ("trl_grpo", [sys.executable, f"{here}/trl_grpo.py", "--model", args.model, *common_args]),
    }
    if args.gguf and os.path.exists(args.llama_python):
        commands["llama"] = (
            "llama_decode",
            [args.llama_python, f"{here}/llama_decode.py", "--gguf", args.gguf, *common_args],
        )
    wanted = args.only.split(",")
    unknown = sorted(set(wanted) - {"hf", "llama", "trl"})
    if unknown:
        parser.error(f"--only: unknown {unknown}; know hf, llama, trl")
    ok = True
    for key in wanted:
        if key in commands:
            ok = run_case(*commands[key], args) and ok
        else:
            row = common.record("llama_decode", skipped="no --gguf, or --llama-python does not exist")
            with open(args.json, "a", encoding="utf-8") as f:
                f.write(json.dumps(row) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
