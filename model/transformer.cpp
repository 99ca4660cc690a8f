#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/transformer_impl.h"

namespace r1 {

namespace {
// Rows of logits held at a time: [kLogitRows][V] float32, so that [N][V] never exists.
constexpr std::int64_t kLogitRows = 128;
}  // namespace

Transformer::Impl::Impl(ModelConfig c, DType dtype, ComputePool& p)
    : config(std::move(c)), type(dtype == DType::kBF16 ? cpu::Type::kBF16 : cpu::Type::kF32), pool(p), store(config, dtype) {
  D = config.hidden_size, H = config.num_attention_heads, KV = config.num_key_value_heads, hd = config.head_dim;
  F = config.intermediate_size, V = config.vocab_size, L = config.num_hidden_layers;
  q_width = H * hd, kv_width = KV * hd, qkv_width = q_width + 2 * kv_width;
  vocab_limit = V;
  esize = size_of(dtype);
  shape = {H, KV, hd, static_cast<float>(1.0 / std::sqrt(static_cast<double>(hd))), type};
  inv_freq = rope_inverse_frequencies(config);

  embed = &store.find("model.embed_tokens.weight");
  final_norm = &store.find("model.norm.weight");
  head = config.tie_word_embeddings ? embed : &store.find("lm_head.weight");
  layers.resize(static_cast<std::size_t>(L));
  for (std::int64_t l = 0; l < L; ++l) {
    const std::string prefix = message("model.layers.", l, ".");
    const auto find = [&](const char* name) { return &store.find(prefix + name); };
    LayerWeights& w = layers[static_cast<std::size_t>(l)];
    w.input_norm = find("input_layernorm.weight");
    w.post_norm = find("post_attention_layernorm.weight");
    w.q = find("self_attn.q_proj.weight"), w.k = find("self_attn.k_proj.weight"), w.v = find("self_attn.v_proj.weight");
    w.o = find("self_attn.o_proj.weight");
    w.gate = find("mlp.gate_proj.weight"), w.up = find("mlp.up_proj.weight"), w.down = find("mlp.down_proj.weight");
    if (config.qkv_bias) {
      w.q_bias = find("self_attn.q_proj.bias"), w.k_bias = find("self_attn.k_proj.bias"), w.v_bias = find("self_attn.v_proj.bias");
      R1_CHECK(w.k_bias->offset == w.q_bias->offset + q_width && w.v_bias->offset == w.k_bias->offset + kv_width,
               "q, k, v biases are not adjacent");
    }
    if (config.o_bias) w.o_bias = find("self_attn.o_proj.bias");
    if (config.qk_norm) w.q_norm = find("self_attn.q_norm.weight"), w.k_norm = find("self_attn.k_norm.weight");
    if (config.mlp_bias) {
      w.gate_bias = find("mlp.gate_proj.bias"), w.up_bias = find("mlp.up_proj.bias"), w.down_bias = find("mlp.down_proj.bias");
      R1_CHECK(w.up_bias->offset == w.gate_bias->offset + F, "gate and up biases are not adjacent");
    }
    R1_CHECK(w.k->offset == w.q->offset + w.q->elements && w.v->offset == w.k->offset + w.k->elements, "q, k, v are not adjacent");
    R1_CHECK(w.up->offset == w.gate->offset + w.gate->elements, "gate and up are not adjacent");
  }
}

void Transformer::Impl::pack_weights() {
  if (packed) return;
  const auto pack = [&](const Parameter* p, std::int64_t rows, std::int64_t depth, cpu::PackedMatrix& out) {
    if (out.empty()) out = cpu::make_packed(type, rows, depth);
    cpu::pack(pool, w(p), depth, out);
  };
  for (LayerWeights& l : layers) {
    pack(l.q, qkv_width, D, l.qkv_p);
    pack(l.o, D, q_width, l.o_p);
    pack(l.gate, 2 * F, D, l.gate_up_p);
    pack(l.down, D, F, l.down_p);
  }
  packed = true;
}

void Transformer::Impl::pack_transposed_weights() {
  if (packed_transposed) return;
  const auto pack = [&](const Parameter* p, std::int64_t out_features, std::int64_t in_features, cpu::PackedMatrix& out) {
    if (out.empty()) out = cpu::make_packed(type, in_features, out_features);
    cpu::pack_transposed(pool, w(p), in_features, out);
  };
  for (LayerWeights& l : layers) {
    pack(l.q, qkv_width, D, l.qkv_pt);
    pack(l.o, D, q_width, l.o_pt);
    pack(l.gate, 2 * F, D, l.gate_up_pt);
    pack(l.down, D, F, l.down_pt);
  }
  packed_transposed = true;
}

void Transformer::Impl::pack_head() {
  if (head_packed) return;
  if (head_p.empty()) head_p = cpu::make_packed(type, V, D);
  cpu::pack(pool, w(head), D, head_p);
  head_packed = true;
}

void Transformer::Impl::pack_transposed_head() {
  if (head_packed_transposed) return;
  if (head_pt.empty()) head_pt = cpu::make_packed(type, D, V);
  cpu::pack_transposed(pool, w(head), D, head_pt);
  head_packed_transposed = true;
}

void Transformer::Impl::ensure_rope(std::int64_t positions) {
  if (positions <= rope_positions) return;
  const std::int64_t half = hd / 2;
  const std::int64_t size = std::max<std::int64_t>({positions, 2 * rope_positions, 512});
  rope_cos.resize(static_cast<std::size_t>(size * half));
  rope_sin.resize(static_cast<std::size_t>(size * half));
  for (std::int64_t p = rope_positions; p < size; ++p)
    for (std::int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(p) * inv_freq[static_cast<std::size_t>(i)];  // float32, as HF does
      // HF casts cos and sin to the model's type before they meet q and k.
      const auto cast = [&](float v) { return type == cpu::Type::kBF16 ? cpu::to_float(cpu::to_bf16(v)) : v; };
      rope_cos[static_cast<std::size_t>(p * half + i)] = cast(std::cos(angle));
      rope_sin[static_cast<std::size_t>(p * half + i)] = cast(std::sin(angle));
    }
  rope_positions = size;
}

void Transformer::Impl::gemm(const void* a, std::int64_t m, std::int64_t lda, const cpu::PackedMatrix& b, void* c, cpu::Type out,
                             cpu::Store store_mode, const void* bias, std::int64_t ldc) {
  cpu::GemmArgs args;
  args.a = a, args.m = m, args.lda = lda, args.b = &b, args.c = c, args.ldc = ldc < 0 ? b.rows() : ldc;
  args.out_type = out, args.store = store_mode, args.bias = bias;
  cpu::gemm(pool, args);
}

void Transformer::Impl::copy_rows(float* to, const float* from, std::int64_t elements) {
  constexpr std::int64_t kPiece = 1 << 14;
  pool.parallel_for((elements + kPiece - 1) / kPiece, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin * kPiece, last = std::min(elements, end * kPiece);
    std::memcpy(to + first, from + first, static_cast<std::size_t>(last - first) * 4);
  });
}

void Transformer::Impl::embed_rows(const TokenId* tokens, std::int64_t n, float* out) {
  const std::byte* table = w(embed);
  pool.parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::byte* row = table + static_cast<std::size_t>(tokens[i] * D) * esize;
      float* to = out + i * D;
      if (type == cpu::Type::kF32) {
        std::memcpy(to, row, static_cast<std::size_t>(D) * 4);
      } else {
        const auto* from = reinterpret_cast<const cpu::bf16*>(row);
        for (std::int64_t j = 0; j < D; ++j) to[j] = cpu::to_float(from[j]);
      }
    }
  });
}

void Transformer::Impl::layer_forward(std::int64_t l, std::int64_t n, float* h_rows, const std::int32_t* positions,
                                      const AttentionPlan& plan, LayerActivations& a, bool keep) {
  const LayerWeights& lw = layers[static_cast<std::size_t>(l)];
  const auto bytes = [&](std::int64_t width) { return n * width * static_cast<std::int64_t>(esize); };
  auto* xb = x.get<std::byte>(bytes(D));
  if (keep) copy_rows(a.h_in.get<float>(n * D), h_rows, n * D);
  cpu::rms_norm(pool, h_rows, n, D, w(lw.input_norm), config.rms_norm_eps, xb, type, keep ? a.rstd_in.get<float>(n) : nullptr);

  auto* qkv = a.qkv.get<std::byte>(bytes(qkv_width));
  gemm(xb, n, D, lw.qkv_p, qkv, type, cpu::Store::kStore, lw.q_bias ? w(lw.q_bias) : nullptr);
  std::byte* k = qkv + static_cast<std::size_t>(q_width) * esize;
  std::byte* v = k + static_cast<std::size_t>(kv_width) * esize;
  if (config.qk_norm) {
    const std::int64_t width = q_width + kv_width;
    if (keep) {
      auto* raw = a.qk_raw.get<std::byte>(bytes(width));
      for (std::int64_t i = 0; i < n; ++i)
        std::memcpy(raw + static_cast<std::size_t>(i * width) * esize, qkv + static_cast<std::size_t>(i * qkv_width) * esize,
                    static_cast<std::size_t>(width) * esize);
    }
    cpu::rms_norm_heads(pool, qkv, n, H, hd, qkv_width, w(lw.q_norm), config.rms_norm_eps, qkv, qkv_width, type,
                        keep ? a.rstd_q.get<float>(n * H) : nullptr);
    cpu::rms_norm_heads(pool, k, n, KV, hd, qkv_width, w(lw.k_norm), config.rms_norm_eps, k, qkv_width, type,
                        keep ? a.rstd_k.get<float>(n * KV) : nullptr);
  }
  // q and k lie side by side and rotate alike: one call for both.
  cpu::rope(pool, qkv, n, H + KV, hd, qkv_width, positions, rope_cos.data(), rope_sin.data(), 1.f, type);

  const std::size_t layer_offset = plan.layer_stride * static_cast<std::size_t>(l);
  cpu::write_kv(pool, shape, k, v, n, qkv_width, plan.prefix_rows.empty() ? plan.rows.data() : plan.prefix_rows.data(), layer_offset);
  if (!plan.prefix_rows.empty()) {
    const std::size_t block_bytes = cpu::kv_block_bytes(shape);
    for (const auto& [from, to] : plan.copies) std::memcpy(to, from, block_bytes);
    cpu::write_kv(pool, shape, k, v, n, qkv_width, plan.own_rows.data(), layer_offset);
  }
  auto* attn = a.attn.get<std::byte>(bytes(q_width));
  cpu::attention(pool, shape, qkv, qkv_width, plan.rows.data(), n, layer_offset, attn, q_width, keep ? a.lse.get<float>(n * H) : nullptr);
  gemm(attn, n, q_width, lw.o_p, h_rows, cpu::Type::kF32, cpu::Store::kAdd, lw.o_bias ? w(lw.o_bias) : nullptr);

  if (keep) copy_rows(a.h_mid.get<float>(n * D), h_rows, n * D);
  cpu::rms_norm(pool, h_rows, n, D, w(lw.post_norm), config.rms_norm_eps, xb, type, keep ? a.rstd_mid.get<float>(n) : nullptr);
  auto* gate_up = a.gate_up.get<std::byte>(bytes(2 * F));
  gemm(xb, n, D, lw.gate_up_p, gate_up, type, cpu::Store::kStore, lw.gate_bias ? w(lw.gate_bias) : nullptr);
  auto* inner = act.get<std::byte>(bytes(F));
  cpu::swiglu(pool, gate_up, n, F, inner, type);
  gemm(inner, n, F, lw.down_p, h_rows, cpu::Type::kF32, cpu::Store::kAdd, lw.down_bias ? w(lw.down_bias) : nullptr);
}

void Transformer::Impl::for_logits(const std::byte* x_rows, std::int64_t n,
                                   FunctionRef<void(std::int64_t, const float*)> use) {
  for (std::int64_t begin = 0; begin < n; begin += kLogitRows) {
    const std::int64_t m = std::min(kLogitRows, n - begin);
    const float* out = head_logits(x_rows + static_cast<std::size_t>(begin * D) * esize, m);
    pool.parallel_for(m, 1, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i) use(begin + i, out + i * V);
    });
  }
}

void Transformer::Impl::gather_normed(std::span<const std::int32_t> rows, const float* h_rows, float* rstd) {
  const auto m = static_cast<std::int64_t>(rows.size());
  prepared_rows = 0;
  float* g = gathered.get<float>(m * D);
  for (std::int64_t i = 0; i < m; ++i)
    std::memcpy(g + i * D, h_rows + rows[static_cast<std::size_t>(i)] * D, static_cast<std::size_t>(D) * 4);
  cpu::rms_norm(pool, g, m, D, w(final_norm), config.rms_norm_eps, gathered_x.get<std::byte>(m * D * static_cast<std::int64_t>(esize)),
                type, rstd);
}

LogprobRows Transformer::Impl::logprob_rows(const PackedBatch& batch, const float* h_rows, float temperature, bool want_entropies,
                                            std::vector<cpu::RowStats>* stats_out) {
  const auto m = batch.predictors.size();
  LogprobRows out;
  out.logprobs.resize(m);
  if (want_entropies) out.entropies.resize(m), out.top_logprobs.resize(m);
  if (stats_out) stats_out->resize(m);
  gather_normed(batch.predictors, h_rows, nullptr);
  for_logits(gathered_x.data(), static_cast<std::int64_t>(m), [&](std::int64_t i, const float* z) {
    const auto u = static_cast<std::size_t>(i);
    // The entropy is needed by its own gradient too, so a kept pass always has it.
    const cpu::RowStats s = cpu::row_stats(z, vocab_limit, temperature, want_entropies || stats_out != nullptr);
    out.logprobs[u] = cpu::row_logprob(z, s, batch.targets[u], temperature);
    if (want_entropies) out.entropies[u] = s.entropy, out.top_logprobs[u] = s.max - s.logsumexp;
    if (stats_out) (*stats_out)[u] = s;
  });
  return out;
}

// ---- public -------------------------------------------------------------------------------------------------------

Transformer::Transformer(ModelConfig config, DType dtype, ComputePool& pool) {
  if (dtype != DType::kF32 && dtype != DType::kBF16)
    throw ConfigError("model.dtype: the CPU path computes in float32 or bfloat16; set model.dtype to one of these");
  impl_ = std::make_unique<Impl>(std::move(config), dtype, pool);
}
Transformer::~Transformer() = default;

const ModelConfig& Transformer::config() const { return impl_->config; }
WeightStore& Transformer::weights() { return impl_->store; }
const WeightStore& Transformer::weights() const { return impl_->store; }
ComputePool& Transformer::pool() { return impl_->pool; }
void Transformer::weights_changed() {
  impl_->packed = impl_->packed_transposed = impl_->head_packed = impl_->head_packed_transposed = false;
}

void Transformer::set_vocab_limit(std::int64_t limit) {
  R1_CHECK(limit >= 0 && limit <= impl_->V, "vocabulary limit ", limit, " of ", impl_->V);
  impl_->vocab_limit = limit == 0 ? impl_->V : limit;
}
std::int64_t Transformer::vocab_limit() const { return impl_->vocab_limit; }

std::size_t Transformer::kv_block_bytes() const { return cpu::kv_block_bytes(impl_->shape) * static_cast<std::size_t>(impl_->L); }

void Transformer::step(std::span<const Row> rows, FunctionRef<void(std::size_t, const float*)> on_logits) {
  Impl& m = *impl_;
  if (rows.empty()) return;
  m.pack_weights();
  const auto n = static_cast<std::int64_t>(rows.size());
  Impl::AttentionPlan plan;
  plan.layer_stride = cpu::kv_block_bytes(m.shape);
  std::vector<TokenId> tokens(rows.size());
  std::vector<std::int32_t> positions(rows.size()), wanted;
  plan.rows.resize(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    tokens[i] = rows[i].token;
    R1_CHECK(tokens[i] >= 0 && tokens[i] < m.V, "token ", tokens[i], " outside the vocabulary of ", m.V);
    positions[i] = rows[i].kv.position;
    plan.rows[i] = rows[i].kv;
    if (rows[i].wants_logits) wanted.push_back(static_cast<std::int32_t>(i));
  }
  m.ensure_rope(*std::max_element(positions.begin(), positions.end()) + 1);
  float* h = m.h.get<float>(n * m.D);
  m.embed_rows(tokens.data(), n, h);
  for (std::int64_t l = 0; l < m.L; ++l) m.layer_forward(l, n, h, positions.data(), plan, m.scratch, false);
  if (wanted.empty()) return;
  m.gather_normed(wanted, h, nullptr);
  m.for_logits(m.gathered_x.data(), static_cast<std::int64_t>(wanted.size()), [&](std::int64_t i, const float* z) {
    on_logits(static_cast<std::size_t>(wanted[static_cast<std::size_t>(i)]), z);
  });
}

LogprobRows Transformer::evaluate(const PackedBatch& batch, float temperature, bool want_entropies) {
  Impl& m = *impl_;
  m.check_batch(batch);
  if (batch.predictors.empty()) return {};
  float* h = m.h.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, false, false);
  return m.logprob_rows(batch, h, temperature, want_entropies, nullptr);
}

std::vector<float> Transformer::Impl::normed_as_float(std::int64_t rows) {
  std::vector<float> out(static_cast<std::size_t>(rows * D));
  if (type == cpu::Type::kF32) std::memcpy(out.data(), gathered_x.data(), out.size() * 4);
  else cpu::convert(pool, gathered_x.as<cpu::bf16>(), out.data(), rows * D);
  return out;
}

std::vector<float> Transformer::hidden(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  Impl& m = *impl_;
  m.check_batch(batch);
  m.check_rows(batch, rows);
  float* h = m.h.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, false, false);
  m.gather_normed(rows, h, nullptr);
  return m.normed_as_float(static_cast<std::int64_t>(rows.size()));
}

std::vector<float> Transformer::logits(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  Impl& m = *impl_;
  m.check_batch(batch);
  float* h = m.h.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, false, false);
  m.gather_normed(rows, h, nullptr);
  std::vector<float> out(rows.size() * static_cast<std::size_t>(m.V));
  m.for_logits(m.gathered_x.data(), static_cast<std::int64_t>(rows.size()), [&](std::int64_t i, const float* z) {
    std::memcpy(out.data() + i * m.V, z, static_cast<std::size_t>(m.V) * 4);
  });
  return out;
}

}  // namespace r1
