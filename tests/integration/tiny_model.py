"""Makes a model directory small enough to draw thousands of samples in seconds: a llama of random weights (seeded) with a tokenizer of
single bytes. usage: tiny_model.py FOLDER [seed] [--answers-end] [--two-kv-heads] [--wide] [--experts].
--answers-end: its chat template ends answers, so that they can be trained on. --wide: 0.9 million parameters in place of 27 thousand, so that
a run takes seconds of arithmetic. Needs nothing beyond Python's own library."""
import json
import os
import random
import struct
import sys

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, INNER, VOCAB = 32, 2, 2, 1, 16, 64, 259  # 256 bytes, <s>, </s>, <pad>
EXPERTS = 0


def byte_alphabet():
    """The printable stand-ins of byte-level BPE, by byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    extra = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(extra)) for b in range(256)]


def tokenizer():
    vocab = {c: i for i, c in enumerate(byte_alphabet())}
    special = ["<s>", "</s>", "<pad>"]
    added = [{"id": 256 + i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, t in enumerate(special)]
    vocab.update({t: 256 + i for i, t in enumerate(special)})
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": level,
            "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []}}


def tensors(rng):
    def normal(*shape, scale=0.3):
        n = 1
        for d in shape:
            n *= d
        return shape, struct.pack(f"<{n}f", *(rng.gauss(0, scale) for _ in range(n)))

    def ones(n):
        return (n,), struct.pack(f"<{n}f", *([1.0] * n))

    def mlp(p, inner):
        return {p + "gate_proj.weight": normal(inner, HIDDEN), p + "up_proj.weight": normal(inner, HIDDEN), p + "down_proj.weight": normal(HIDDEN, inner)}

    out = {"model.embed_tokens.weight": normal(VOCAB, HIDDEN, scale=0.5), "model.norm.weight": ones(HIDDEN)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        out[p + "input_layernorm.weight"] = ones(HIDDEN)
        out[p + "post_attention_layernorm.weight"] = ones(HIDDEN)
        out[p + "self_attn.q_proj.weight"] = normal(HEADS * HEAD_DIM, HIDDEN)
        out[p + "self_attn.k_proj.weight"] = normal(KV_HEADS * HEAD_DIM, HIDDEN)
        out[p + "self_attn.v_proj.weight"] = normal(KV_HEADS * HEAD_DIM, HIDDEN)
        out[p + "self_attn.o_proj.weight"] = normal(HIDDEN, HEADS * HEAD_DIM)
        if EXPERTS:
            out.update({p + "self_attn.q_norm.weight": ones(HEAD_DIM), p + "self_attn.k_norm.weight": ones(HEAD_DIM), p + "mlp.gate.weight": normal(EXPERTS, HIDDEN)})
            for e in range(EXPERTS):
                out.update(mlp(p + f"mlp.experts.{e}.", INNER // 2))
        else:
            out.update(mlp(p + "mlp.", INNER))
    return out


def main():
    global HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, INNER, EXPERTS
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    if "--two-kv-heads" in sys.argv:  # for two tensor-parallel ranks
        KV_HEADS = 2
    if "--wide" in sys.argv:
        HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, INNER = 128, 4, 4, 2, 32, 384
    if "--experts" in sys.argv:  # a qwen3_moe
        EXPERTS = 6
    folder, seed, end = words[0], int(words[1]) if len(words) > 1 else 0, "--answers-end" in sys.argv
    os.makedirs(folder, exist_ok=True)
    header, body, at = {}, b"", 0
    for name, (shape, data) in tensors(random.Random(seed)).items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(data)]}
        body += data
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{folder}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
              "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "intermediate_size": INNER, "vocab_size": VOCAB,
              "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 4096, "tie_word_embeddings": True,
              "attention_bias": False, "mlp_bias": False, "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "float32"}
    if EXPERTS:
        config.update(architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", num_experts=EXPERTS, num_experts_per_tok=2, moe_intermediate_size=INNER // 2,
                      norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
        del config["mlp_bias"]
    template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}{% endfor %}<s>assistant: {% if think %}<think>\n{% endif %}"
    if end:
        template = ("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
                    "{% if add_generation_prompt %}<s>assistant: {% endif %}")
    files = {"config.json": config, "generation_config.json": {"eos_token_id": 257, "bos_token_id": 256, "pad_token_id": 258},
             "tokenizer.json": tokenizer(),
             "tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "chat_template": template}}
    for name, content in files.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as f:
            json.dump(content, f, ensure_ascii=False)


if __name__ == "__main__":
    main()
