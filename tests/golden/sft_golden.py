#!/usr/bin/env python3
"""Makes sft/: supervised fine-tuning and LoRA of tiny random models as transformers, TRL and PEFT compute them.

  sft/FAMILY.json               examples (tokens, mask), the loss over them, and TRL's SFTTrainer on them: loss and gradient norm of each update
  sft/FAMILY.safetensors        grad.NAME of every parameter: transformers on each example by itself, unpacked and unpadded, summed
  sft/lora_*/                   a PEFT directory with random A and B as PEFT saves it, and expected.safetensors: loss, logprobs (of the
                                trained tokens, in order), grad.NAME of every A and B

Float32, eager attention; the models are those of model/ (model_golden.py). Run: python tests/golden/sft_golden.py
"""
import json
import os
import pathlib
import tempfile

import peft
import torch
import transformers
import trl
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

HERE = pathlib.Path(__file__).parent
OUT = HERE / "sft"
VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__, "peft": peft.__version__}
LENGTHS = [17, 5, 24, 11, 8, 2]
STEPS, RATE = 6, 2e-3


def load(family):
    return AutoModelForCausalLM.from_pretrained(HERE / "model" / family, attn_implementation="eager", dtype=torch.float32)


def examples(vocab, seed):
    """Random tokens; several trained spans in the longer ones, the first token never."""
    g = torch.Generator().manual_seed(seed)
    out = []
    for n in LENGTHS:
        mask = [0] * n
        begin = 1
        while begin < n:
            skip, keep = (int(v) for v in torch.randint(0, 6, (2,), generator=g))
            for t in range(begin + skip, min(n, begin + skip + keep + 1)):
                mask[t] = 1
            begin += skip + keep + 1
        mask[-1] = 1
        out.append({"tokens": torch.randint(3, vocab, (n,), generator=g).tolist(), "mask": mask})
    return out


def logprobs_of(model, example):
    """Of the trained tokens of one example, alone."""
    tokens = torch.tensor([example["tokens"]])
    logp = torch.log_softmax(model(tokens, use_cache=False).logits[0, :-1], dim=-1)
    chosen = logp.gather(-1, tokens[0, 1:, None])[:, 0]
    return chosen[torch.tensor(example["mask"][1:], dtype=torch.bool)]


def whole_loss(model, data):
    return -torch.cat([logprobs_of(model, e) for e in data]).mean()


def tokenizer(vocab):
    inner = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocab)}, unk_token="w0"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="w0", eos_token="w2")


def trl_curve(family, data, vocab):
    """Every update sees all examples, so that the order does not matter; two micro-batches, padded."""
    with tempfile.TemporaryDirectory() as folder:
        args = SFTConfig(output_dir=folder, max_steps=STEPS, per_device_train_batch_size=3, gradient_accumulation_steps=2, learning_rate=RATE,
                         lr_scheduler_type="constant", weight_decay=0.1, adam_beta2=0.95, max_grad_norm=0.5, logging_steps=1, report_to=[],
                         use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", max_length=None, packing=False,
                         completion_only_loss=False, assistant_only_loss=False, dataset_kwargs={"skip_prepare_dataset": True})
        rows = Dataset.from_list([{"input_ids": e["tokens"], "labels": [t if m else -100 for t, m in zip(e["tokens"], e["mask"])]} for e in data])
        trainer = SFTTrainer(model=load(family), args=args, train_dataset=rows, processing_class=tokenizer(vocab))
        trainer.train()
        log = [entry for entry in trainer.state.log_history if "loss" in entry]
    keys = ("loss", "grad_norm", "learning_rate", "mean_token_accuracy", "entropy", "num_tokens", "epoch")
    return [{k: entry[k] for k in keys if k in entry} for entry in log]


def full(family, seed):
    model = load(family)
    vocab = model.config.vocab_size
    data = examples(vocab, seed)
    loss = whole_loss(model, data)
    loss.backward()
    save_file({"grad." + n: p.grad.contiguous() for n, p in model.named_parameters()}, OUT / f"{family}.safetensors", metadata={**VERSIONS})
    curve = trl_curve(family, data, vocab)
    (OUT / f"{family}.json").write_text(json.dumps({"versions": VERSIONS, "examples": data, "loss": loss.item(), "trl": {
        "learning_rate": RATE, "weight_decay": 0.1, "adam_beta2": 0.95, "max_grad_norm": 0.5, "steps": curve}}) + "\n")
    print(family, loss.item(), curve)
    return data


def lora(name, family, data, **settings):
    torch.manual_seed(5)
    model = get_peft_model(load(family), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none", **settings))
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "lora_" in n:
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    folder = OUT / name
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = f"tests/golden/model/{family}"  # not this machine's path
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    if (folder / "README.md").exists():
        os.remove(folder / "README.md")
    loss = whole_loss(model, data)
    loss.backward()
    out = {"grad." + n.replace(".default", ""): p.grad.contiguous() for n, p in model.named_parameters() if p.requires_grad}
    out["loss"] = loss.detach()[None]
    out["logprobs"] = torch.cat([logprobs_of(model, e) for e in data]).detach()
    save_file(out, folder / "expected.safetensors", metadata={**VERSIONS})
    print(name, loss.item(), sorted(out)[:3], len(out))


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    llama = full("tiny-llama3", 21)
    qwen = full("tiny-qwen2-tied", 22)
    lora("lora_all", "tiny-llama3", llama, r=4, lora_alpha=6, target_modules="all-linear")
    lora("lora_qv", "tiny-qwen2-tied", qwen, r=3, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "v_proj"])
