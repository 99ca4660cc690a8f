// Kernels over the vocabulary. gb_s counts each logit read once (and each gradient written once), so that further passes show as a lower rate.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "bench/gpu_kernel_cases.h"
#include "kernels/gpu/gpu.h"

namespace r1 {
namespace {

using namespace gpu;
using i64 = std::int64_t;

void measure(const GpuBench& b, const char* kernel, i64 n, i64 v, i64 bytes, i64 sets, const std::function<void(i64)>& call) {
  if (!b.options.wants(kernel)) return;
  const double guess = std::max(5e-6, static_cast<double>(bytes) / b.copy_bytes_per_s);
  const i64 calls = std::clamp<i64>(static_cast<i64>(0.01 / guess), std::min<i64>(sets, 200), 500);
  const std::vector<double> us = replay_us(b.stream, static_cast<int>(calls), [&](int i) { call(i % sets); });
  const double median = us[us.size() / 2], rate = static_cast<double>(bytes) / (median * 1e-6);
  std::printf("{\"kernel\":\"%s\",\"n\":%lld,\"v\":%lld,\"us\":%.2f,\"best_us\":%.2f,\"gb_s\":%.0f,\"of_copy\":%.3f}\n", kernel, static_cast<long long>(n),
              static_cast<long long>(v), median, us.front(), rate * 1e-9, rate / b.copy_bytes_per_s);
  std::fflush(stdout);
}

// Logits as a model's: most of them far below a few, about normal. A block of rows, repeated on the device.
void fill_logits(OwnedStream& s, float* logits, i64 rows, i64 v) {
  const i64 distinct = std::min<i64>(rows, 8);
  std::vector<float> host(static_cast<std::size_t>(distinct * v));
  std::uint64_t state = 1;
  for (float& x : host) {
    float sum = 0.f;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      sum += static_cast<float>(state >> 40) * (1.f / 16777216.f) - 0.5f;
    }
    x = sum * 1.732f * 3.f;  // of deviation 3
  }
  copy_to_device(s, logits, host.data(), host.size() * sizeof(float));
  s.synchronize();
  for (i64 at = distinct; at < rows; at += distinct)
    copy_on_device(s, logits + at * v, logits, static_cast<std::size_t>(std::min(distinct, rows - at) * v) * sizeof(float));
  s.synchronize();
}

void cases(const GpuBench& b, i64 n, i64 v) {
  OwnedStream& s = b.stream;
  const i64 row_bytes = v * 4, bytes = n * row_bytes, sets = std::clamp<i64>(2 * b.l2_bytes / bytes + 1, 1, 256);
  const DeviceMemory memory(static_cast<std::size_t>(sets * bytes)), gradient(static_cast<std::size_t>(n * v * 2));
  fill_logits(s, memory.as<float>(), sets * n, v);
  const auto logits = [&](i64 set) { return memory.as<float>() + set * n * v; };
  const auto count = static_cast<std::size_t>(n);
  const DeviceMemory drawn(count * sizeof(Drawn)), floats(count * 3 * sizeof(float)), targets(count * 4), draws(count * sizeof(Draw)), c2(count * 4);
  std::vector<std::int32_t> host_targets(count);
  for (std::size_t i = 0; i < count; ++i) host_targets[i] = static_cast<std::int32_t>(static_cast<i64>(i) * 7919 % v);
  copy_to_device(s, targets.data(), host_targets.data(), targets.bytes());
  const std::vector<float> half(count, 0.5f);
  copy_to_device(s, c2.data(), half.data(), c2.bytes());
  struct Filter {
    const char* name;
    float temperature;
    std::int32_t top_k;
    float top_p, min_p;
    bool filtered;
  };
  for (const Filter& f : {Filter{"sample", 1.f, 0, 1.f, 0.f, false}, Filter{"sample_greedy", 0.f, 0, 1.f, 0.f, false},
                          Filter{"filtered_none", 1.f, 0, 1.f, 0.f, true}, Filter{"filtered_top_k20_top_p95", 1.f, 20, 0.95f, 0.f, true},
                          Filter{"filtered_top_p95", 1.f, 0, 0.95f, 0.f, true}, Filter{"filtered_top_k1000", 1.f, 1000, 1.f, 0.f, true},
                          Filter{"filtered_min_p05", 1.f, 0, 1.f, 0.05f, true}}) {
    std::vector<Draw> host(count);
    for (std::size_t i = 0; i < count; ++i) {
      host[i].row = static_cast<std::int32_t>(i), host[i].slot = -1;
      host[i].temperature = f.temperature, host[i].top_k = f.top_k, host[i].top_p = f.top_p, host[i].min_p = f.min_p;
      host[i].uniform = (static_cast<double>(i) * 0.618034 + 0.31) - std::floor(static_cast<double>(i) * 0.618034 + 0.31);
    }
    copy_to_device(s, draws.data(), host.data(), draws.bytes());
    s.synchronize();
    measure(b, f.name, n, v, bytes, sets, [&](i64 set) { sample_rows(s, logits(set), v, v, draws.as<Draw>(), n, f.filtered, drawn.as<Drawn>(), nullptr); });
  }
  float *lp = floats.as<float>(), *h = lp + n, *lse = h + n;
  const auto* to = targets.as<std::int32_t>();
  measure(b, "logprob_rows", n, v, bytes, sets, [&](i64 set) { logprob_rows(s, {logits(set), v, v, 1.f}, to, n, lp, nullptr, lse); });
  measure(b, "logprob_rows_entropy", n, v, bytes, sets, [&](i64 set) { logprob_rows(s, {logits(set), v, v, 1.f}, to, n, lp, h, lse); });
  logprob_rows(s, {logits(0), v, v, 1.f}, to, n, lp, h, lse);
  measure(b, "logprob_backward", n, v, bytes * 3 / 2, sets,
          [&](i64 set) { logprob_rows_backward(s, {logits(set), v, v, 1.f}, to, n, lse, h, nullptr, nullptr, gradient.as<bf16>(), v); });
  measure(b, "logprob_backward_entropy", n, v, bytes * 3 / 2, sets,
          [&](i64 set) { logprob_rows_backward(s, {logits(set), v, v, 1.f}, to, n, lse, h, c2.as<float>(), c2.as<float>(), gradient.as<bf16>(), v); });
}

}  // namespace

void gpu_vocabulary_cases(const GpuBench& b) {
  for (const i64 n : {1, 64, 256, 2048}) cases(b, n, b.options.vocabulary);
}

}  // namespace r1
