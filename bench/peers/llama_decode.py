"""Peer: llama.cpp by llama-cpp-python at batch 1: prefill and decode. One JSON line.

Runs in an environment of its own (see README.md). The Python loop of `eval` and `sample` is part of the time.
median_s is the whole run; prefill_s is the best prefill, decode_tokens_per_s what remains of the median without it.
"""

import argparse
import time

import common


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--patience", type=float, default=0, help="seconds a case may wait for a quiet machine")
    args = parser.parse_args()
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        common.record("llama_decode", skipped=f"llama-cpp-python: {error}")
        return

    llm = llama_cpp.Llama(
        args.gguf,
        n_ctx=args.prompt + args.new + 8,
        n_threads=args.threads,
        n_threads_batch=args.threads,
        seed=0,
        verbose=False,
    )

    class Tokenizer:  # the subset of the HF interface that prompt_texts needs
        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": llm.tokenize(text.encode(), add_bos=False)}

        def decode(self, ids):
            return llm.detokenize(ids).decode()

    tokenizer = Tokenizer()
    ids = tokenizer(common.prompt_texts(tokenizer, 1, args.prompt)[0])["input_ids"]
    load = common.load_average()
    prefill = []

    def run():
        start = time.perf_counter()
        llm.reset()
        llm.eval(ids)
        prefill.append(time.perf_counter() - start)
        for _ in range(args.new):  # EOS is an ordinary token here: the loop always makes args.new tokens
            llm.eval([llm.sample(temp=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0)])

    stats = common.summary(common.timed_runs(run, args.runs, args.patience))
    prefill_s = min(prefill)
    info = llama_cpp.llama_print_system_info().decode().strip()
    common.record(
        "llama_decode",
        peer="llama.cpp",
        kind="rollout",
        dtype=args.gguf.rsplit(".", 2)[-2],
        batch=1,
        prompt_tokens=args.prompt,
        new_tokens=args.new,
        temperature=1.0,
        threads=args.threads,
        **stats,
        prefill_s=round(prefill_s, 4),
        decode_tokens_per_s=round(args.new / (stats["median_s"] - prefill_s), 1),
        tokens_per_s=round(args.new / stats["median_s"], 1),
        load_before=load,
        load_after=common.load_average(),
        system_info=info,
        versions=common.versions("llama-cpp-python", "llama_cpp_python", "numpy"),
    )


if __name__ == "__main__":
    main()
