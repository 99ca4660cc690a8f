"""Peer: llama.cpp by llama-cpp-python at batch 1: prefill and decode timed apart. One JSON line.

Runs in an environment of its own (see README.md). The Python loop of `eval` and `sample` is part of the time.
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
    load, others = common.load_average(), common.OthersMeter()
    prefill, decode = [], []
    for run in range(args.runs + 1):
        llm.reset()
        marks = [(time.perf_counter(), time.process_time())]
        llm.eval(ids)
        marks.append((time.perf_counter(), time.process_time()))
        for _ in range(args.new):  # EOS is an ordinary token here: the loop always makes args.new tokens
            llm.eval([llm.sample(temp=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0)])
        marks.append((time.perf_counter(), time.process_time()))
        if run > 0:
            spans = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(marks, marks[1:])]
            prefill.append(spans[0])
            decode.append(spans[1])
    stats, pre = common.summary(decode), common.summary(prefill)
    whole = stats["median_s"] + pre["median_s"]
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
        prefill_s=pre["median_s"],
        decode_tokens_per_s=round(args.new / stats["median_s"], 1),
        tokens_per_s=round(args.new / whole, 1),
        load_before=load,
        load_after=common.load_average(),
        others_cores=others.cores(),
        system_info=info,
        versions=common.versions("llama-cpp-python", "llama_cpp_python", "numpy"),
    )


if __name__ == "__main__":
    main()
