// Mixtures of experts on the GPU: the router's choice, tokens sorted by expert, the experts' products as one launch each, and the sum of a
// token's experts. No host takes part, so that all of it lives in a CUDA graph. Conventions and promise as in gpu.h: what a token gets
// depends on that token alone. Equations: model/router.h, models.md sections 5 and 6.2.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

inline constexpr std::int64_t kMaxExperts = 512, kMaxExpertsPerToken = 32, kMaxExpertGroups = 32;

// Fields of MixtureOfExperts. Limits: the three constants above; experts are a multiple of the groups.
struct RouteArgs {
  std::int64_t experts = 0, chosen = 0, groups = 1, top_groups = 1;
  bool sigmoid = false, normalise = false;
  float epsilon = 0.f, scale = 1.f;
  const float* bias = nullptr;             // [experts] of the choice, or null
  const std::uint16_t* replay = nullptr;   // the experts of row i at replay + i * ld, instead of the choice; different ones, or null
  std::uint16_t* record = nullptr;         // where row i's experts go, ascending, at record + i * ld; or null
  std::int64_t ld = 0;
};
// logits [n][experts] float32 -> experts [n][chosen] ascending and their weights, as route_token(): ties go to the smaller number, sums
// run over the chosen in that order. A row of NaN chooses the first experts.
void route_rows(Stream s, const RouteArgs& args, const float* logits, std::int64_t n, std::int32_t* experts, float* weights);

// out[i] = 1 / (1 + exp(-x[i] w)), x [n][d].
void sigmoid_gate(Stream s, const bf16* x, const bf16* w, std::int64_t n, std::int64_t d, float* out);

// Entries (token * chosen + slot) sorted by expert, cut into tiles of up to `tokens` entries of one expert.
struct ExpertTile { std::int32_t expert = 0, first = 0, count = 0; };
// A good size of tile for so many entries: 8, 16, 32, 64 or 128. Any gives the same bits.
std::int64_t expert_tile_tokens(std::int64_t entries, std::int64_t experts);
std::int64_t expert_tiles(std::int64_t entries, std::int64_t experts, std::int64_t tokens);  // at most so many
// sorted [entries]; tiles [expert_tiles()], *count of which are there. Places within an expert are in no particular order.
void sort_by_expert(Stream s, const std::int32_t* experts, std::int64_t entries, std::int64_t num_experts, std::int64_t tokens, std::int32_t* sorted,
                    ExpertTile* tiles, std::int32_t* count);

// One product of all experts. Weights of expert e: w + e * stride, [n][k]; k is a multiple of 64.
struct ExpertProduct {
  const std::int32_t* sorted = nullptr;
  const ExpertTile* tiles = nullptr;
  const std::int32_t* count = nullptr;
  std::int64_t max_tiles = 0, tokens = 0;  // as the tiles were made
  std::int64_t chosen = 0;                 // entries of a token
  const bf16* w = nullptr;
  std::int64_t stride = 0, n = 0, k = 0;
};
// act [place][f] = silu(gate) * up of x [token][k]; n = 2f: gate above up. The bits of Blas::forward_swiglu().
void expert_gate_up(Stream s, const ExpertProduct& p, const bf16* x, bf16* act);
// out [entry][n] float32 from act [place][k].
void expert_down(Stream s, const ExpertProduct& p, const bf16* act, float* out);

// h_out[i] = h_in[i] + sum of weights[i][k] * out[i * chosen + k] in ascending k, then + shared_weight[i] * shared[i] where shared is not null.
// Rows of width d, float32; h_out may be h_in.
void combine_experts(Stream s, const float* h_in, const float* out, const float* weights, std::int64_t n, std::int64_t chosen, std::int64_t d,
                     const float* shared, const float* shared_weight, float* h_out);

}  // namespace r1::gpu
