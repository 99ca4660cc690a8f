#!/usr/bin/env python3
"""Makes tests/golden/model/<family>/: a tiny random model of each family and what transformers computes with it.

  config.json, model.safetensors (float32)    the model, as save_pretrained() would write it
  expected.safetensors                        tokens [B,T] int64; logits [B,T,V]; logprobs, entropies [B,T-1] of the next token;
                                              loss [1] (mean of -logprobs); grad.NAME of every parameter;
                                              weights_logprob, weights_entropy [B,T-1] and mixed.NAME: gradients of
                                              sum(wl * logprob + we * entropy) at temperature 0.7; inv_freq [head_dim/2];
                                              router.LAYER.experts, router.LAYER.weights [B T,K] of mixtures of experts;
                                              rounded.logits, rounded.logprobs: float32 arithmetic on weights rounded to
                                              bfloat16, what a bfloat16 run is held against (transformers' own bfloat16 run is
                                              within `bf16_error` of it, relative to the largest logit: in the metadata)
and tests/golden/model/rope.safetensors: inverse frequencies of released configurations (their config.json in the metadata).

Everything is float32 with eager attention. Versions are in the metadata. Run: python model_golden.py
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model")
TOKENS = (2, 24)
TEMPERATURE = 0.7
BASE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
            intermediate_size=64, vocab_size=96, max_position_embeddings=128, rms_norm_eps=1e-5, rope_theta=10000.0,
            tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=None, hidden_act="silu")
FAMILIES = {
    "tiny-llama3": dict(model_type="llama", rope_theta=500000.0, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)),
    "tiny-llama-tied": dict(model_type="llama", tie_word_embeddings=True, num_attention_heads=3, num_key_value_heads=1,
                            vocab_size=99, hidden_size=48),
    "tiny-llama-bias": dict(model_type="llama", attention_bias=True, mlp_bias=True, num_key_value_heads=4,
                            rope_scaling=dict(rope_type="linear", factor=4.0)),
    "tiny-qwen2": dict(model_type="qwen2", rms_norm_eps=1e-6, rope_theta=1e6, intermediate_size=80, vocab_size=99),
    "tiny-qwen2-tied": dict(model_type="qwen2", rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True),
    "tiny-qwen3": dict(model_type="qwen3", rms_norm_eps=1e-6, rope_theta=1e6, head_dim=32, num_attention_heads=2,
                       num_key_value_heads=1, tie_word_embeddings=True),
    "tiny-qwen3-moe": dict(model_type="qwen3_moe", num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24,
                           norm_topk_prob=True, num_hidden_layers=3, mlp_only_layers=[1], decoder_sparse_step=1),
    "tiny-qwen2-moe": dict(model_type="qwen2_moe", num_experts=5, num_experts_per_tok=2, moe_intermediate_size=24,
                           shared_expert_intermediate_size=40, head_dim=None, hidden_size=64),
    "tiny-mixtral": dict(model_type="mixtral", num_local_experts=4, num_experts_per_tok=2, intermediate_size=48),
    "tiny-v2": dict(model_type="deepseek_v2", head_dim=None, num_key_value_heads=4, q_lora_rank=None, kv_lora_rank=32,
                    qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, n_routed_experts=8, num_experts_per_tok=2,
                    n_shared_experts=1, moe_intermediate_size=24, first_k_dense_replace=1, topk_method="greedy",
                    routed_scaling_factor=1.0, rope_scaling=dict(
                        rope_type="yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=32, beta_slow=1,
                        mscale=0.707, mscale_all_dim=0.707)),
    "tiny-v2-groups": dict(model_type="deepseek_v2", head_dim=None, num_key_value_heads=4, q_lora_rank=20, kv_lora_rank=24,
                           qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=20, n_routed_experts=12, num_experts_per_tok=3,
                           n_shared_experts=2, moe_intermediate_size=16, first_k_dense_replace=0, n_group=4, topk_group=2,
                           topk_method="group_limited_greedy", routed_scaling_factor=4.0),
    "tiny-v3": dict(model_type="deepseek_v3", head_dim=None, num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=24,
                    qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, n_routed_experts=16, num_experts_per_tok=4,
                    n_shared_experts=1, moe_intermediate_size=16, first_k_dense_replace=1, n_group=4, topk_group=2,
                    routed_scaling_factor=2.5, norm_topk_prob=True, num_nextn_predict_layers=1, rope_scaling=dict(
                        rope_type="yarn", factor=40.0, original_max_position_embeddings=16, beta_fast=32, beta_slow=1,
                        mscale=1.0, mscale_all_dim=1.0)),
    "tiny-mistral": dict(model_type="mistral", sliding_window=7),
    "tiny-phi3": dict(model_type="phi3", head_dim=None, hidden_size=64, sliding_window=None),
    "tiny-phi3-partial": dict(model_type="phi3", head_dim=None, hidden_size=64, sliding_window=9, partial_rotary_factor=0.75),
    "tiny-olmo2": dict(model_type="olmo2", head_dim=None, hidden_size=64),
    "tiny-gemma2": dict(model_type="gemma2", hidden_act=None, hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=24, sliding_window=6,
                        attn_logit_softcapping=5.0, final_logit_softcapping=3.0, tie_word_embeddings=True, num_hidden_layers=3),
    "tiny-gemma3": dict(model_type="gemma3_text", hidden_act=None, hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=24, sliding_window=6,
                        tie_word_embeddings=True, num_hidden_layers=3, rope_theta=1e6,
                        layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    # LongRoPE: 24 tokens are within the original context of 64, and beyond that of 16.
    **{f"tiny-phi3-{name}": dict(model_type="phi3", head_dim=None, hidden_size=64, sliding_window=None, original_max_position_embeddings=original,
                                 rope_scaling=dict(rope_type="longrope", short_factor=[1.0, 1.05, 1.1, 1.2, 1.4, 1.7, 2.1, 2.6],
                                                   long_factor=[1.1, 1.5, 2.0, 2.8, 4.0, 5.5, 7.5, 9.9]))
       for name, original in (("short", 64), ("long", 16))},
}
RELEASED = {  # config.json keys that matter for the rotary frequencies
    "llama-3.1-8b": dict(model_type="llama", hidden_size=4096, num_attention_heads=32, rope_theta=500000.0,
                         max_position_embeddings=131072, rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                                                           high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "llama-3.2-1b": dict(model_type="llama", hidden_size=2048, num_attention_heads=32, head_dim=64, rope_theta=500000.0,
                         max_position_embeddings=131072, rope_scaling=dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0,
                                                                           high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "smollm2-135m": dict(model_type="llama", hidden_size=576, num_attention_heads=9, rope_theta=100000.0),
    "deepseek-coder-1.3b": dict(model_type="llama", hidden_size=2048, num_attention_heads=16, rope_theta=100000.0,
                                rope_scaling=dict(type="linear", factor=4.0)),
    "qwen2.5-7b": dict(model_type="qwen2", hidden_size=3584, num_attention_heads=28, rope_theta=1000000.0),
    "qwen3-8b": dict(model_type="qwen3", hidden_size=4096, num_attention_heads=32, head_dim=128, rope_theta=1000000.0),
}
VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__, "made_by": "tests/golden/model_golden.py"}


def build(settings):
    settings = dict(settings)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    return model.eval()


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if name.endswith("norm.weight") else 0.15 * noise)
        for name, b in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                b.copy_(0.1 * torch.randn(b.shape, generator=generator))


def next_token(logits, tokens, temperature):
    logp = torch.log_softmax(logits[:, :-1] / temperature, dim=-1)
    chosen = logp.gather(-1, tokens[:, 1:, None])[..., 0]
    return chosen, -(logp.exp() * logp).sum(-1)


def file_names(name, value):
    """Parameters as the files name them: transformers holds a layer's experts in one tensor."""
    if ".experts." not in name:
        return {name.replace(".mlp.gate.", ".block_sparse_moe.gate.") if MIXTRAL else name: value}
    out = {}
    prefix, part = name.split(".experts.")
    prefix = prefix.replace(".mlp", ".block_sparse_moe") if MIXTRAL else prefix
    names = ("w1", "w3", "w2") if MIXTRAL else ("gate_proj", "up_proj", "down_proj")
    for e, matrix in enumerate(value):
        pieces = zip(names[:2], matrix.chunk(2)) if part == "gate_up_proj" else [(names[2], matrix)]
        out.update({f"{prefix}.experts.{e}.{n}.weight": m.clone() for n, m in pieces})
    return out


def gradients(model, objective, prefix):
    model.zero_grad(set_to_none=True)
    objective.backward()
    out = {}
    for name, p in model.named_parameters():
        out.update({prefix + n: g for n, g in file_names(name, p.grad.clone()).items()})
    return out


def routing(model, tokens):
    """What each router chose: experts in ascending order and their weights, a row a token."""
    seen, hooks = {}, []
    for name, module in model.named_modules():
        if name.endswith("mlp.gate"):
            layer = name.split(".")[2]
            hooks.append(module.register_forward_hook(lambda m, i, o, layer=layer: seen.__setitem__(layer, o)))
    with torch.no_grad():
        model(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    out = {}
    for layer, (_, weights, experts) in seen.items():
        order = experts.sort(-1)
        out[f"router.{layer}.experts"] = order.values
        out[f"router.{layer}.weights"] = weights.gather(-1, order.indices)
    return out


def make(name, settings, seed):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    global MIXTRAL
    MIXTRAL = settings["model_type"] == "mixtral"
    model = build({k: v for k, v in {**BASE, **settings}.items() if v is not None or k not in ("head_dim", "hidden_act")})
    randomise(model, seed)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))

    generator = torch.Generator().manual_seed(seed + 1)
    tokens = torch.randint(0, model.config.vocab_size, TOKENS, generator=generator)
    logits = model(tokens, use_cache=False).logits
    logprobs, entropies = next_token(logits, tokens, 1.0)
    loss = -logprobs.mean()
    out = {"tokens": tokens, "logits": logits, "logprobs": logprobs, "entropies": entropies, "loss": loss[None],
           **routing(model, tokens)}
    if hasattr(model.model.rotary_emb, "inv_freq"):
        out["inv_freq"] = model.model.rotary_emb.inv_freq
    out.update(gradients(model, loss, "grad."))

    weights = torch.randn(2, *logprobs.shape, generator=generator)
    chosen, entropy = next_token(model(tokens, use_cache=False).logits, tokens, TEMPERATURE)
    mixed = gradients(model, (weights[0] * chosen + 0.1 * weights[1] * entropy).sum(), "mixed.")
    out["weights_logprob"], out["weights_entropy"] = weights[0], 0.1 * weights[1]
    wanted = ("embed_tokens", "layers.0.self_attn", "layers.1.mlp.gate", "layers.1.block_sparse_moe.gate", "model.norm", "lm_head")
    out.update({k: v for k, v in mixed.items() if any(w in k for w in wanted)})
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16().float())
        rounded = model(tokens, use_cache=False).logits
        out["rounded.logits"], out["rounded.logprobs"] = rounded, next_token(rounded, tokens, 1.0)[0]
        coarse = model.to(torch.bfloat16)(tokens, use_cache=False).logits.float()
        bf16_error = ((coarse - rounded).abs().max() / rounded.abs().max()).item()
    save_file({k: v.detach().contiguous() for k, v in out.items()}, os.path.join(folder, "expected.safetensors"),
              metadata={**VERSIONS, "temperature_of_mixed": str(TEMPERATURE), "bf16_error": str(bf16_error)})
    print(name, f"loss {loss.item():.6f} bf16 error {bf16_error:.4f}", {f: os.path.getsize(os.path.join(folder, f)) for f in sorted(os.listdir(folder))})


def rope():
    out, configs = {}, {}
    for name, settings in RELEASED.items():
        full = dict(num_hidden_layers=1, intermediate_size=8, vocab_size=8, num_key_value_heads=1, **settings)
        with torch.device("meta"):
            config = AutoConfig.for_model(full["model_type"], **{k: v for k, v in full.items() if k != "model_type"})
        module = type(AutoModelForCausalLM.from_config(AutoConfig.for_model(
            full["model_type"], **{**{k: v for k, v in full.items() if k != "model_type"}, "hidden_size": 64,
                                   "num_attention_heads": 1, "head_dim": 64})).model.rotary_emb)
        out[name] = module(config=config).inv_freq.clone()
        configs[name] = json.dumps(full)
    save_file(out, os.path.join(HERE, "rope.safetensors"), metadata={**VERSIONS, **configs})


if __name__ == "__main__":
    torch.set_num_threads(2)
    only = sys.argv[1:]  # families to make again; none = all
    for i, (family, extra) in enumerate(FAMILIES.items()):
        if not only or family in only:
            make(family, extra, 100 + 10 * i)
    if not only:
        rope()
