#!/usr/bin/env python3
"""Makes trl_loss.json and trl_tiny/ with TRL's own code: the GRPO loss of one fixed batch and its gradients.

Part 1 (trl_loss.json): the derivative with respect to the per-token log-probabilities. TRL's GRPOTrainer._compute_loss
runs as it is; only the function that gives log-probabilities is replaced by one that returns the fixture's numbers.
Part 2 (trl_tiny/): a tiny random Llama in float32, nothing replaced: loss and parameter gradients.

    pip install torch==2.11.0 transformers==5.17.0 trl==1.16.0
    python tests/golden/trl_loss.py            # writes beside itself
"""
import json
import pathlib
import tempfile

import torch
import transformers
import trl
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

HERE = pathlib.Path(__file__).parent
VOCAB, PROMPT, LENGTH = 48, 5, 7
BUDGET = 9  # max_completion_length: the constant of dr_grpo, not the padded length


def tokenizer():
    words = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i for i in range(2, VOCAB)}}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def tiny_model():
    torch.manual_seed(7)
    config = LlamaConfig(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=64,
                         tie_word_embeddings=True, initializer_range=0.2, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    return LlamaForCausalLM(config).float()


def trainer(folder, loss_type, beta, **options):
    args = GRPOConfig(output_dir=folder, loss_type=loss_type, beta=0.0, per_device_train_batch_size=4, num_generations=4,
                      max_completion_length=BUDGET, report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False,
                      epsilon=options.pop("epsilon", 0.2), temperature=options.pop("temperature", 1.0), **options)
    made = GRPOTrainer(model=tiny_model(), reward_funcs=lambda completions, **_: [0.0] * len(completions), args=args,
                       train_dataset=Dataset.from_dict({"prompt": ["w2 w3"] * 4}), processing_class=tokenizer())
    made.current_gradient_accumulation_steps = 1
    made.beta = beta  # set here: the constructor would want a reference model on disk, the loss only its log-probabilities
    made.model.train()
    return made


def batch():
    g = torch.Generator().manual_seed(11)
    lengths = [7, 4, 1, 6]
    mask = torch.zeros(4, LENGTH, dtype=torch.long)
    for row, n in enumerate(lengths):
        mask[row, :n] = 1
    draw = lambda scale: torch.randn(4, LENGTH, generator=g) * scale
    logps = -(draw(1.0).abs() + 0.2)
    return {
        "prompt_ids": torch.randint(2, VOCAB, (1, PROMPT), generator=g).repeat(4, 1),
        "prompt_mask": torch.ones(4, PROMPT, dtype=torch.long),
        "completion_ids": torch.randint(2, VOCAB, (4, LENGTH), generator=g) * mask,
        "completion_mask": mask,
        "advantages": torch.tensor([1.3, -0.9, 0.4, -1.6]),
        "num_items_in_batch": mask.sum(),
    }, logps, logps + draw(0.35), logps + draw(0.6)


def loss_cases(folder):
    inputs, logps, old, ref = batch()
    # TRL 1.16 multiplies the KL by the ratio unless told not to; both forms are here.
    kinds = ("grpo", "dapo", "dr_grpo", "bnpo")
    variants = [(kind, 0.0, {}) for kind in kinds]
    variants += [(kind, 0.04, {"use_bias_correction_kl": on}) for kind in kinds for on in (True, False)]
    variants += [("dapo", 0.0, {"epsilon_high": 0.28}), ("grpo", 0.0, {"delta": 1.5}), ("cispo", 0.0, {"epsilon_high": 1.1}),
                 ("grpo", 0.0, {"importance_sampling_level": "sequence", "epsilon": 3e-2, "epsilon_high": 4e-2})]
    cases = []
    for kind, beta, options in variants:
        made = trainer(folder, kind, beta, **dict(options))
        leaf = logps.clone().requires_grad_(True)
        made._get_per_token_logps_and_entropies = lambda *a, **k: (leaf, torch.zeros_like(leaf), None)
        loss = made._compute_loss(made.model, {**inputs, "old_per_token_logps": old, "ref_per_token_logps": ref})
        loss.backward()
        metrics = {k: v[-1] for k, v in made._metrics["train"].items() if k in ("kl", "clip_ratio/low_mean", "clip_ratio/high_mean")}
        cases.append({"loss_type": kind, "beta": beta, "options": options, "loss": loss.item(),
                      "gradient": leaf.grad.tolist(), "metrics": metrics})
    out = {"versions": {"trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
           "max_completion_length": BUDGET, "mask": inputs["completion_mask"].tolist(),
           "advantages": inputs["advantages"].tolist(), "logps": logps.tolist(), "old_logps": old.tolist(),
           "ref_logps": ref.tolist(), "cases": cases}
    (HERE / "trl_loss.json").write_text(json.dumps(out) + "\n")


def model_cases(folder):
    out_dir = HERE / "trl_tiny"
    out_dir.mkdir(exist_ok=True)
    inputs, _, _, _ = batch()
    made = trainer(folder, "grpo", 0.0)
    with torch.no_grad():
        base, _, _ = made._get_per_token_logps_and_entropies(
            made.model, torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1), LENGTH)
    g = torch.Generator().manual_seed(13)
    old = base + torch.randn(4, LENGTH, generator=g) * 0.3
    ref = base + torch.randn(4, LENGTH, generator=g) * 0.5
    made.model.save_pretrained(out_dir, safe_serialization=True)
    tensors, cases = {}, []
    for kind in ("grpo", "dapo", "dr_grpo", "bnpo"):
        for beta in (0.0, 0.04):
            made = trainer(folder, kind, beta, use_bias_correction_kl=False)
            loss = made._compute_loss(made.model, {**inputs, "old_per_token_logps": old, "ref_per_token_logps": ref})
            loss.backward()
            name = f"{kind}_{beta}"
            if beta or kind == "grpo":  # the gradients of the others follow from the per-token fixture
                tensors.update({f"{name}.{n}": p.grad.clone() for n, p in made.model.named_parameters()})
            cases.append({"name": name, "loss_type": kind, "beta": beta, "loss": loss.item(),
                          "has_gradients": bool(beta or kind == "grpo")})
    save_file(tensors, out_dir / "gradients.safetensors")
    (out_dir / "batch.json").write_text(json.dumps({
        "max_completion_length": BUDGET, "prompt": inputs["prompt_ids"][0].tolist(), "mask": inputs["completion_mask"].tolist(),
        "completions": inputs["completion_ids"].tolist(), "advantages": inputs["advantages"].tolist(),
        "logps": base.tolist(), "old_logps": old.tolist(), "ref_logps": ref.tolist(), "cases": cases}) + "\n")


if __name__ == "__main__":
    assert trl.__version__ == "1.16.0" and transformers.__version__ == "5.17.0", "the fixture is pinned to these versions"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        loss_cases(work)
        model_cases(work)
