"""Peer: Hugging Face `generate` on the CPU. One JSON line a (dtype, batch)."""

import argparse

import common


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="HF directory")
    parser.add_argument("--batches", default="1,8,32,64")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--prompt", type=int, default=64, help="prompt tokens")
    parser.add_argument("--new", type=int, default=64, help="generated tokens; EOS is suppressed until then")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--patience", type=float, default=0, help="seconds a case may wait for a quiet machine")
    args = parser.parse_args()
    try:
        import torch
        import transformers
    except ImportError as error:
        common.record("hf_generate", skipped=str(error))
        return

    torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    batches = [int(b) for b in args.batches.split(",")]
    texts = common.prompt_texts(tokenizer, max(batches), args.prompt)
    ids = torch.tensor([tokenizer(t)["input_ids"] for t in texts])
    for dtype in args.dtypes.split(","):
        model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, dtype)).eval()
        for batch in batches:
            load = common.load_average()
            torch.manual_seed(0)

            def run():
                out = model.generate(
                    ids[:batch],
                    attention_mask=torch.ones_like(ids[:batch]),
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    top_p=1.0,
                    min_new_tokens=args.new,
                    max_new_tokens=args.new,
                    pad_token_id=tokenizer.pad_token_id,
                )
                if tuple(out.shape) != (batch, args.prompt + args.new):
                    raise SystemExit(f"hf_generate: wrong output shape {tuple(out.shape)}")

            with torch.no_grad():
                stats = common.summary(common.timed_runs(run, args.runs, args.patience))
            common.record(
                "hf_generate",
                peer="transformers",
                kind="rollout",
                dtype=dtype,
                batch=batch,
                prompt_tokens=args.prompt,
                new_tokens=args.new,
                temperature=1.0,
                threads=args.threads,
                **stats,
                tokens_per_s=round(batch * args.new / stats["median_s"], 1),
                load_before=load,
                load_after=common.load_average(),
                versions=common.versions("torch", "transformers", "tokenizers"),
            )


if __name__ == "__main__":
    main()
