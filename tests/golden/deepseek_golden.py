#!/usr/bin/env python3
"""Makes tests/golden/model/tiny-v1 and tiny-v3-mtp: what transformers lacks of DeepSeek.

tiny-v1: DeepSeekMoE (model_type "deepseek", arXiv:2401.06066) as an independent forward pass in plain PyTorch, written from the equations:
Llama attention, softmax router in float32 without renormalisation, fine-grained and shared experts. Files as model_golden.py makes
them; beside them balance [1], the balance loss summed over sequences and layers, and balance.NAME, its gradients (of the routers).

tiny-v3-mtp: transformers' DeepSeek-V3 with its MtpModel of one layer on top, under the released names (model.layers.L.*). Beside the files of
model_golden.py: mtp.logits [B,T-1,V], where row i has seen token i+1 and predicts token i+2; mtp.loss [1], mean over rows with a target;
mtp.grad.NAME, the gradients of loss + 0.3 * mtp.loss.

Run: python deepseek_golden.py
"""
import json
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import model_golden
from model_golden import HERE, TOKENS, VERSIONS, next_token

V1 = dict(model_type="deepseek", architectures=["DeepseekForCausalLM"], hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
          num_key_value_heads=4, intermediate_size=48, moe_intermediate_size=16, n_routed_experts=8, n_shared_experts=2,
          num_experts_per_tok=3, first_k_dense_replace=1, moe_layer_freq=1, scoring_func="softmax", norm_topk_prob=False,
          aux_loss_alpha=0.001, seq_aux=True, vocab_size=96, max_position_embeddings=128, rms_norm_eps=1e-5, rope_theta=10000.0,
          rope_scaling=None, hidden_act="silu", attention_bias=False, attention_dropout=0.0, pretraining_tp=1,
          tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, torch_dtype="float32", use_cache=True)


def v1_parameters(c, generator):
    d, f = c["hidden_size"], c["moe_intermediate_size"]
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], d), "lm_head.weight": (c["vocab_size"], d), "model.norm.weight": (d,)}

    def mlp(prefix, width):
        shapes.update({prefix + "gate_proj.weight": (width, d), prefix + "up_proj.weight": (width, d), prefix + "down_proj.weight": (d, width)})

    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        shapes.update({p + f"self_attn.{n}_proj.weight": (d, d) for n in "qkvo"})
        shapes.update({p + "input_layernorm.weight": (d,), p + "post_attention_layernorm.weight": (d,)})
        if l < c["first_k_dense_replace"]:
            mlp(p + "mlp.", c["intermediate_size"])
            continue
        shapes[p + "mlp.gate.weight"] = (c["n_routed_experts"], d)
        for e in range(c["n_routed_experts"]):
            mlp(p + f"mlp.experts.{e}.", f)
        mlp(p + "mlp.shared_experts.", f * c["n_shared_experts"])
    out = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        out[name] = (1 + 0.2 * noise if name.endswith("norm.weight") else 0.15 * noise).requires_grad_()
    return out


def v1_forward(w, c, tokens, seen):
    eps, heads, width = c["rms_norm_eps"], c["num_attention_heads"], c["hidden_size"] // c["num_attention_heads"]
    batch, length = tokens.shape

    def norm(x, name):
        return w[name] * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))

    def mlp(x, prefix):
        return (F.silu(x @ w[prefix + "gate_proj.weight"].T) * (x @ w[prefix + "up_proj.weight"].T)) @ w[prefix + "down_proj.weight"].T

    frequency = c["rope_theta"] ** (-torch.arange(0, width, 2).float() / width)
    angle = torch.arange(length).float()[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()

    def rotate(x):
        a, b = x[..., : width // 2], x[..., width // 2:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    h = w["model.embed_tokens.weight"][tokens]
    causal = torch.full((length, length), float("-inf")).triu(1)
    balance = 0
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        x = norm(h, p + "input_layernorm.weight")
        q, k, v = ((x @ w[p + f"self_attn.{n}_proj.weight"].T).view(batch, length, heads, width).transpose(1, 2) for n in "qkv")
        attention = torch.softmax(rotate(q) @ rotate(k).transpose(-1, -2) / width**0.5 + causal, -1) @ v
        h = h + attention.transpose(1, 2).reshape(batch, length, -1) @ w[p + "self_attn.o_proj.weight"].T
        x = norm(h, p + "post_attention_layernorm.weight")
        if l < c["first_k_dense_replace"]:
            h = h + mlp(x, p + "mlp.")
            continue
        experts, top = c["n_routed_experts"], c["num_experts_per_tok"]
        score = torch.softmax(x @ w[p + "mlp.gate.weight"].T, -1)
        weight, chosen = score.topk(top, -1)
        order = chosen.sort(-1)
        seen[f"router.{l}.experts"] = order.values.reshape(-1, top)
        seen[f"router.{l}.weights"] = weight.gather(-1, order.indices).reshape(-1, top).detach()
        mask = F.one_hot(chosen, experts).float()
        y = mlp(x, p + "mlp.shared_experts.")
        for e in range(experts):
            y = y + ((mask[..., e] * weight).sum(-1, keepdim=True)) * mlp(x, p + f"mlp.experts.{e}.")
        h = h + y
        often = experts / (top * length) * mask.sum(2).sum(1)  # [B, E], no gradient
        balance = balance + (often * score.mean(1)).sum()
    return norm(h, "model.norm.weight") @ w["lm_head.weight"].T, balance


def make_v1():
    folder = os.path.join(HERE, "tiny-v1")
    os.makedirs(folder, exist_ok=True)
    generator = torch.Generator().manual_seed(500)
    w = v1_parameters(V1, generator)
    tokens = torch.randint(0, V1["vocab_size"], TOKENS, generator=generator)

    def gradients(objective, prefix):
        names = list(w)
        found = torch.autograd.grad(objective, [w[n] for n in names], allow_unused=True)
        return {prefix + n: torch.zeros_like(w[n]) if g is None else g for n, g in zip(names, found)}

    out = {"tokens": tokens}
    logits, balance = v1_forward(w, V1, tokens, out)
    logprobs, entropies = next_token(logits, tokens, 1.0)
    loss = -logprobs.mean()
    out.update({"logits": logits, "logprobs": logprobs, "entropies": entropies, "loss": loss[None], "balance": balance.reshape(1)})
    out.update(gradients(loss, "grad."))
    _, balance = v1_forward(w, V1, tokens, {})
    out.update({k: v for k, v in gradients(balance, "balance.").items() if "mlp.gate." in k or "embed" in k})
    weights = torch.randn(2, *logprobs.shape, generator=generator)
    chosen, entropy = next_token(v1_forward(w, V1, tokens, {})[0], tokens, model_golden.TEMPERATURE)
    mixed = gradients((weights[0] * chosen + 0.1 * weights[1] * entropy).sum(), "mixed.")
    out["weights_logprob"], out["weights_entropy"] = weights[0], 0.1 * weights[1]
    out.update({k: v for k, v in mixed.items() if any(n in k for n in ("embed_tokens", "layers.0.self_attn", "layers.1.mlp.gate", "model.norm", "lm_head"))})
    rounded = {k: v.detach().bfloat16().float() for k, v in w.items()}
    out["rounded.logits"] = v1_forward(rounded, V1, tokens, {})[0]
    out["rounded.logprobs"] = next_token(out["rounded.logits"], tokens, 1.0)[0]
    save_file({k: v.detach().contiguous() for k, v in w.items()}, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    save_file({k: v.detach().contiguous() for k, v in out.items()}, os.path.join(folder, "expected.safetensors"),
              metadata={**VERSIONS, "made_by": "tests/golden/deepseek_golden.py", "temperature_of_mixed": str(model_golden.TEMPERATURE), "bf16_error": "0"})
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(V1, file, indent=2)
    print("tiny-v1", f"loss {loss.item():.6f} balance {balance.item():.6f}")


def make_mtp():
    from transformers.modeling_layers import MtpModel
    folder = os.path.join(HERE, "tiny-v3-mtp")
    os.makedirs(folder, exist_ok=True)
    settings = {**model_golden.BASE, **model_golden.FAMILIES["tiny-v3"]}
    model_golden.MIXTRAL = False
    main = model_golden.build({k: v for k, v in settings.items() if v is not None or k != "head_dim"})
    mtp = MtpModel(main, 1).eval()
    model_golden.randomise(main, 600)
    shared = {id(p) for p in main.parameters()}
    generator = torch.Generator().manual_seed(601)
    with torch.no_grad():
        for name, p in mtp.named_parameters():
            if id(p) not in shared:
                noise = torch.randn(p.shape, generator=generator)
                p.copy_(1 + 0.2 * noise if "norm" in name else 0.15 * noise)
        for name, b in mtp.named_buffers():
            if name.endswith("e_score_correction_bias"):
                b.copy_(0.1 * torch.randn(b.shape, generator=generator))
    last = main.config.num_hidden_layers

    def released(name):
        name = name.replace("layers.0.", f"model.layers.{last}.").replace("mtp_block.", "").replace("post_norm.", "shared_head.norm.")
        return name

    main.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    from safetensors.torch import load_file
    files = load_file(os.path.join(folder, "model.safetensors"))
    own = {}
    for name, p in list(mtp.named_parameters()) + [(n, b) for n, b in mtp.named_buffers() if n.endswith("e_score_correction_bias")]:
        if id(p) not in shared and name.startswith("layers."):
            own.update({k: v.detach().clone() for k, v in model_golden.file_names(released(name), p).items()})
    save_file({**files, **own}, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})

    tokens = torch.randint(0, main.config.vocab_size, TOKENS, generator=generator)

    def forward():
        hidden = main.model(tokens, use_cache=False).last_hidden_state
        logits = main.lm_head(hidden)
        length = tokens.shape[1] - 1
        positions = torch.arange(1, length + 1)[None]
        embeds = main.model.embed_tokens(tokens[:, 1:])
        causal = torch.full((length, length), float("-inf")).triu(1)[None, None]
        out = mtp.layers[0](embeds, hidden[:, :-1], position_embeddings=main.model.rotary_emb(embeds, position_ids=positions),
                            attention_mask=causal, position_ids=positions, past_key_values=None)
        ahead = main.lm_head(out)
        loss = -next_token(logits, tokens, 1.0)[0].mean()
        mtp_loss = -next_token(ahead, tokens[:, 1:], 1.0)[0].mean()
        return logits, ahead, loss, mtp_loss

    main.zero_grad(set_to_none=True)
    logits, ahead, loss, mtp_loss = forward()
    (loss + 0.3 * mtp_loss).backward()
    out = {"tokens": tokens, "logits": logits, "loss": loss[None], "mtp.logits": ahead, "mtp.loss": mtp_loss[None]}
    for name, p in list(main.named_parameters()) + [(released(n), p) for n, p in mtp.named_parameters() if id(p) not in shared and n.startswith("layers.")]:
        out.update({"mtp.grad." + k: v.clone() for k, v in model_golden.file_names(name, p.grad).items()})
    save_file({k: v.detach().contiguous() for k, v in out.items()}, os.path.join(folder, "expected.safetensors"),
              metadata={**VERSIONS, "made_by": "tests/golden/deepseek_golden.py"})
    print("tiny-v3-mtp", f"loss {loss.item():.6f} mtp loss {mtp_loss.item():.6f}", len(own), "tensors of its own")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_v1()
    make_mtp()
