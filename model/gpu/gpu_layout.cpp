#include "model/gpu/gpu_layout.h"

#include <algorithm>

#include "kernels/gpu/scratch_bytes.h"

namespace r1 {
namespace {

std::int64_t plan_bytes(const TrainPlan& p) {  // of the blob, at most
  const auto size = [](const auto& v) { return static_cast<std::int64_t>(v.size() * sizeof(v[0])) + 16; };
  std::int64_t n = size(p.kv_src) + size(p.kv_dst) + size(p.tables) + size(p.prefill) + size(p.sequences) + size(p.key_items) +
                   size(p.query_items) + size(p.prefix_sums);
  for (const RowGroups* g : {&p.by_predictor, &p.by_token}) n += size(g->target) + size(g->first) + size(g->order);
  return n + 4 * (2 * p.rows + 2 * p.predictors) + 64;
}

std::int64_t latent_down_width(const ModelConfig& c) {
  return (c.mla->q_lora_rank > 0 ? c.mla->q_lora_rank : c.num_attention_heads * c.head_dim) + c.mla->cached_width();
}

}  // namespace

std::int64_t expert_choices(const ModelConfig& c) {
  return c.moe ? std::count(c.moe->layers.begin(), c.moe->layers.end(), true) * c.moe->experts_per_token : 0;
}

GpuShape::GpuShape(const ModelConfig& c)
    : d(c.hidden_size), heads(c.num_attention_heads), kv_heads(c.num_key_value_heads), hd(c.head_dim), f(c.intermediate_size),
      v(c.vocab_size), layers(c.num_hidden_layers), q_width(heads * hd), kv_width(kv_heads * hd), qkv_width(c.mla ? (heads + 1) * gpu::kLatentWidth : q_width + 2 * kv_width),
      attn_width(c.mla ? heads * c.mla->v_head_dim : q_width), rope_half((c.mla ? c.mla->qk_rope_head_dim : hd) / 2),
      context(c.sliding_window > 0 ? std::min(c.sliding_window, c.max_position_embeddings) : c.max_position_embeddings), latent(c.mla.has_value()),
      choices(expert_choices(c)), ld_v((c.vocab_size + 7) / 8 * 8), scale(static_cast<float>(c.score_scale())), eps(c.rms_norm_eps),
      qk_norm(c.qk_norm && !c.qk_norm_all_heads), pre_norms(c.pre_norms), post_norms(c.post_norms),
      learns(!c.moe && !c.mla && !c.post_norms && !c.qk_norm_all_heads) {}

GpuLatentBuffers latent_take(GpuBump& bump, const ModelConfig& c, std::int64_t n) {
  GpuLatentBuffers b;
  if (!c.mla) return b;
  b.down = bump.take<gpu::bf16>(n * latent_down_width(c));
  if (c.mla->q_lora_rank > 0) {
    b.q_normed = bump.take<gpu::bf16>(n * c.mla->q_lora_rank);
    b.q = bump.take<gpu::bf16>(n * c.num_attention_heads * c.head_dim);
  }
  b.context = bump.take<gpu::bf16>(n * c.num_attention_heads * gpu::kLatentRank);
  return b;
}

void GpuExpertBuffers::take(GpuBump& bump, const ModelConfig& c, std::int64_t rows) {
  if (!c.moe) return;
  const MixtureOfExperts& m = *c.moe;
  const std::int64_t n = std::min(rows, kRows), entries = n * m.experts_per_token, d = c.hidden_size;
  logits = bump.take<float>(n * m.num_experts);
  chosen = bump.take<std::int32_t>(entries);
  weights = bump.take<float>(entries);
  sorted = bump.take<std::int32_t>(entries);
  tile_count = bump.take<std::int32_t>(1);
  tiles = bump.take<gpu::ExpertTile>(gpu::expert_tiles(entries, m.num_experts, 8));
  act = bump.take<gpu::bf16>(entries * m.intermediate_size);
  out = bump.take<float>(entries * d);
  if (m.shared_intermediate_size == 0) return;
  shared_gate_up = bump.take<gpu::bf16>(n * 2 * m.shared_intermediate_size);
  shared_act = bump.take<gpu::bf16>(n * m.shared_intermediate_size);
  if (!m.shared_gate) return;
  shared = bump.take<float>(n * d);
  shared_weight = bump.take<float>(n);
}

GpuPassBuffers lay_out_pass(GpuBump& bump, const ModelConfig& config, const TrainPlan& plan, GpuPass pass, bool keep_head) {
  const auto [kind, keep, recompute] = pass;
  const GpuShape s(config);
  GpuPassBuffers b;
  const std::int64_t n = b.rows = plan.rows, m = b.predictors = plan.predictors;
  b.head_rows = std::min(m, kGpuHeadRows);
  b.blob_bytes = static_cast<std::size_t>(plan_bytes(plan));
  b.blob = bump.take<std::byte>(static_cast<std::int64_t>(b.blob_bytes));
  b.pages = bump.take<gpu::bf16>(plan.pages * s.page_elements());
  b.h0 = bump.take<float>(n * s.d);
  auto* x = bump.take<gpu::bf16>(n * s.d);
  auto* act = bump.take<gpu::bf16>(n * s.f);
  const GpuLatentBuffers latent = latent_take(bump, config, n);
  float* added = s.post_norms ? bump.take<float>(n * s.d) : nullptr;
  GpuExpertBuffers experts;
  experts.take(bump, config, n);
  b.replay = bump.take<std::uint16_t>(n * s.choices);
  const bool all = keep && !recompute;
  for (std::int64_t l = 0; l < (keep ? s.layers : 1); ++l) {
    GpuKeptLayer k{};
    if (all || l == 0) {
      k.h_mid = bump.take<float>(n * s.d);
      k.b.x = x, k.b.act = act, k.b.experts = experts;
      k.b.qkv = bump.take<gpu::bf16>(n * s.qkv_width);
      k.b.attn = bump.take<gpu::bf16>(n * s.attn_width);
      k.b.latent = latent, k.b.added = added;
      k.b.gate_up = bump.take<gpu::bf16>(n * 2 * s.f), k.b.keeps_gate_up = true;
      if (keep) {
        k.b.lse = bump.take<float>(n * s.heads);
        k.b.rstd_in = bump.take<float>(n);
        k.b.rstd_mid = bump.take<float>(n);
        if (s.qk_norm) {
          k.b.qk_raw = bump.take<gpu::bf16>(n * (s.q_width + s.kv_width));
          k.b.rstd_qk = bump.take<float>(n * (s.heads + s.kv_heads));
        }
      }
    } else {
      k = b.layers.front();  // scratch, made again by the backward pass
    }
    k.h_out = keep ? bump.take<float>(n * s.d) : b.h0;
    b.layers.push_back(k);
  }
  b.x_head = bump.take<gpu::bf16>(m * s.d);
  b.rstd_head = bump.take<float>(m);
  if (kind == GpuHeadKind::kScores) b.scores = bump.take<float>(m);
  else b.logits = bump.take<float>(b.head_rows * s.ld_v);
  if (kind == GpuHeadKind::kLogprobs) {
    b.logprobs = bump.take<float>(m);
    b.entropies = bump.take<float>(m);
    b.lse = bump.take<float>(m);
    b.tops = bump.take<float>(m);
  }
  if (!keep) return b;
  b.d_h = bump.take<float>(n * s.d);
  b.d_gathered = bump.take<float>(m * s.d);
  b.c1 = bump.take<float>(m);
  b.c2 = bump.take<float>(m);
  b.d_h16 = bump.take<gpu::bf16>(std::max(n, m) * s.d);
  b.d_act = bump.take<gpu::bf16>(n * s.f);
  b.d_gate_up = bump.take<gpu::bf16>(n * 2 * s.f);
  b.d_x = bump.take<gpu::bf16>(std::max(n, m) * s.d);
  if (kind == GpuHeadKind::kLogprobs) b.x_scaled = bump.take<gpu::bf16>(m * s.d);
  b.d_attn = bump.take<gpu::bf16>(n * s.q_width);
  b.d_qkv = bump.take<gpu::bf16>(n * s.qkv_width);
  b.attention.delta = bump.take<float>(n * s.heads);
  b.attention.partials = bump.take<float>(plan.partial_rows * 2 * s.kv_width);
  b.sums = bump.take<std::byte>(static_cast<std::int64_t>(gpu::row_sum_scratch_bytes(std::max({s.d, s.qkv_width, s.hd}))));
  b.vector_sums = bump.take<float>(2 * s.d + s.qkv_width + 2 * s.hd);
  if (keep_head) b.head_gradient = bump.take<gpu::bf16>(m * s.ld_v);
  else if (kind != GpuHeadKind::kScores) b.d_logits = bump.take<gpu::bf16>(b.head_rows * s.ld_v);
  return b;
}

std::size_t gpu_pass_bytes(const ModelConfig& config, std::int64_t rows, std::int64_t predictors, GpuPass pass) {
  TrainPlan plan;
  plan.rows = rows, plan.predictors = predictors;
  // Index arrays and pages of many short sequences, at most; a prefix's partial sums are as many rows as its sharers repeat.
  plan.pages = rows / gpu::kPage * 2 + 64;
  plan.partial_rows = rows;
  plan.kv_src.resize(static_cast<std::size_t>(2 * rows)), plan.kv_dst.resize(static_cast<std::size_t>(2 * rows));
  plan.by_token.order.resize(static_cast<std::size_t>(3 * rows)), plan.by_predictor.order.resize(static_cast<std::size_t>(3 * predictors));
  plan.prefix_sums.resize(static_cast<std::size_t>(rows));
  GpuBump count;
  lay_out_pass(count, config, plan, pass, false);
  return count.used();
}

}  // namespace r1
