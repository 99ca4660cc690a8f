"""Peer: TRL's GRPOTrainer on the CPU: seconds of a whole step and of its parts. One JSON line a dtype."""

import argparse
import statistics
import tempfile
import time

import common


def measure(args, dtype):
    import datasets
    import torch
    import transformers
    import trl

    torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    samples = args.prompts * args.group
    steps = 1 + args.runs * (4 if args.patience else 1)  # a warm-up, and room for disturbed ones
    texts = common.prompt_texts(tokenizer, args.prompts * steps, args.prompt)
    clock = {"generate": 0.0, "rollout": 0.0}
    rows = []  # ({part: seconds}, cores others used)
    deadline = time.perf_counter() + args.patience

    class Trainer(trl.GRPOTrainer):
        def _generate_single_turn(self, *a, **k):
            start = time.perf_counter()
            out = super()._generate_single_turn(*a, **k)
            clock["generate"] += time.perf_counter() - start
            return out

        def _generate_and_score_completions(self, *a, **k):
            start = time.perf_counter()
            out = super()._generate_and_score_completions(*a, **k)
            clock["rollout"] += time.perf_counter() - start
            shape = tuple(out["completion_ids"].shape)
            if shape != (samples, args.new) or out["prompt_ids"].shape[1] != args.prompt:
                raise SystemExit(f"trl_grpo: completions are {shape}, expected {samples} x {args.new}")
            return out

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *a, **k):
            common.wait_for_quiet(deadline)
            clock.update(generate=0.0, rollout=0.0, others=common.OthersMeter())
            clock.update(start=time.perf_counter(), cpu=time.process_time())

        def on_step_end(self, arguments, state, control, **k):
            step = time.perf_counter() - clock["start"]
            parts = {
                "step": step,
                "generate": clock["generate"],
                "score": clock["rollout"] - clock["generate"],
                "train": step - clock["rollout"],
                "cpu": time.process_time() - clock["cpu"],
            }
            rows.append((parts, clock["others"].cores() or 0.0))
            control.should_training_stop = common.enough(rows[1:], args.runs, deadline)

    bf16 = dtype != "float32"
    weights = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=bf16,
            fp16=False,
            per_device_train_batch_size=args.micro,
            gradient_accumulation_steps=samples // args.micro,
            num_generations=args.group,
            max_steps=steps,
            max_completion_length=args.new,
            generation_kwargs={"min_new_tokens": args.new},
            temperature=1.0,
            beta=0.0,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            max_grad_norm=1.0,
            gradient_checkpointing=False,
            logging_steps=1000,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=0,
            shuffle_dataset=False,
            dataloader_pin_memory=False,
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=weights)
        # A reward that differs within every group: no advantage is zero, so every gradient is really computed.
        trainer = Trainer(
            model=model,
            args=config,
            processing_class=tokenizer,
            callbacks=[Clock()],
            reward_funcs=lambda completions, **_: [float(len(c)) for c in completions],
            train_dataset=datasets.Dataset.from_dict({"prompt": texts}),
        )
        load = common.load_average()
        trainer.train()
    timed = common.least_disturbed(rows[1:], args.runs)
    median = {k: round(statistics.median(r[k] for r, _ in timed), 3) for k in timed[0][0]}
    tokens = samples * args.new
    common.record(
        "trl_grpo",
        peer="trl",
        kind="grpo",
        dtype=dtype,
        prompts=args.prompts,
        group=args.group,
        batch=samples,
        prompt_tokens=args.prompt,
        new_tokens=args.new,
        micro_batch=args.micro,
        beta=0.0,
        gradient_checkpointing=False,
        threads=args.threads,
        runs_s=[round(r["step"], 3) for r, _ in timed],
        warmup_s=round(rows[0][0]["step"], 3),
        median_s=median["step"],
        step_s=median["step"],
        generate_s=median["generate"],
        score_s=median["score"],
        train_s=median["train"],
        tokens_per_s=round(tokens / median["step"], 1),
        rollout_tokens_per_s=round(tokens / median["generate"], 1),
        train_tokens_per_s=round(samples * (args.prompt + args.new) / median["train"], 1),
        load_before=load,
        load_after=common.load_average(),
        others_cores=max(o for _, o in timed),
        cpu_median_s=median["cpu"],
        versions=common.versions("torch", "transformers", "trl"),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="HF directory")
    parser.add_argument(
        "--dtypes",
        default="mixed,float32,bfloat16",
        help="mixed = float32 weights, products in bfloat16 (TRL's default, and what r1 does); bfloat16 = weights too, without a float32 master",
    )
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=64, help="prompt tokens")
    parser.add_argument("--new", type=int, default=64, help="completion tokens, forced")
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--patience", type=float, default=0, help="seconds a case may wait for a quiet machine")
    args = parser.parse_args()
    try:
        import datasets  # noqa: F401
        import trl  # noqa: F401
    except ImportError as error:
        common.record("trl_grpo", skipped=str(error))
        return
    for dtype in args.dtypes.split(","):
        measure(args, dtype)


if __name__ == "__main__":
    main()
