#include "model/gpu/gpu_training_impl.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace r1 {

namespace {

// Host arrays that go to the device in one copy.
class Blob {
 public:
  template <class T>
  std::size_t add(const std::vector<T>& v) {
    const std::size_t at = (bytes_.size() + 15) / 16 * 16;
    bytes_.resize(at + v.size() * sizeof(T));
    if (!v.empty()) std::memcpy(bytes_.data() + at, v.data(), v.size() * sizeof(T));
    return at;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Replayed experts go to kernels that take them as they are.
void check_experts(const PackedBatch& batch, const ModelConfig& c) {
  if (batch.experts.empty()) return;
  const auto choices = static_cast<std::size_t>(expert_choices(c));
  R1_CHECK(batch.experts.size() == batch.tokens.size() * choices, batch.experts.size(), " experts for ", batch.tokens.size(), " rows of ", choices);
  const auto k = static_cast<std::ptrdiff_t>(c.moe->experts_per_token);
  for (auto at = batch.experts.begin(); at != batch.experts.end(); at += k)
    for (auto i = at; i != at + k; ++i) {
      R1_CHECK(*i < c.moe->num_experts, "replayed expert ", *i, " of ", c.moe->num_experts);
      R1_CHECK(std::find(at, i, *i) == i, "replayed expert ", *i, " is there twice");
    }
}

}  // namespace

GpuTraining::GpuTraining(GpuTransformer& model, GpuRegion& region) : model_(model), region_(region) {}

void GpuTraining::run_layer(std::int64_t l, const Buffers& b, const float* h_in, float* h_mid, float* h_out, const GpuLayerBuffers& k) {
  GpuAttentionWork work;
  work.pages = b.pages, work.kv_src = b.kv_src, work.kv_dst = b.kv_dst, work.kv_rows = b.kv_rows, work.tables = b.tables;
  work.prefill = b.prefill, work.prefill_items = b.prefill_items;
  model_.attention(l, b.rows, h_in, b.positions, work, k);
  model_.after_attention(l, b.rows, h_in, h_mid, h_out, k);
}

GpuTraining::Buffers GpuTraining::run_layers(const PackedBatch& batch, Pass pass) {
  pending_.reset();
  R1_CHECK(region_.data != nullptr, "a pass of the GPU before it was given memory");
  const bool keep = pass.keep;
  const GpuShape& s = model_.shape();
  if (keep && !s.learns)
    throw ConfigError(message("the GPU's learner does not know all of a ", model_.config().model_type, " model, its rollout and evaluation do; train with device: cpu"));
  check_experts(batch, model_.config());
  const TrainPlan plan = plan_training(batch, s.v, model_.vocab_limit(), keep);
  model_.ensure_rope(plan.last_position + 1);
  ++region_.epoch;
  GpuBump bump(region_.data, region_.bytes);
  GpuBump count;
  const bool may_keep_head = keep && pass.head == HeadKind::kLogprobs;
  if (may_keep_head) lay_out_pass(count, model_.config(), plan, pass, true);
  Buffers b = lay_out_pass(bump, model_.config(), plan, pass, may_keep_head && count.used() <= region_.bytes);

  Blob blob;
  const auto put = [&](const auto& v, auto& pointer) {
    const std::size_t at = blob.add(v);
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(b.blob + at);
  };
  put(batch.tokens, b.tokens), put(batch.positions, b.positions), put(batch.predictors, b.predictor_rows), put(batch.targets, b.targets);
  put(plan.kv_src, b.kv_src), put(plan.kv_dst, b.kv_dst), put(plan.tables, b.tables), put(plan.prefill, b.prefill);
  b.kv_rows = static_cast<std::int64_t>(plan.kv_src.size()), b.prefill_items = static_cast<std::int64_t>(plan.prefill.size());
  if (keep) {
    gpu::AttentionBackwardArgs& a = b.attention;
    put(plan.sequences, a.sequences), put(plan.key_items, a.key_items), put(plan.query_items, a.query_items), put(plan.prefix_sums, a.prefix_sums);
    a.num_key_items = static_cast<std::int64_t>(plan.key_items.size()), a.num_query_items = static_cast<std::int64_t>(plan.query_items.size());
    a.num_prefix_sums = static_cast<std::int64_t>(plan.prefix_sums.size());
    a.ld = s.qkv_width, a.heads = s.heads, a.kv_heads = s.kv_heads, a.head_dim = s.hd, a.n = plan.rows, a.scale = s.scale;
    for (const auto& [from, to] : {std::pair{&plan.by_predictor, &b.by_predictor}, std::pair{&plan.by_token, &b.by_token}}) {
      put(from->target, to->target), put(from->first, to->first), put(from->order, to->order);
      to->groups = from->groups();
    }
  }
  R1_CHECK(blob.bytes().size() <= b.blob_bytes, "index arrays of ", blob.bytes().size(), " bytes in ", b.blob_bytes);
  const gpu::Stream stream = model_.stream();
  gpu::copy_to_device(stream, b.blob, blob.bytes().data(), blob.bytes().size());

  if (!batch.experts.empty()) {
    gpu::copy_to_device(stream, b.replay, batch.experts.data(), batch.experts.size() * sizeof(std::uint16_t));
    for (Kept& k : b.layers) k.b.replay = b.replay;
  }
  gpu::embed(stream, model_.embed(), b.tokens, nullptr, b.rows, s.d, b.h0);
  float* h = b.h0;
  for (std::int64_t l = 0; l < s.layers; ++l) {
    const Kept& k = keep ? b.layers[static_cast<std::size_t>(l)] : b.layers.front();
    float* h_mid = keep ? k.h_mid : h;
    run_layer(l, b, h, h_mid, k.h_out, k.b);
    h = k.h_out;
  }
  gpu::rms_norm(stream, h, b.predictor_rows, b.predictors, s.d, model_.final_norm(), s.eps, b.x_head, b.rstd_head);
  return b;
}

void GpuTraining::keep(Pass pass, Buffers buffers, float temperature) {
  pending_ = std::make_shared<Pending>(Pending{pass, std::move(buffers), temperature, region_.epoch});
}

const GpuTraining::Buffers& GpuTraining::kept(HeadKind head) const {
  R1_CHECK(pending_ != nullptr && pending_->pass.head == head, "a backward pass, or logits, without the forward pass that they belong to");
  R1_CHECK(pending_->epoch == region_.epoch, "another pass took the memory of what a forward pass had kept");
  return pending_->buffers;
}

LogprobRows GpuTraining::run(const PackedBatch& batch, float temperature, bool want_entropies, bool keep, bool recompute) {
  LogprobRows out;
  if (batch.predictors.empty() && !keep) {
    pending_.reset();
    return out;
  }
  const Pass pass{HeadKind::kLogprobs, keep, recompute};
  Buffers b = run_layers(batch, pass);
  const GpuShape& s = model_.shape();
  const gpu::Stream stream = model_.stream();
  const bool entropies = want_entropies || keep;
  for (std::int64_t i = 0; i < b.predictors; i += b.head_rows) {
    const std::int64_t c = std::min(b.head_rows, b.predictors - i);
    model_.logits(b.x_head + i * s.d, c, b.logits);
    const gpu::LogprobArgs args{b.logits, s.ld_v, model_.vocab_limit(), temperature};
    gpu::logprob_rows(stream, args, b.targets + i, c, b.logprobs + i, entropies ? b.entropies + i : nullptr, b.lse + i, b.tops + i);
    if (b.head_gradient)
      gpu::logprob_rows_backward(stream, args, b.targets + i, c, b.lse + i, b.entropies + i, nullptr, nullptr, b.head_gradient + i * s.ld_v, s.ld_v);
  }
  const auto m = static_cast<std::size_t>(b.predictors);
  out.logprobs.resize(m);
  gpu::copy_to_host(stream, out.logprobs.data(), b.logprobs, m * sizeof(float));
  if (want_entropies) {
    out.entropies.resize(m), out.top_logprobs.resize(m);
    gpu::copy_to_host(stream, out.entropies.data(), b.entropies, m * sizeof(float));
    gpu::copy_to_host(stream, out.top_logprobs.data(), b.tops, m * sizeof(float));
  }
  model_.synchronize();
  if (keep) this->keep(pass, std::move(b), temperature);
  return out;
}

LogprobRows GpuTraining::evaluate(const PackedBatch& batch, float temperature, bool want_entropies) {
  return run(batch, temperature, want_entropies, false, false);
}
LogprobRows GpuTraining::forward(const PackedBatch& batch, float temperature, bool want_entropies, bool recompute) {
  return run(batch, temperature, want_entropies, true, recompute);
}

// ---- backward ---------------------------------------------------------------------------------------------------------

// -> b.d_x [m][d], the gradient of the normed rows.
void GpuTraining::logprobs_backward(const Buffers& b, const float* c1, const float* c2, GpuGradient grad) {
  const GpuShape& s = model_.shape();
  const gpu::Stream stream = model_.stream();
  void* d_head = grad.at(model_.at_head());
  const gpu::Blas::Matrix head{model_.head(), s.d};
  gpu::bf16* d_x = b.d_x;
  if (b.head_gradient && c2 == nullptr) {
    // c1 is a factor of a whole row, so it meets the narrow side of each product.
    const gpu::Blas::Matrix g{b.head_gradient, s.ld_v};
    gpu::scale_rows(stream, b.x_head, c1, b.predictors, s.d, b.x_scaled);
    model_.blas().weight_gradient(stream, g, {b.x_scaled, s.d}, b.predictors, s.v, s.d, d_head, grad.out());
    model_.blas().input_gradient(stream, g, head, b.predictors, s.v, s.d, b.d_h16, s.d);
    gpu::scale_rows(stream, b.d_h16, c1, b.predictors, s.d, d_x);
  } else {
    // Where the probabilities were kept, their memory serves as scratch.
    gpu::bf16* d_logits = b.head_gradient ? b.head_gradient : b.d_logits;
    for (std::int64_t i = 0; i < b.predictors; i += b.head_rows) {
      const std::int64_t c = std::min(b.head_rows, b.predictors - i);
      model_.logits(b.x_head + i * s.d, c, b.logits);
      const gpu::LogprobArgs args{b.logits, s.ld_v, model_.vocab_limit(), pending_->temperature};
      gpu::logprob_rows_backward(stream, args, b.targets + i, c, b.lse + i, b.entropies + i, c1 + i, c2 ? c2 + i : nullptr, d_logits, s.ld_v);
      model_.blas().weight_gradient(stream, {d_logits, s.ld_v}, {b.x_head + i * s.d, s.d}, c, s.v, s.d, d_head, grad.out());
      model_.blas().input_gradient(stream, {d_logits, s.ld_v}, head, c, s.v, s.d, d_x + i * s.d, s.d);
    }
  }
}

// From b.d_x to the embeddings; the pass is done then.
void GpuTraining::layers_backward(const Buffers& b, GpuGradient grad) {
  const GpuShape& s = model_.shape();
  const gpu::Stream stream = model_.stream();
  VectorSums vectors(stream, grad, b.vector_sums);
  gpu::fill_bytes(stream, b.d_h, 0, static_cast<std::size_t>(b.rows * s.d) * sizeof(float));
  gpu::rms_norm_backward(stream, b.d_x, b.layers.back().h_out, b.predictor_rows, b.rstd_head, model_.final_norm(), b.predictors, s.d, b.d_gathered, true,
                         vectors.take(model_.at_final_norm(), s.d), b.sums);
  vectors.finish();
  gpu::add_row_groups(stream, b.d_h, b.d_gathered, s.d, b.by_predictor.target, b.by_predictor.first, b.by_predictor.order, b.by_predictor.groups);
  for (std::int64_t l = s.layers - 1; l >= 0; --l) {
    const Kept& k = b.layers[static_cast<std::size_t>(l)];
    const float* h_in = l == 0 ? b.h0 : b.layers[static_cast<std::size_t>(l - 1)].h_out;
    // h_out of this layer is not read any more: computing the layer again may write it.
    if (pending_->pass.recompute) run_layer(l, b, h_in, k.h_mid, k.h_out, k.b);
    layer_backward(l, b, h_in, k.h_mid, k.b, grad);
  }
  const auto add_embedding = [&](auto* table) {
    gpu::add_row_groups(stream, table + model_.at_embed(), b.d_h, s.d, b.by_token.target, b.by_token.first, b.by_token.order, b.by_token.groups);
  };
  if (grad.is_bf16()) add_embedding(grad.bf16());
  else add_embedding(grad.f32());
  pending_.reset();
}

void GpuTraining::layer_backward(std::int64_t index, const Buffers& b, const float* h_in, const float* h_mid, const GpuLayerBuffers& k, GpuGradient grad) {
  const GpuShape& s = model_.shape();
  const gpu::Stream stream = model_.stream();
  const GpuTransformer::Layer& l = model_.layer(index);
  gpu::Blas& blas = model_.blas();
  const std::int64_t n = b.rows;
  VectorSums vectors(stream, grad, b.vector_sums);
  // MLP
  gpu::to_bf16(stream, b.d_h, b.d_h16, n * s.d);
  blas.input_gradient(stream, {b.d_h16, s.d}, {l.down, s.f}, n, s.d, s.f, b.d_act, s.f);
  gpu::swiglu_backward(stream, b.d_act, k.gate_up, n, s.f, b.d_gate_up, k.act);
  blas.weight_gradient(stream, {b.d_h16, s.d}, {k.act, s.f}, n, s.d, s.f, grad.at(l.at_down), grad.out());
  gpu::rms_norm(stream, h_mid, nullptr, n, s.d, l.post_norm, s.eps, k.x, nullptr);
  blas.weight_gradient(stream, {b.d_gate_up, 2 * s.f}, {k.x, s.d}, n, 2 * s.f, s.d, grad.at(l.at_gate_up), grad.out());
  blas.input_gradient(stream, {b.d_gate_up, 2 * s.f}, {l.gate_up, s.d}, n, 2 * s.f, s.d, b.d_x, s.d);
  gpu::rms_norm_backward(stream, b.d_x, h_mid, nullptr, k.rstd_mid, l.post_norm, n, s.d, b.d_h, false, vectors.take(l.at_post_norm, s.d), b.sums);
  // attention
  gpu::to_bf16(stream, b.d_h, b.d_h16, n * s.d);
  blas.input_gradient(stream, {b.d_h16, s.d}, {l.o, s.q_width}, n, s.d, s.q_width, b.d_attn, s.q_width);
  blas.weight_gradient(stream, {b.d_h16, s.d}, {k.attn, s.q_width}, n, s.d, s.q_width, grad.at(l.at_o), grad.out());
  gpu::AttentionBackwardArgs a = b.attention;
  a.qkv = k.qkv, a.out = k.attn, a.d_out = b.d_attn, a.lse = k.lse, a.d_qkv = b.d_qkv;
  gpu::attention_backward(stream, a);
  gpu::qk_norm_rope_backward(stream, model_.qk_args(l, b.positions), b.d_qkv, n, k.qk_raw, k.rstd_qk,
                             l.q_norm ? vectors.take(l.at_q_norm, s.hd) : nullptr, l.k_norm ? vectors.take(l.at_k_norm, s.hd) : nullptr, b.sums);
  if (l.qkv_bias) gpu::bias_gradient(stream, b.d_qkv, n, s.qkv_width, s.qkv_width, vectors.take(l.at_qkv_bias, s.qkv_width), b.sums);
  gpu::rms_norm(stream, h_in, nullptr, n, s.d, l.input_norm, s.eps, k.x, nullptr);
  blas.weight_gradient(stream, {b.d_qkv, s.qkv_width}, {k.x, s.d}, n, s.qkv_width, s.d, grad.at(l.at_qkv), grad.out());
  blas.input_gradient(stream, {b.d_qkv, s.qkv_width}, {l.qkv, s.d}, n, s.qkv_width, s.d, b.d_x, s.d);
  gpu::rms_norm_backward(stream, b.d_x, h_in, nullptr, k.rstd_in, l.input_norm, n, s.d, b.d_h, false, vectors.take(l.at_input_norm, s.d), b.sums);
  vectors.finish();
}

void GpuTraining::backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, GpuGradient grad) {
  const Buffers& b = kept(HeadKind::kLogprobs);
  const auto m = static_cast<std::size_t>(b.predictors);
  R1_CHECK(d_logprobs.size() == m && (d_entropies.empty() || d_entropies.size() == m), d_logprobs.size(), " and ", d_entropies.size(), " gradients of ", m);
  const gpu::Stream stream = model_.stream();
  gpu::copy_to_device(stream, b.c1, d_logprobs.data(), m * sizeof(float));
  if (!d_entropies.empty()) gpu::copy_to_device(stream, b.c2, d_entropies.data(), m * sizeof(float));
  logprobs_backward(b, b.c1, d_entropies.empty() ? nullptr : b.c2, grad);
  layers_backward(b, grad);
}

}  // namespace r1
