// The learner's half of the Transformer: packed batches, the kept forward pass, the backward pass.
#include <algorithm>
#include <cstring>

#include "model/transformer_impl.h"

namespace r1 {

namespace {
// Columns of the vocabulary that the LM head's backward pass holds at a time: [N][kHeadColumns]. All rows together, so that
// each part of the weight's gradient is written once.
constexpr std::int64_t kHeadColumns = 2048;
}

void Transformer::Impl::check_batch(const PackedBatch& batch) const {
  R1_CHECK(!batch.tokens.empty() && batch.positions.size() == batch.tokens.size(), "a batch of ", batch.tokens.size(),
           " tokens with ", batch.positions.size(), " positions");
  R1_CHECK(batch.predictors.size() == batch.targets.size(), batch.predictors.size(), " predictors, ", batch.targets.size(), " targets");
  for (TokenId t : batch.tokens) R1_CHECK(t >= 0 && t < vocab, "token ", t, " outside the vocabulary of ", vocab);
  check_rows(batch, batch.predictors);
  R1_CHECK(batch.experts.empty() || static_cast<std::int64_t>(batch.experts.size()) == static_cast<std::int64_t>(batch.tokens.size()) * choices(),
           batch.experts.size(), " replayed experts for ", batch.tokens.size(), " tokens that meet ", choices());
  for (TokenId t : batch.targets) R1_CHECK(t >= 0 && t < vocab_limit, "target ", t, " outside the vocabulary of ", vocab_limit);
}

void Transformer::Impl::check_rows(const PackedBatch& batch, std::span<const std::int32_t> rows) const {
  for (std::int32_t r : rows) R1_CHECK(r >= 0 && static_cast<std::size_t>(r) < batch.tokens.size(), "row ", r, " of ", batch.tokens.size());
}

Transformer::Impl::AttentionPlan Transformer::Impl::plan_batch(const PackedBatch& batch) {
  const std::size_t block_bytes = cpu::kv_block_bytes(shape_of(0, parallel.sequence != nullptr));
  const auto blocks_for = [](std::int64_t positions) { return (positions + cpu::kKvBlock - 1) / cpu::kKvBlock; };
  // Which sequences are prefixes, by their first row.
  std::vector<std::int32_t> sequence_at(batch.tokens.size() + 1, -1);
  std::vector<bool> is_prefix(batch.sequences.size(), false);
  std::int64_t own_blocks = 0;
  bool shared = false;
  for (std::size_t b = 0; b < batch.sequences.size(); ++b) {
    const cpu::AttentionSequence& s = batch.sequences[b];
    sequence_at[static_cast<std::size_t>(s.begin)] = static_cast<std::int32_t>(b);
    std::int64_t prefix = 0;
    if (s.prefix_begin >= 0) {
      const std::int32_t owner = sequence_at[static_cast<std::size_t>(s.prefix_begin)];
      R1_CHECK(owner >= 0 && batch.sequences[static_cast<std::size_t>(owner)].end == s.prefix_end, "sequence ", b,
               " continues rows [", s.prefix_begin, ", ", s.prefix_end, ") which are no earlier sequence");
      is_prefix[static_cast<std::size_t>(owner)] = true;
      shared = true;
      prefix = s.prefix_end - s.prefix_begin;
    }
    own_blocks += blocks_for(prefix + s.end - s.begin) - prefix / cpu::kKvBlock;
  }
  std::byte* arena = kv_arena.get<std::byte>(own_blocks * static_cast<std::int64_t>(block_bytes));
  kv_blocks.assign(batch.sequences.size(), {});

  AttentionPlan plan;
  plan.by_heads = parallel.sequence != nullptr;
  plan.rows.resize(batch.tokens.size());
  if (shared) plan.prefix_rows.resize(batch.tokens.size()), plan.own_rows.resize(batch.tokens.size());
  for (std::size_t b = 0; b < batch.sequences.size(); ++b) {
    const cpu::AttentionSequence& s = batch.sequences[b];
    std::vector<std::byte*>& blocks = kv_blocks[b];
    std::int64_t prefix = 0;
    if (s.prefix_begin >= 0) {
      prefix = s.prefix_end - s.prefix_begin;
      const auto& owner = kv_blocks[static_cast<std::size_t>(sequence_at[static_cast<std::size_t>(s.prefix_begin)])];
      blocks.assign(owner.begin(), owner.begin() + prefix / cpu::kKvBlock);
      if (prefix % cpu::kKvBlock != 0) plan.copies.emplace_back(owner[static_cast<std::size_t>(prefix / cpu::kKvBlock)], arena);
    }
    for (std::int64_t need = blocks_for(prefix + s.end - s.begin); static_cast<std::int64_t>(blocks.size()) < need;) {
      blocks.push_back(arena);
      arena += block_bytes;
    }
    for (std::int32_t i = s.begin; i < s.end; ++i) {
      const auto u = static_cast<std::size_t>(i);
      const auto position = static_cast<std::int32_t>(prefix + i - s.begin);
      R1_CHECK(batch.positions[u] == position, "row ", i, " has position ", batch.positions[u], ", expected ", position);
      plan.rows[u] = {blocks.data(), position};
      if (shared) (is_prefix[b] ? plan.prefix_rows : plan.own_rows)[u] = plan.rows[u];
    }
  }
  return plan;
}

void Transformer::Impl::run_layers(const PackedBatch& batch, float* h_rows, bool keep, bool recompute) {
  drop_head();
  pack_weights();
  const std::int64_t n = batch_rows(batch);
  ensure_rope(*std::max_element(batch.positions.begin(), batch.positions.end()) + 1);
  const AttentionPlan plan = plan_batch(batch);
  hold_embedding();
  embed_rows(batch.tokens.data() + first_row, n, h_rows);
  drop_embedding();
  if (keep) kept.resize(static_cast<std::size_t>(L));
  replay = batch.experts;
  count_load = keep;
  for (std::int64_t l = 0; l < L; ++l) {
    LayerActivations& a = keep && !recompute ? kept[static_cast<std::size_t>(l)] : scratch;
    if (keep && recompute)
      std::memcpy(kept[static_cast<std::size_t>(l)].h_in.get<float>(n * D), h_rows, static_cast<std::size_t>(n * D) * 4);
    hold_layer(l, true, false);
    layer_forward(l, n, h_rows, batch.positions.data() + first_row, plan, a, keep && !recompute);
    drop_layer(l);
  }
  count_load = false;
}

std::int64_t Transformer::kept_bytes_per_token(bool recompute) const {
  const Impl& m = *impl_;
  const auto size = static_cast<std::int64_t>(m.esize);
  std::int64_t bytes = 0;
  for (std::int64_t l = 0; l < m.L; ++l) {
    bytes += 4 * m.D;  // h_in
    if (recompute) continue;
    bytes += 4 * m.D + 8 + 4 * m.H + size * (m.attn_in + m.attn_width);
    if (m.config.qk_norm) bytes += size * (m.q_width + m.kv_width) + 4 * (m.H + m.KV);
    if (m.config.post_norms) bytes += 8 * m.D + 8;
    if (m.config.mla) {
      bytes += size * (m.down_width + m.H * m.latent_width) + 8;
      if (m.config.mla->q_lora_rank > 0) bytes += size * (m.config.mla->q_lora_rank + m.q_width);
    }
    if (!m.config.has_experts(l)) {
      bytes += size * 2 * m.F;
      continue;
    }
    const MixtureOfExperts& moe = *m.config.moe;
    bytes += 4 * moe.num_experts + moe.experts_per_token * (12 + size * 2 * moe.intermediate_size) + size * 2 * moe.shared_intermediate_size + 4;
  }
  return m.parallel.sequence ? (bytes + m.parallel.sequence->size() - 1) / m.parallel.sequence->size() : bytes;
}

LogprobRows Transformer::forward(const PackedBatch& batch, float temperature, bool want_entropies, bool recompute) {
  Impl& m = *impl_;
  m.check_batch(batch);
  R1_CHECK(!batch.predictors.empty(), "a training batch without a trained token");
  m.take_rows(static_cast<std::int64_t>(batch.tokens.size()));
  m.pending.pass = Impl::Pending::Pass::kLogprobs;
  m.pending.recompute = recompute;
  if (m.parallel.experts) {
    m.pending.temperature = temperature;
    return m.part_pass(batch, temperature, want_entropies, true, recompute);
  }
  m.pending.batch = batch;
  m.pending.temperature = temperature;
  float* h = m.pending.h_out.get<float>(m.batch_rows(batch) * m.D);
  m.run_layers(batch, h, true, recompute);
  m.hold_head();
  if (!m.parallel.sequence) return m.logprob_rows(batch, h, temperature, want_entropies, &m.pending.stats);
  std::vector<std::size_t> places;
  return m.gather_targets(batch, m.logprob_rows(m.own_targets(batch, places), h, temperature, want_entropies, &m.pending.stats), want_entropies);
}

std::vector<float> Transformer::forward_hidden(const PackedBatch& batch, std::span<const std::int32_t> rows, bool recompute) {
  Impl& m = *impl_;
  m.check_batch(batch);
  m.check_rows(batch, rows);
  m.require_whole("forward_hidden()");
  R1_CHECK(!rows.empty(), "a training batch without a chosen row");
  R1_CHECK(!m.shares_rows(), "hidden states of a model whose rows are shared out");
  m.pending.pass = Impl::Pending::Pass::kHidden;
  m.pending.recompute = recompute;
  m.pending.batch = batch;
  m.pending.rows.assign(rows.begin(), rows.end());
  float* h = m.pending.h_out.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, true, recompute);
  m.gather_normed(rows, h, nullptr);
  return m.normed_as_float(static_cast<std::int64_t>(rows.size()));
}

void Transformer::Impl::pack_input(const void* x_rows, std::int64_t n, std::int64_t in, std::int64_t ld) {
  cpu::reshape(packed_input, type, in, n);
  cpu::pack_transposed(pool, x_rows, ld < 0 ? in : ld, packed_input);
}

void Transformer::Impl::weight_gradient(const void* dy, std::int64_t ld_dy, std::int64_t out, float* grad_w) {
  const std::int64_t n = packed_input.depth(), in = packed_input.rows(), ld = spread_ld(n);
  auto* transposed = dy_transposed.get<std::byte>(out * ld * static_cast<std::int64_t>(esize));
  cpu::transpose(pool, dy, n, out, ld_dy, transposed, ld, type);
  const auto tail = static_cast<std::size_t>(cpu::padded_depth(n) - n) * esize;
  for (std::int64_t i = 0; i < out && tail > 0; ++i) std::memset(transposed + static_cast<std::size_t>(i * ld + n) * esize, 0, tail);
  cpu::GemmArgs args;
  args.a = transposed, args.m = out, args.lda = ld, args.a_padded = true;
  args.b = &packed_input;
  args.c = grad_w, args.ldc = in, args.store = cpu::Store::kAdd;
  cpu::gemm(pool, args);
}

void Transformer::Impl::bias_gradient(const void* dy, std::int64_t n, std::int64_t width, float* grad_b) {
  pool.parallel_for(width, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = begin; j < end; ++j)
        grad_b[j] += type == cpu::Type::kF32 ? static_cast<const float*>(dy)[i * width + j]
                                             : cpu::to_float(static_cast<const cpu::bf16*>(dy)[i * width + j]);
  });
}

const void* Transformer::Impl::add_normed_backward(const float* out, std::int64_t n, const Parameter* norm, const float* rstd,
                                                   const void* dy, float* grad) {
  float* d = d_out.get<float>(n * D);
  std::memset(d, 0, static_cast<std::size_t>(n * D) * 4);
  cpu::rms_norm_backward(pool, out, w(norm), rstd, dy, type, n, D, d, grad + norm->offset, gain);
  if (type == cpu::Type::kF32) return d;
  cpu::convert(pool, d, d_expert_x.get<cpu::bf16>(n * D), n * D);
  return d_expert_x.data();
}

void Transformer::Impl::normed_backward(const float* h_rows, std::int64_t n, const Parameter* norm, const float* rstd, const std::byte* dx,
                                        float* dh, float* grad) {
  if (norm != nullptr) {
    cpu::rms_norm_backward(pool, h_rows, w(norm), rstd, dx, type, n, D, dh, grad + norm->offset, gain);
    return;
  }
  pool.parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * D; i < end * D; ++i)
      dh[i] += type == cpu::Type::kF32 ? reinterpret_cast<const float*>(dx)[i] : cpu::to_float(reinterpret_cast<const cpu::bf16*>(dx)[i]);
  });
}

void Transformer::Impl::layer_backward(std::int64_t l, std::int64_t n, float* dh, const PackedBatch& batch, LayerActivations& a,
                                       float* grad) {
  const LayerWeights& lw = layers[static_cast<std::size_t>(l)];
  // The gradient of the residual stream in the type of the products.
  const auto cast_dh = [&]() -> const void* {
    if (type == cpu::Type::kF32) return dh;
    cpu::convert(pool, dh, d_t.get<cpu::bf16>(n * D), n * D);
    return d_t.data();
  };
  auto* dx = d_x.get<std::byte>(n * D * static_cast<std::int64_t>(esize));

  // h_out = h_mid + mlp(norm(h_mid)), with another norm around the MLP in some families
  const void* dy = cast_dh();
  if (lw.mlp_out_norm) dy = add_normed_backward(a.mlp_out.as<float>(), n, lw.mlp_out_norm, a.rstd_mlp_out.as<float>(), dy, grad);
  const std::byte* xb = normed(a.h_mid.as<float>(), n, lw.mlp_norm, nullptr);
  if (lw.moe) moe_backward(l, n, xb, dy, batch, a, grad, dx);
  else mlp_backward(lw.mlp, n, xb, dy, a.gate_up, grad, dx);
  normed_backward(a.h_mid.as<float>(), n, lw.mlp_norm, a.rstd_mid.as<float>(), dx, dh, grad);

  // h_mid = h_in + attention(norm(h_in)), likewise
  dy = cast_dh();
  if (lw.attn_out_norm) dy = add_normed_backward(a.attn_out.as<float>(), n, lw.attn_out_norm, a.rstd_attn_out.as<float>(), dy, grad);
  xb = normed(a.h_in.as<float>(), n, lw.input_norm, nullptr);
  if (lw.latent) latent_backward(l, n, xb, dy, batch, a, grad, dx);
  else attention_backward(l, n, xb, dy, batch, a, grad, dx);
  normed_backward(a.h_in.as<float>(), n, lw.input_norm, a.rstd_in.as<float>(), dx, dh, grad);
}

void Transformer::Impl::cap_backward(const float* capped, std::int64_t count, std::byte* dz) const {
  if (config.logit_softcap == 0) return;
  const auto cap = static_cast<float>(config.logit_softcap);
  for (std::int64_t j = 0; j < count; ++j) {
    const float t = capped[j] / cap, slope = 1 - t * t;
    if (type == cpu::Type::kF32) reinterpret_cast<float*>(dz)[j] *= slope;
    else reinterpret_cast<cpu::bf16*>(dz)[j] = cpu::to_bf16(cpu::to_float(reinterpret_cast<cpu::bf16*>(dz)[j]) * slope);
  }
}

void Transformer::Impl::head_backward(const PackedBatch& batch, const float* h_rows, std::span<const float> d_logprobs,
                                      std::span<const float> d_entropies, float* dh, float* grad) {
  const auto m = static_cast<std::int64_t>(batch.predictors.size());
  if (m == 0) return;  // sequence parallel: no target's row is here
  std::vector<float> rstd(static_cast<std::size_t>(m));
  pack_head();
  pack_transposed_head();
  gather_normed(batch.predictors, h_rows, rstd.data());
  float* dx_sum = d_x_sum.get<float>(m * D);
  const std::byte* rows = gathered_x.data();
  pack_input(rows, m, D);
  for (std::int64_t first = 0; first < V; first += kHeadColumns) {
    const std::int64_t c = std::min(kHeadColumns, V - first), ld = spread_ld(c);
    const std::int64_t real = std::clamp<std::int64_t>(vocab_limit - vocab_first - first, 0, c);
    float* z = logits.get<float>(m * c);
    cpu::GemmArgs forward;
    forward.a = rows, forward.m = m, forward.lda = D;
    forward.b = &head_p, forward.n_first = first, forward.n_count = c;
    forward.c = z, forward.ldc = c;
    cpu::gemm(pool, forward);
    cap_logits(z, m * c);
    auto* dz = d_logits.get<std::byte>(m * ld * static_cast<std::int64_t>(esize));
    pool.parallel_for(m, 4, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i) {
        const auto u = static_cast<std::size_t>(i);
        std::byte* row = dz + static_cast<std::size_t>(i * ld) * esize;
        cpu::row_logprob_backward(z + i * c, real, pending.stats[u], batch.targets[u] - vocab_first - first, pending.temperature, d_logprobs[u],
                                  d_entropies.empty() ? 0.f : d_entropies[u], row, type);
        cap_backward(z + i * c, real, row);
        std::memset(row + static_cast<std::size_t>(real) * esize, 0, static_cast<std::size_t>(ld - real) * esize);
      }
    });
    weight_gradient(dz, ld, c, grad + head->offset + first * D);
    cpu::GemmArgs back;
    back.a = dz, back.m = m, back.lda = ld, back.a_padded = true;
    back.b = &head_pt, back.k_first = first, back.k_count = c;
    back.c = dx_sum, back.ldc = D, back.store = first == 0 ? cpu::Store::kStore : cpu::Store::kAdd;
    cpu::gemm(pool, back);
  }
  if (parallel.tensor) parallel.tensor->sum(dx_sum, m * D, "the LM head's gradient");
  norm_backward(batch.predictors, rstd.data(), dx_sum, dh, grad);
}

void Transformer::Impl::norm_backward(std::span<const std::int32_t> rows, const float* rstd, const float* dx, float* dh, float* grad) {
  const auto m = static_cast<std::int64_t>(rows.size());
  Buffer d_rows;  // gradient of the gathered residual rows
  float* dg = d_rows.get<float>(m * D);
  std::memset(dg, 0, static_cast<std::size_t>(m * D) * 4);
  const void* typed = dx;
  if (type == cpu::Type::kBF16) {
    cpu::convert(pool, dx, d_x.get<cpu::bf16>(m * D), m * D);
    typed = d_x.data();
  }
  cpu::rms_norm_backward(pool, gathered.as<float>(), w(head_norm), rstd, typed, type, m, D, dg, grad + head_norm->offset, gain);
  // Rows may repeat (the last prompt row predicts the first token of every sample): added in order.
  pool.parallel_for(D, 64, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t i = 0; i < m; ++i) {
      float* to = dh + rows[static_cast<std::size_t>(i)] * D;
      for (std::int64_t j = b; j < e; ++j) to[j] += dg[i * D + j];
    }
  });
}

float* Transformer::Impl::start_backward(Pending::Pass pass, std::span<float> grad) {
  R1_CHECK(pending.pass == pass, "a backward pass without its forward pass");
  R1_CHECK(static_cast<std::int64_t>(grad.size()) == store.elements(), "gradient arena of ", grad.size(), " for ", store.elements());
  pending.pass = Pending::Pass::kNone;
  pack_transposed_weights();
  const std::int64_t size = batch_rows(pending.batch) * D;
  float* dh = d_h.get<float>(size);
  std::memset(dh, 0, static_cast<std::size_t>(size) * 4);
  return dh;
}

void Transformer::backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, std::span<float> grad) {
  Impl& m = *impl_;
  const PackedBatch& batch = m.pending.batch;
  R1_CHECK(d_logprobs.size() == (m.parallel.experts ? m.pending.targets : batch.predictors.size()) && (d_entropies.empty() || d_entropies.size() == d_logprobs.size()),
           "gradients of ", d_logprobs.size(), " log-probabilities for ", batch.predictors.size());
  float* dh = m.start_backward(Impl::Pending::Pass::kLogprobs, grad);
  if (m.parallel.experts) return m.part_backward(d_logprobs, d_entropies, dh, grad.data());
  if (m.parallel.sequence) {
    std::vector<std::size_t> places;
    const PackedBatch own = m.own_targets(batch, places);
    const auto at_own = [&](std::span<const float> values) {
      std::vector<float> out;
      for (const std::size_t i : places) out.push_back(values.empty() ? 0.f : values[i]);
      return out;
    };
    m.head_backward(own, m.pending.h_out.as<float>(), at_own(d_logprobs), at_own(d_entropies), dh, grad.data());
  } else {
    m.head_backward(batch, m.pending.h_out.as<float>(), d_logprobs, d_entropies, dh, grad.data());
  }
  if (m.prediction_weight != 0) m.require_whole("the prediction layer's loss");
  m.prediction_backward(batch, m.pending.h_out.as<float>(), dh, grad.data());
  m.drop_head();
  m.layers_backward(dh, grad.data());
}

void Transformer::backward_hidden(std::span<const float> d_hidden, std::span<float> grad) {
  Impl& m = *impl_;
  const std::vector<std::int32_t>& rows = m.pending.rows;
  R1_CHECK(d_hidden.size() == rows.size() * static_cast<std::size_t>(m.D), "a gradient of ", d_hidden.size(), " values for ",
           rows.size(), " rows of ", m.D);
  float* dh = m.start_backward(Impl::Pending::Pass::kHidden, grad);
  std::vector<float> rstd(rows.size());
  m.gather_normed(rows, m.pending.h_out.as<float>(), rstd.data());
  m.norm_backward(rows, rstd.data(), d_hidden.data(), dh, grad.data());
  m.layers_backward(dh, grad.data());
}

void Transformer::Impl::layers_backward(float* dh, float* grad) {
  const PackedBatch& batch = pending.batch;
  const std::int64_t n = batch_rows(batch);
  // The blocks of plan_batch() hold one layer, so a recomputed layer writes its own keys and values again.
  AttentionPlan plan;
  if (pending.recompute) plan = plan_batch(batch);
  replay = batch.experts;
  const auto stretches = gradient_hook ? gradient_stretches() : std::vector<std::pair<std::int64_t, std::int64_t>>();
  for (std::int64_t l = L - 1; l >= 0; --l) {
    LayerActivations& a = kept[static_cast<std::size_t>(l)];
    hold_layer(l, true, true);
    if (pending.recompute) {
      float* rows = h.get<float>(n * D);
      std::memcpy(rows, a.h_in.as<float>(), static_cast<std::size_t>(n * D) * 4);
      layer_forward(l, n, rows, batch.positions.data() + first_row, plan, scratch, true);
    }
    layer_backward(l, n, dh, batch, pending.recompute ? scratch : a, grad);
    drop_layer(l);
    if (gradient_hook) gradient_hook(stretches[static_cast<std::size_t>(L - 1 - l)].first, stretches[static_cast<std::size_t>(L - 1 - l)].second);
  }
  float* d_embed = grad + embed->offset;
  pool.parallel_for(D, 64, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t at = batch.tokens[static_cast<std::size_t>(first_row + i)] - vocab_first;
      if (at < 0 || at >= V) continue;  // another rank's
      float* to = d_embed + at * D;
      for (std::int64_t j = b; j < e; ++j) to[j] += embedding_scale * dh[i * D + j];
    }
  });
  for (std::size_t i = static_cast<std::size_t>(L); i < stretches.size(); ++i) gradient_hook(stretches[i].first, stretches[i].second);
}

std::vector<std::pair<std::int64_t, std::int64_t>> Transformer::Impl::gradient_stretches() const {
  std::vector<std::int64_t> begins;  // of the layers, and the end of the last
  std::int64_t end = 0;
  for (std::int64_t l = 0; l < L; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".";
    std::int64_t begin = store.elements();
    for (const Parameter& p : store.parameters()) {
      if (!p.name.starts_with(prefix)) continue;
      begin = std::min(begin, p.offset);
      end = std::max(end, p.offset + p.elements);
    }
    begins.push_back(begin);
  }
  begins.push_back(end);
  std::vector<std::pair<std::int64_t, std::int64_t>> out;
  for (auto l = static_cast<std::size_t>(L); l-- > 0;) out.emplace_back(begins[l], begins[l + 1]);
  out.emplace_back(0, begins[0]);
  out.emplace_back(end, store.elements());
  return out;
}

void Transformer::set_gradient_hook(std::function<void(std::int64_t, std::int64_t)> hook) { impl_->gradient_hook = std::move(hook); }
std::vector<std::pair<std::int64_t, std::int64_t>> Transformer::gradient_stretches() const { return impl_->gradient_stretches(); }

}  // namespace r1
