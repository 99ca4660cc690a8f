#include "model/gpu/gpu_experts.h"

#include <algorithm>

#include "core/error.h"

namespace r1 {

GpuExperts::GpuExperts(const GpuWeights& weights, const ModelConfig& c, std::int64_t layer, std::int64_t number)
    : d_(c.hidden_size), f_(c.moe->intermediate_size), shared_f_(c.moe->shared_intermediate_size), choices_(expert_choices(c)),
      at_(number * c.moe->experts_per_token) {
  const MixtureOfExperts& m = *c.moe;
  if (m.num_experts > gpu::kMaxExperts || m.experts_per_token > gpu::kMaxExpertsPerToken || m.num_groups > gpu::kMaxExpertGroups)
    throw ConfigError(message("the GPU path knows ", gpu::kMaxExperts, " experts, ", gpu::kMaxExpertsPerToken, " of them a token, in ", gpu::kMaxExpertGroups,
                              " groups; this model has ", m.num_experts, ", ", m.experts_per_token, " and ", m.num_groups, "; use device: cpu"));
  if (d_ % 64 != 0 || f_ % 64 != 0 || shared_f_ % 8 != 0)
    throw ConfigError(message("the GPU path needs a hidden size and experts of multiples of 64, not ", d_, " and ", f_, "; use device: cpu"));
  route_.experts = m.num_experts, route_.chosen = m.experts_per_token, route_.groups = m.num_groups, route_.top_groups = m.top_groups;
  route_.sigmoid = m.scoring == MixtureOfExperts::Scoring::kSigmoid, route_.normalise = m.normalise;
  route_.epsilon = static_cast<float>(m.normalise_epsilon), route_.scale = static_cast<float>(m.scale);
  route_.ld = choices_;
  const bool mixtral = m.names == MixtureOfExperts::Names::kMixtral;
  const std::string mlp = message("model.layers.", layer, mixtral ? ".block_sparse_moe." : ".mlp.");
  const auto at = [&](const std::string& name) { return weights.at(weights.find(mlp + name)); };
  router_ = at("gate.weight");
  if (m.correction_bias) route_.bias = weights.buffer(mlp + "gate.e_score_correction_bias");
  const auto offset = [&](std::int64_t expert, bool down) {
    return weights.find(message(mlp, "experts.", expert, mixtral ? (down ? ".w2.weight" : ".w1.weight") : (down ? ".down_proj.weight" : ".gate_proj.weight"))).offset;
  };
  const std::int64_t first = offset(0, false);
  experts_ = weights.data() + first;
  down_ = offset(0, true) - first;
  stride_ = m.num_experts > 1 ? offset(1, false) - first : 0;
  R1_CHECK(offset(m.num_experts - 1, true) == first + (m.num_experts - 1) * stride_ + down_, "the experts do not lie at equal distances");
  if (shared_f_ == 0) return;
  const std::string shared = m.shared_gate ? "shared_expert." : "shared_experts.";
  shared_gate_up_ = at(shared + "gate_proj.weight"), shared_down_ = at(shared + "down_proj.weight");
  if (m.shared_gate) shared_gate_ = at("shared_expert_gate.weight");
}

void GpuExperts::forward(gpu::Stream s, gpu::Blas& blas, std::int64_t n, const gpu::bf16* x, const float* h_in, float* h_out, const std::uint16_t* replay,
                         std::uint16_t* record, const GpuExpertBuffers& b) const {
  for (; n > 0; n -= GpuExpertBuffers::kRows) {
    const std::int64_t rows = std::min(n, GpuExpertBuffers::kRows), entries = rows * route_.chosen;
    // Products of bfloat16 are exact in float32, in which they are summed: the router is not rounded.
    blas.forward(s, {x, d_}, {router_, d_}, rows, route_.experts, d_, b.logits, route_.experts, gpu::Out::kF32);
    gpu::RouteArgs route = route_;
    route.replay = replay == nullptr ? nullptr : replay + at_, route.record = record == nullptr ? nullptr : record + at_;
    gpu::route_rows(s, route, b.logits, rows, b.chosen, b.weights);
    gpu::ExpertProduct p;
    p.tokens = gpu::expert_tile_tokens(entries, route_.experts);
    p.max_tiles = gpu::expert_tiles(entries, route_.experts, p.tokens);
    gpu::sort_by_expert(s, b.chosen, entries, route_.experts, p.tokens, b.sorted, b.tiles, b.tile_count);
    p.sorted = b.sorted, p.tiles = b.tiles, p.count = b.tile_count, p.chosen = route_.chosen, p.stride = stride_;
    p.w = experts_, p.n = 2 * f_, p.k = d_;
    gpu::expert_gate_up(s, p, x, b.act);
    p.w = experts_ + down_, p.n = d_, p.k = f_;
    gpu::expert_down(s, p, b.act, b.out);
    if (shared_f_ > 0) blas.forward_swiglu(s, {x, d_}, {shared_gate_up_, d_}, rows, shared_f_, d_, b.shared_gate_up, b.shared_act);
    if (shared_gate_ != nullptr) {
      blas.forward(s, {b.shared_act, shared_f_}, {shared_down_, shared_f_}, rows, d_, shared_f_, b.shared, d_, gpu::Out::kF32);
      gpu::sigmoid_gate(s, x, shared_gate_, rows, d_, b.shared_weight);
    }
    gpu::combine_experts(s, h_in, b.out, b.weights, rows, route_.chosen, d_, shared_gate_ == nullptr ? nullptr : b.shared, b.shared_weight, h_out);
    if (shared_f_ > 0 && shared_gate_ == nullptr)
      blas.forward(s, {b.shared_act, shared_f_}, {shared_down_, shared_f_}, rows, d_, shared_f_, h_out, d_, gpu::Out::kF32, nullptr, h_out);
    x += rows * d_, h_in += rows * d_, h_out += rows * d_;
    if (replay != nullptr) replay += rows * choices_;
    if (record != nullptr) record += rows * choices_;
  }
}

}  // namespace r1
