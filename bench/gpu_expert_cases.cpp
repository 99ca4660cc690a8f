// Experts and latent attention on the shapes of DeepSeek-V2-Lite, a decoding step of one layer: beside the bytes of the experts that the
// rows meet, and of latents at 512 positions a sequence.
#include <cstdio>
#include <set>

#include <nlohmann/json.hpp>

#include "bench/gpu_kernel_cases.h"
#include "core/rng.h"
#include "kernels/gpu/experts.h"
#include "kernels/gpu/latent.h"
#include "kernels/gpu/weights.h"

namespace r1 {
namespace {

using namespace gpu;
using i64 = std::int64_t;

constexpr i64 kHidden = 2048, kWidth = 1408, kExperts = 64, kChosen = 6, kHeads = 16, kHeadDim = 128, kPositions = 512;
constexpr int kCalls = 32;

void print(const GpuBench& b, const char* name, i64 rows, i64 tokens, double us, double bytes) {
  nlohmann::ordered_json line{{"kernel", name}, {"n", rows}};
  if (tokens > 0) line["tile"] = tokens;
  line["us"] = us;
  if (bytes > 0) line.update({{"gb_s", bytes / us * 1e-3}, {"of_copy", bytes / (us * 1e-6) / b.copy_bytes_per_s}});
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

template <class Call> double median_us(const GpuBench& b, Call&& call) {
  const std::vector<double> us = replay_us(b.stream, kCalls, [&](int i) { call(i); });
  return us[us.size() / 2];
}

template <class T> DeviceMemory memory_for(i64 n) { return DeviceMemory(static_cast<std::size_t>(n) * sizeof(T)); }

void experts(const GpuBench& b, i64 n) {
  OwnedStream& s = b.stream;
  constexpr i64 kStride = 3 * kHidden * kWidth;
  const i64 entries = n * kChosen;
  const DeviceMemory w = memory_for<bf16>(kExperts * kStride), x = memory_for<bf16>(n * kHidden), logits = memory_for<float>(n * kExperts),
                     chosen = memory_for<std::int32_t>(entries), weights = memory_for<float>(entries), sorted = memory_for<std::int32_t>(entries),
                     tiles = memory_for<ExpertTile>(expert_tiles(entries, kExperts, 8)), count(16), act = memory_for<bf16>(entries * kWidth),
                     out = memory_for<float>(entries * kHidden), h = memory_for<float>(n * kHidden);
  fill_random(s, w.as<bf16>(), kExperts * kStride, 1, 2, 0.02f);
  fill_random(s, x.as<bf16>(), n * kHidden, 3, 4, 1.f);
  fill_bytes(s, h.data(), 0, h.bytes());
  std::vector<float> host(static_cast<std::size_t>(n * kExperts));
  StreamRng rng(5, 6);
  for (float& v : host) v = static_cast<float>(rng.below(1000)) * 1e-3f;
  copy_to_device(s, logits.data(), host.data(), host.size() * 4);
  RouteArgs route;
  route.experts = kExperts, route.chosen = kChosen;
  print(b, "route", n, 0, median_us(b, [&](int) { route_rows(s, route, logits.as<float>(), n, chosen.as<std::int32_t>(), weights.as<float>()); }), 0);
  std::vector<std::int32_t> met(static_cast<std::size_t>(entries));
  copy_to_host(s, met.data(), chosen.data(), met.size() * 4);
  s.synchronize();
  const double touched = static_cast<double>(std::set<std::int32_t>(met.begin(), met.end()).size()) * kHidden * kWidth * 2;
  const i64 usual = expert_tile_tokens(entries, kExperts);
  for (const i64 tokens : {8, 16, 32, 64, 128}) {
    if (tokens != usual && !b.options.tiles) continue;
    const auto sort = [&] {
      sort_by_expert(s, chosen.as<std::int32_t>(), entries, kExperts, tokens, sorted.as<std::int32_t>(), tiles.as<ExpertTile>(), count.as<std::int32_t>());
    };
    print(b, "sort_by_expert", n, tokens, median_us(b, [&](int) { sort(); }), 0);
    sort();
    ExpertProduct p;
    p.sorted = sorted.as<std::int32_t>(), p.tiles = tiles.as<ExpertTile>(), p.count = count.as<std::int32_t>(), p.max_tiles = expert_tiles(entries, kExperts, tokens);
    p.tokens = tokens, p.chosen = kChosen, p.stride = kStride, p.w = w.as<bf16>(), p.n = 2 * kWidth, p.k = kHidden;
    print(b, "expert_gate_up", n, tokens, median_us(b, [&](int) { expert_gate_up(s, p, x.as<bf16>(), act.as<bf16>()); }), 2 * touched);
    p.w += 2 * kHidden * kWidth, p.n = kHidden, p.k = kWidth;
    print(b, "expert_down", n, tokens, median_us(b, [&](int) { expert_down(s, p, act.as<bf16>(), out.as<float>()); }), touched);
  }
  print(b, "combine_experts", n, 0, median_us(b, [&](int) {
          combine_experts(s, h.as<float>(), out.as<float>(), weights.as<float>(), n, kChosen, kHidden, nullptr, nullptr, h.as<float>());
        }), 4.0 * static_cast<double>(n * (kChosen + 2) * kHidden));
}

void latents(const GpuBench& b, i64 n) {
  OwnedStream& s = b.stream;
  constexpr i64 kPages = kPositions / kPage, kChunks = kPositions / kChunk, kLine = (kHeads + 1) * kLatentWidth;
  const i64 bytes = n * kPositions * kLatentWidth * 2, sets = std::clamp<i64>(2 * b.l2_bytes / bytes + 1, 1, kCalls);
  const DeviceMemory pages = memory_for<bf16>(sets * n * kPages * kPage * kLatentWidth), rows = memory_for<bf16>(n * kLine),
                     context = memory_for<bf16>(n * kHeads * kLatentRank), attn = memory_for<bf16>(n * kHeads * kHeadDim),
                     kv_b = memory_for<bf16>(kHeads * 2 * kHeadDim * kLatentRank), partials(latent_partial_bytes(n * kChunks, kHeads)),
                     counters = memory_for<std::int32_t>(n), count(16), tables = memory_for<std::int32_t>(sets * n * kPages),
                     items = memory_for<DecodeItem>(sets * n * kChunks);
  fill_random(s, pages.as<bf16>(), sets * n * kPages * kPage * kLatentWidth, 1, 2, 1.f);
  fill_random(s, rows.as<bf16>(), n * kLine, 3, 4, 1.f);
  fill_random(s, kv_b.as<bf16>(), kHeads * 2 * kHeadDim * kLatentRank, 5, 6, 0.02f);
  fill_bytes(s, counters.data(), 0, counters.bytes());
  std::vector<DecodeItem> list;
  std::vector<std::int32_t> table;
  for (i64 i = 0; i < sets * n * kPages; ++i) table.push_back(static_cast<std::int32_t>(i));
  for (i64 i = 0; i < sets * n; ++i)
    for (i64 c = 0; c < kChunks; ++c)
      list.push_back({static_cast<std::int32_t>(i % n), static_cast<std::int32_t>(kPositions - 1), static_cast<std::int32_t>(c), 1,
                      static_cast<std::int32_t>(i % n * kChunks), static_cast<std::int32_t>(i * kPages)});
  const std::int32_t number = static_cast<std::int32_t>(n * kChunks);
  copy_to_device(s, items.data(), list.data(), list.size() * sizeof(DecodeItem));
  copy_to_device(s, tables.data(), table.data(), table.size() * 4);
  copy_to_device(s, count.data(), &number, 4);
  s.synchronize();
  LatentAttentionArgs a;
  a.pages = {pages.as<bf16>(), kPage * kLatentWidth}, a.q = rows.as<bf16>(), a.ld = kLine, a.heads = kHeads, a.scale = 0.07f, a.out = context.as<bf16>();
  const int blocks = latent_decode_blocks();
  print(b, "latent_decode", n, 0, median_us(b, [&](int i) {
          latent_decode(s, a, items.as<DecodeItem>() + i % sets * n * kChunks, count.as<std::int32_t>(), tables.as<std::int32_t>(), partials.as<float>(),
                        counters.as<std::int32_t>(), blocks);
        }), static_cast<double>(bytes));
  HeadProduct keys;
  keys.x = attn.as<bf16>(), keys.ldx = kHeads * kHeadDim, keys.x_pitch = kHeadDim, keys.w = kv_b.as<bf16>(), keys.w_pitch = 2 * kHeadDim * kLatentRank;
  keys.ldw = kLatentRank, keys.transposed = true, keys.y = rows.as<bf16>(), keys.ldy = kLine, keys.y_pitch = kLatentWidth, keys.heads = kHeads;
  keys.n = kLatentRank, keys.k = kHeadDim;
  fill_random(s, attn.as<bf16>(), n * kHeads * kHeadDim, 7, 8, 1.f);
  const double half = static_cast<double>(kHeads * kHeadDim * kLatentRank) * 2;
  print(b, "latent_queries", n, 0, median_us(b, [&](int) { head_product(s, keys, n); }), half);
  HeadProduct values = keys;
  values.x = context.as<bf16>(), values.ldx = kHeads * kLatentRank, values.x_pitch = kLatentRank, values.w += kHeadDim * kLatentRank, values.transposed = false;
  values.y = attn.as<bf16>(), values.ldy = kHeads * kHeadDim, values.y_pitch = kHeadDim, values.n = kHeadDim, values.k = kLatentRank;
  print(b, "latent_values", n, 0, median_us(b, [&](int) { head_product(s, values, n); }), half);
}

}  // namespace

void gpu_expert_cases(const GpuBench& b) {
  for (const i64 rows : b.options.rows) {
    if (b.options.wants("experts")) experts(b, rows);
    if (b.options.wants("latent")) latents(b, rows);
  }
}

}  // namespace r1
