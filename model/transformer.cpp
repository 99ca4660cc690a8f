#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/transformer_impl.h"

namespace r1 {

namespace {
// Rows of logits held at a time: [kLogitRows][V] float32, so that [N][V] never exists.
constexpr std::int64_t kLogitRows = 128;

TensorSplit tensor_split(const ModelParallel& p) { return p.parts() ? TensorSplit{p.parts()->rank(), p.parts()->size(), p.experts != nullptr} : TensorSplit{}; }

}  // namespace

Transformer::Impl::Impl(ModelConfig c, DType dtype, ComputePool& p, const ModelParallel& with)
    : parallel(with), whole(std::move(c)), config(split_config(whole, tensor_split(with))), type(dtype == DType::kBF16 ? cpu::Type::kBF16 : cpu::Type::kF32),
      pool(p), store(whole, dtype, tensor_split(with)) {
  R1_CHECK((with.tensor != nullptr) + (with.sequence != nullptr) + (with.experts != nullptr) <= 1, "a model that is shared out in two ways");
  if (with.sequence) check_sequence_split(whole, with.sequence->size());
  vocab = whole.vocab_size, vocab_first = with.tensor ? vocabulary_rows(whole, tensor_split(with)).first : 0;
  D = config.hidden_size, H = config.num_attention_heads, KV = config.num_key_value_heads, hd = config.head_dim;
  F = config.intermediate_size, V = config.vocab_size, L = config.num_hidden_layers;
  q_width = H * hd, kv_width = KV * hd, qkv_width = q_width + 2 * kv_width;
  attn_width = q_width, attn_in = qkv_width;
  vocab_limit = vocab;
  esize = size_of(dtype);
  shape = {H, KV, hd, static_cast<float>(config.score_scale()), type, static_cast<float>(config.attention_softcap)};
  if (config.mla) {
    const LatentAttention& m = *config.mla;
    latent_width = (m.cached_width() + 15) / 16 * 16;
    down_width = (m.q_lora_rank > 0 ? m.q_lora_rank : q_width) + m.cached_width();
    attn_width = H * m.v_head_dim, attn_in = (H + 1) * latent_width;
    shape.kv_heads = 1, shape.head_dim = latent_width, shape.shared_values = true;
  }
  gain = config.unit_offset_norms ? cpu::Gain::kUnitOffset : cpu::Gain::kPlain;
  activation = config.gelu ? cpu::Activation::kGeluTanh : cpu::Activation::kSilu;
  // transformers casts the scale to the model's type.
  embedding_scale = static_cast<float>(config.embedding_scale);
  if (type == cpu::Type::kBF16) embedding_scale = cpu::to_float(cpu::to_bf16(embedding_scale));
  rope.inv_freq = rope_inverse_frequencies(config);
  if (config.rope_local_theta > 0) local_rope.inv_freq = rope_inverse_frequencies(config, true);

  embed = &store.find("model.embed_tokens.weight");
  final_norm = &store.find("model.norm.weight");
  head = config.tie_word_embeddings ? embed : &store.find("lm_head.weight");
  head_norm = final_norm;
  const std::int64_t all_layers = L + (config.num_mtp_layers > 0 ? 1 : 0);
  layers.resize(static_cast<std::size_t>(all_layers));
  moe_layers.assign(static_cast<std::size_t>(all_layers), -1);
  for (std::int64_t l = 0; l < all_layers; ++l) find_layer(l);
  find_prediction();
  R1_CHECK(!(config.post_norms && (config.mla || config.moe)), "norms behind attention together with experts or latent attention");
  if (config.moe) expert_load.assign(static_cast<std::size_t>(num_moe_layers * config.moe->num_experts), 0);
}

void Transformer::Impl::ensure_rope(std::int64_t positions) {
  if (positions <= rope_positions) return;
  if (const RopeScaling& s = config.rope_scaling; s.kind == RopeScaling::Kind::kLong && !s.long_context && positions > s.original_max_position_embeddings)
    throw ConfigError(message("position ", positions - 1, ": beyond ", s.original_max_position_embeddings, " positions this ", config.model_type,
                              " model (LongRoPE) rotates all of them by other factors; set model.long_context: true, or keep prompts and answers shorter"));
  const std::int64_t size = std::max<std::int64_t>({positions, 2 * rope_positions, 512});
  const auto factor = static_cast<float>(rope_attention_factor(config));
  // HF casts cos and sin to the model's type before they meet q and k.
  const auto cast = [&](float v) { return type == cpu::Type::kBF16 ? cpu::to_float(cpu::to_bf16(v)) : v; };
  for (Rope* r : {&rope, &local_rope}) {
    const auto half = static_cast<std::int64_t>(r->inv_freq.size());
    const float scaled = r == &rope ? factor : 1.f;
    r->cos.resize(static_cast<std::size_t>(size * half));
    r->sin.resize(static_cast<std::size_t>(size * half));
    for (std::int64_t p = rope_positions; p < size; ++p)
      for (std::int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(p) * r->inv_freq[static_cast<std::size_t>(i)];  // float32, as HF does
        r->cos[static_cast<std::size_t>(p * half + i)] = cast(std::cos(angle) * scaled);
        r->sin[static_cast<std::size_t>(p * half + i)] = cast(std::sin(angle) * scaled);
      }
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
      float* to = out + i * D;
      const std::int64_t at = tokens[i] - vocab_first;
      if (at < 0 || at >= V) {  // another rank's
        std::memset(to, 0, static_cast<std::size_t>(D) * 4);
        continue;
      }
      const std::byte* row = table + static_cast<std::size_t>(at * D) * esize;
      if (type == cpu::Type::kF32) {
        std::memcpy(to, row, static_cast<std::size_t>(D) * 4);
      } else {
        const auto* from = reinterpret_cast<const cpu::bf16*>(row);
        for (std::int64_t j = 0; j < D; ++j) to[j] = cpu::to_float(from[j]);
      }
      for (std::int64_t j = 0; config.embedding_scale != 1 && j < D; ++j) to[j] *= embedding_scale;
    }
  });
  if (parallel.tensor) parallel.tensor->sum(out, n * D, "embeddings");
}

const std::byte* Transformer::Impl::normed(const float* h_rows, std::int64_t n, const Parameter* norm, float* rstd) {
  auto* xb = x.get<std::byte>(n * D * static_cast<std::int64_t>(esize));
  if (norm != nullptr) cpu::rms_norm(pool, h_rows, n, D, w(norm), config.rms_norm_eps, xb, type, rstd, gain);
  else if (type == cpu::Type::kF32) copy_rows(reinterpret_cast<float*>(xb), h_rows, n * D);
  else cpu::convert(pool, h_rows, reinterpret_cast<cpu::bf16*>(xb), n * D);
  return xb;
}

void Transformer::Impl::add_normed(const float* out, std::int64_t n, const Parameter* norm, float* rstd, float* h_rows) {
  auto* y = act.get<std::byte>(n * D * static_cast<std::int64_t>(esize));
  cpu::rms_norm(pool, out, n, D, w(norm), config.rms_norm_eps, y, type, rstd, gain);
  pool.parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * D; i < end * D; ++i)
      h_rows[i] += type == cpu::Type::kF32 ? reinterpret_cast<const float*>(y)[i] : cpu::to_float(reinterpret_cast<const cpu::bf16*>(y)[i]);
  });
}

void Transformer::Impl::layer_forward(std::int64_t l, std::int64_t n, float* h_rows, const std::int32_t* positions,
                                      const AttentionPlan& plan, LayerActivations& a, bool keep) {
  const LayerWeights& lw = layers[static_cast<std::size_t>(l)];
  if (keep) copy_rows(a.h_in.get<float>(n * D), h_rows, n * D);
  const std::byte* xb = normed(h_rows, n, lw.input_norm, keep ? a.rstd_in.get<float>(n) : nullptr);
  float* out = lw.attn_out_norm ? a.attn_out.get<float>(n * D) : nullptr;
  if (lw.latent) latent_forward(l, n, xb, positions, plan, a, keep, h_rows);
  else attention_forward(l, n, xb, positions, plan, a, keep, h_rows, out);
  if (out) add_normed(out, n, lw.attn_out_norm, keep ? a.rstd_attn_out.get<float>(n) : nullptr, h_rows);

  if (keep) copy_rows(a.h_mid.get<float>(n * D), h_rows, n * D);
  xb = normed(h_rows, n, lw.mlp_norm, keep ? a.rstd_mid.get<float>(n) : nullptr);
  out = lw.mlp_out_norm ? a.mlp_out.get<float>(n * D) : nullptr;
  if (lw.moe) moe_forward(l, n, xb, a, h_rows);
  else mlp_forward(lw.mlp, n, xb, a.gate_up, h_rows, out);
  if (out) add_normed(out, n, lw.mlp_out_norm, keep ? a.rstd_mlp_out.get<float>(n) : nullptr, h_rows);
}

void Transformer::Impl::for_logits(const std::byte* x_rows, std::int64_t n,
                                   FunctionRef<void(std::int64_t, const float*)> use) {
  for (std::int64_t begin = 0; begin < n; begin += kLogitRows) {
    const std::int64_t m = std::min(kLogitRows, n - begin);
    const float* out = head_logits(x_rows + static_cast<std::size_t>(begin * D) * esize, m);
    if (parallel.tensor) out = gather_logits(m, out);
    pool.parallel_for(m, 1, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i) use(begin + i, out + i * vocab);
    });
  }
}

void Transformer::Impl::gather_normed(std::span<const std::int32_t> rows, const float* h_rows, float* rstd) {
  const auto m = static_cast<std::int64_t>(rows.size());
  prepared_rows = 0;
  float* g = gathered.get<float>(m * D);
  for (std::int64_t i = 0; i < m; ++i)
    std::memcpy(g + i * D, h_rows + rows[static_cast<std::size_t>(i)] * D, static_cast<std::size_t>(D) * 4);
  cpu::rms_norm(pool, g, m, D, w(head_norm), config.rms_norm_eps, gathered_x.get<std::byte>(m * D * static_cast<std::int64_t>(esize)),
                type, rstd, gain);
}

LogprobRows Transformer::Impl::logprob_rows(const PackedBatch& batch, const float* h_rows, float temperature, bool want_entropies,
                                            std::vector<cpu::RowStats>* stats_out) {
  const auto m = batch.predictors.size();
  LogprobRows out;
  out.logprobs.resize(m);
  if (want_entropies) out.entropies.resize(m), out.top_logprobs.resize(m);
  if (stats_out) stats_out->resize(m);
  gather_normed(batch.predictors, h_rows, nullptr);
  if (parallel.tensor) return split_logprob_rows(batch, temperature, want_entropies, stats_out);
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

Transformer::Transformer(ModelConfig config, DType dtype, ComputePool& pool, const ModelParallel& parallel) {
  if (dtype != DType::kF32 && dtype != DType::kBF16)
    throw ConfigError("model.dtype: the CPU path computes in float32 or bfloat16; set model.dtype to one of these");
  impl_ = std::make_unique<Impl>(std::move(config), dtype, pool, parallel);
}
Transformer::~Transformer() = default;

const ModelConfig& Transformer::config() const { return impl_->whole; }
const ModelParallel& Transformer::parallel() const { return impl_->parallel; }
WeightStore& Transformer::weights() { return impl_->store; }
const WeightStore& Transformer::weights() const { return impl_->store; }
ComputePool& Transformer::pool() { return impl_->pool; }
void Transformer::weights_changed() {
  impl_->packed = impl_->packed_transposed = impl_->head_packed = impl_->head_packed_transposed = false;
  if (impl_->prediction) impl_->prediction->packed = false;
}

void Transformer::set_vocab_limit(std::int64_t limit) {
  R1_CHECK(limit >= 0 && limit <= impl_->vocab, "vocabulary limit ", limit, " of ", impl_->vocab);
  impl_->vocab_limit = limit == 0 ? impl_->vocab : limit;
}
std::int64_t Transformer::vocab_limit() const { return impl_->vocab_limit; }

std::size_t Transformer::kv_block_bytes() const {
  const auto routes = static_cast<std::size_t>(cpu::kKvBlock * impl_->choices()) * sizeof(std::uint16_t);
  return impl_->routes_offset() + (routes + 63) / 64 * 64;
}

void Transformer::step(std::span<const Row> rows, FunctionRef<void(std::size_t, const float*)> on_logits) {
  Impl& m = *impl_;
  if (rows.empty()) return;
  m.require_whole("step()");
  m.pack_weights();
  const auto n = static_cast<std::int64_t>(rows.size());
  Impl::AttentionPlan plan;
  plan.layer_stride = cpu::kv_block_bytes(m.shape);
  std::vector<TokenId> tokens(rows.size());
  std::vector<std::int32_t> positions(rows.size()), wanted;
  plan.rows.resize(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    tokens[i] = rows[i].token;
    R1_CHECK(tokens[i] >= 0 && tokens[i] < m.vocab, "token ", tokens[i], " outside the vocabulary of ", m.vocab);
    positions[i] = rows[i].kv.position;
    plan.rows[i] = rows[i].kv;
    if (rows[i].wants_logits) wanted.push_back(static_cast<std::int32_t>(i));
  }
  m.ensure_rope(*std::max_element(positions.begin(), positions.end()) + 1);
  float* h = m.h.get<float>(n * m.D);
  m.embed_rows(tokens.data(), n, h);
  const std::int64_t choices = m.choices();
  m.replay = {};
  m.recorded.resize(static_cast<std::size_t>(n * choices));
  m.record = choices > 0 ? m.recorded.data() : nullptr;
  m.stepping = true;
  for (std::int64_t l = 0; l < m.L; ++l) m.layer_forward(l, n, h, positions.data(), plan, m.scratch, false);
  m.stepping = false;
  m.record = nullptr;
  if (m.parallel.experts) m.share_step_rows(n, reinterpret_cast<std::byte*>(m.recorded.data()), choices * static_cast<std::int64_t>(sizeof(std::uint16_t)), "experts met");
  m.step_rows = n;
  for (std::int64_t i = 0; choices > 0 && i < n; ++i) {
    const cpu::KvRow& kv = plan.rows[static_cast<std::size_t>(i)];
    const auto bytes = static_cast<std::size_t>(choices) * sizeof(std::uint16_t);
    std::memcpy(kv.blocks[kv.position / cpu::kKvBlock] + m.routes_offset() + static_cast<std::size_t>(kv.position % cpu::kKvBlock) * bytes,
                m.recorded.data() + i * choices, bytes);
  }
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
  m.require_whole("evaluate()");
  if (m.parallel.experts) return m.part_pass(batch, temperature, want_entropies, false, false);
  m.take_rows(static_cast<std::int64_t>(batch.tokens.size()));
  float* h = m.h.get<float>(m.batch_rows(batch) * m.D);
  m.run_layers(batch, h, false, false);
  if (!m.parallel.sequence) return m.logprob_rows(batch, h, temperature, want_entropies, nullptr);
  std::vector<std::size_t> places;
  return m.gather_targets(batch, m.logprob_rows(m.own_targets(batch, places), h, temperature, want_entropies, nullptr), want_entropies);
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
  R1_CHECK(!m.shares_rows(), "hidden states of a model whose rows are shared out");
  m.require_whole("hidden()");
  float* h = m.h.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, false, false);
  m.gather_normed(rows, h, nullptr);
  return m.normed_as_float(static_cast<std::int64_t>(rows.size()));
}

std::vector<float> Transformer::logits(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  Impl& m = *impl_;
  m.check_batch(batch);
  m.require_whole("logits()");
  float* h = m.h.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, false, false);
  m.gather_normed(rows, h, nullptr);
  R1_CHECK(!m.shares_rows(), "logits of a model whose rows are shared out");
  std::vector<float> out(rows.size() * static_cast<std::size_t>(m.vocab));
  m.for_logits(m.gathered_x.data(), static_cast<std::int64_t>(rows.size()), [&](std::int64_t i, const float* z) {
    std::memcpy(out.data() + i * m.vocab, z, static_cast<std::size_t>(m.vocab) * 4);
  });
  return out;
}

}  // namespace r1
