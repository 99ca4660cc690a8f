// Where the transformer's weights lie in the arena, and their packed forms.
#include <algorithm>

#include "model/transformer_impl.h"

namespace r1 {

void Transformer::Impl::find_attention(const std::string& prefix, LayerWeights& w) {
  const auto find = [&](const char* name) { return &store.find(prefix + "self_attn." + name); };
  w.q = find(config.fused_projections ? "qkv_proj.weight" : "q_proj.weight");
  w.o = find("o_proj.weight");
  if (!config.fused_projections) {
    const Parameter *k = find("k_proj.weight"), *v = find("v_proj.weight");
    R1_CHECK(k->offset == w.q->offset + w.q->elements && v->offset == k->offset + k->elements, "q, k, v are not adjacent");
  }
  if (config.qkv_bias) {
    w.q_bias = find("q_proj.bias");
    R1_CHECK(find("k_proj.bias")->offset == w.q_bias->offset + q_width && find("v_proj.bias")->offset == w.q_bias->offset + q_width + kv_width,
             "q, k, v biases are not adjacent");
  }
  if (config.o_bias) w.o_bias = find("o_proj.bias");
  if (config.qk_norm) w.q_norm = find("q_norm.weight"), w.k_norm = find("k_norm.weight");
}

void Transformer::Impl::find_latent(const std::string& prefix, LayerWeights& w) {
  const auto find = [&](const char* name) { return &store.find(prefix + "self_attn." + name); };
  w.latent = std::make_unique<LatentWeights>();
  LatentWeights& m = *w.latent;
  const bool compressed = config.mla->q_lora_rank > 0;
  m.down = find(compressed ? "q_a_proj.weight" : "q_proj.weight");
  R1_CHECK(find("kv_a_proj_with_mqa.weight")->offset == m.down->offset + m.down->elements, "the down projections are not adjacent");
  if (compressed) m.q_norm = find("q_a_layernorm.weight"), m.q_b = find("q_b_proj.weight");
  m.kv_norm = find("kv_a_layernorm.weight");
  m.kv_b = find("kv_b_proj.weight");
  w.o = find("o_proj.weight");
  const auto heads = static_cast<std::size_t>(H);
  m.key_p.resize(heads), m.key_pt.resize(heads), m.value_p.resize(heads), m.value_pt.resize(heads);
}

void Transformer::Impl::find_mlp(const std::string& prefix, MlpWeights& m, std::int64_t width, const char* gate, const char* up, const char* down) {
  m.width = width;
  m.gate = &store.find(prefix + gate + ".weight");
  m.down = &store.find(prefix + down + ".weight");
  if (up != nullptr)
    R1_CHECK(store.find(prefix + up + ".weight").offset == m.gate->offset + m.gate->elements, "gate and up are not adjacent");
  if (!config.mlp_bias) return;
  m.gate_bias = &store.find(prefix + gate + ".bias"), m.down_bias = &store.find(prefix + down + ".bias");
  R1_CHECK(store.find(prefix + up + ".bias").offset == m.gate_bias->offset + width, "gate and up biases are not adjacent");
}

void Transformer::Impl::find_experts(const std::string& prefix, LayerWeights& w) {
  const MixtureOfExperts& moe = *config.moe;
  w.moe = std::make_unique<MoeWeights>();
  MoeWeights& m = *w.moe;
  const bool mixtral = moe.names == MixtureOfExperts::Names::kMixtral;
  const std::string mlp = prefix + (mixtral ? "block_sparse_moe." : "mlp.");
  m.router = &store.find(mlp + "gate.weight");
  m.experts.resize(static_cast<std::size_t>(moe.held()));
  for (std::size_t e = 0; e < m.experts.size(); ++e)
    find_mlp(message(mlp, "experts.", moe.first_held + static_cast<std::int64_t>(e), "."), m.experts[e], moe.intermediate_size, mixtral ? "w1" : "gate_proj", mixtral ? "w3" : "up_proj",
             mixtral ? "w2" : "down_proj");
  if (moe.shared_intermediate_size > 0)
    find_mlp(mlp + (moe.shared_gate ? "shared_expert." : "shared_experts."), m.shared, moe.shared_intermediate_size, "gate_proj", "up_proj", "down_proj");
  if (moe.shared_gate) m.shared_gate = &store.find(mlp + "shared_expert_gate.weight");
  for (const Parameter& b : store.buffers())
    if (b.name == mlp + "gate.e_score_correction_bias") m.bias = &b;
  R1_CHECK(moe.correction_bias == (m.bias != nullptr), "a router without its correction bias");
}

void Transformer::Impl::find_layer(std::int64_t l) {
  const std::string prefix = message("model.layers.", l, ".");
  const auto find = [&](const char* name) { return &store.find(prefix + name); };
  LayerWeights& w = layers[static_cast<std::size_t>(l)];
  if (config.pre_norms) {
    w.input_norm = find("input_layernorm.weight");
    w.mlp_norm = find(config.post_norms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight");
  }
  if (config.post_norms) w.attn_out_norm = find("post_attention_layernorm.weight"), w.mlp_out_norm = find("post_feedforward_layernorm.weight");
  if (config.mla) find_latent(prefix, w);
  else find_attention(prefix, w);
  if (config.has_experts(std::min(l, L - 1))) {  // a prediction layer is of the last one's kind
    find_experts(prefix, w);
    if (l < L) moe_layers[static_cast<std::size_t>(l)] = num_moe_layers++;
  } else if (config.fused_projections) {
    find_mlp(prefix + "mlp.", w.mlp, F, "gate_up_proj", nullptr, "down_proj");
  } else {
    find_mlp(prefix + "mlp.", w.mlp, F, "gate_proj", "up_proj", "down_proj");
  }
}

void Transformer::Impl::pack(const Parameter* p, std::int64_t rows, std::int64_t depth, cpu::PackedMatrix& out, std::int64_t skip) {
  if (out.empty()) out = cpu::make_packed(type, rows, depth);
  cpu::pack(pool, w(p) + static_cast<std::size_t>(skip) * esize, depth, out);
}

void Transformer::Impl::pack_transposed(const Parameter* p, std::int64_t out_features, std::int64_t in_features, cpu::PackedMatrix& out,
                                        std::int64_t skip) {
  if (out.empty()) out = cpu::make_packed(type, in_features, out_features);
  cpu::pack_transposed(pool, w(p) + static_cast<std::size_t>(skip) * esize, in_features, out);
}

void Transformer::Impl::pack_mlp(MlpWeights& m, bool transposed) {
  if (transposed) {
    pack_transposed(m.gate, 2 * m.width, D, m.gate_up_pt);
    pack_transposed(m.down, D, m.width, m.down_pt);
  } else {
    pack(m.gate, 2 * m.width, D, m.gate_up_p);
    pack(m.down, D, m.width, m.down_p);
  }
}

void Transformer::Impl::pack_latent(LatentWeights& m, bool transposed) {
  const LatentAttention& s = *config.mla;
  const std::int64_t n = s.qk_nope_head_dim, v = s.v_head_dim, r = s.kv_lora_rank, q = H * hd;
  if (transposed) pack_transposed(m.down, down_width, D, m.down_pt);
  else pack(m.down, down_width, D, m.down_p);
  if (m.q_b != nullptr) {
    if (transposed) pack_transposed(m.q_b, q, s.q_lora_rank, m.q_b_pt);
    else pack(m.q_b, q, s.q_lora_rank, m.q_b_p);
  }
  for (std::int64_t h = 0; h < H; ++h) {
    const auto u = static_cast<std::size_t>(h);
    const std::int64_t key = h * (n + v) * r, value = key + n * r;
    // Queries meet the keys' projection from its other side: the two forms are swapped.
    if (transposed) pack(m.kv_b, n, r, m.key_pt[u], key), pack_transposed(m.kv_b, v, r, m.value_pt[u], value);
    else pack_transposed(m.kv_b, n, r, m.key_p[u], key), pack(m.kv_b, v, r, m.value_p[u], value);
  }
}

void Transformer::Impl::pack_experts(MoeWeights& m, bool transposed) {
  const std::int64_t experts = config.moe->num_experts;
  // The router is float32: rounding its scores would change the choice of experts.
  const auto as_float32 = [&](const Parameter* p) {
    std::vector<float> values(static_cast<std::size_t>(p->elements));
    if (type == cpu::Type::kF32) std::memcpy(values.data(), w(p), values.size() * 4);
    else cpu::convert(pool, reinterpret_cast<const cpu::bf16*>(w(p)), values.data(), p->elements);
    return values;
  };
  const std::vector<float> router = as_float32(m.router);
  cpu::PackedMatrix& out = transposed ? m.router_pt : m.router_p;
  if (out.empty()) out = transposed ? cpu::make_packed(cpu::Type::kF32, D, experts) : cpu::make_packed(cpu::Type::kF32, experts, D);
  if (transposed) cpu::pack_transposed(pool, router.data(), D, out);
  else cpu::pack(pool, router.data(), D, out);
  if (m.shared_gate != nullptr && !transposed) {
    if (m.shared_gate_p.empty()) m.shared_gate_p = cpu::make_packed(cpu::Type::kF32, 1, D);
    cpu::pack(pool, as_float32(m.shared_gate).data(), D, m.shared_gate_p);
  }
  for (MlpWeights& e : m.experts) pack_mlp(e, transposed);
  if (m.shared.width > 0) pack_mlp(m.shared, transposed);
}

void Transformer::Impl::pack_layer(LayerWeights& l, bool transposed) {
  if (l.latent) pack_latent(*l.latent, transposed);
  else if (transposed) pack_transposed(l.q, qkv_width, D, l.qkv_pt);
  else pack(l.q, qkv_width, D, l.qkv_p);
  if (transposed) pack_transposed(l.o, D, attn_width, l.o_pt);
  else pack(l.o, D, attn_width, l.o_p);
  if (l.moe) pack_experts(*l.moe, transposed);
  else pack_mlp(l.mlp, transposed);
}

void Transformer::Impl::pack_weights() {
  if (packed || gate) return;  // behind a gate layer by layer
  for (LayerWeights& l : layers) pack_layer(l, false);
  packed = true;
}

void Transformer::Impl::pack_transposed_weights() {
  if (packed_transposed || gate) return;
  for (LayerWeights& l : layers) pack_layer(l, true);
  packed_transposed = true;
}

void Transformer::Impl::pack_head() {
  if (head_packed) return;
  pack(head, V, D, head_p);
  head_packed = true;
}

void Transformer::Impl::pack_transposed_head() {
  if (head_packed_transposed) return;
  pack_transposed(head, V, D, head_pt);
  head_packed_transposed = true;
}

}  // namespace r1
