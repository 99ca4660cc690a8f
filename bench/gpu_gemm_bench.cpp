// Speed of a decoding step's products: each tile of small_gemm() and what Blas chooses, one JSON line each, beside the time that
// reading the weights takes at the copy bandwidth measured in the same run.
//   gpu_gemm_bench [--d D] [--f F] [--qkv WIDTH] [--v VOCABULARY] [--tiles] [ROWS...]
// Many calls in one CUDA graph over weights that together exceed the L2 cache, as in a model; us is the median over replays.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench/gpu_timing.h"
#include "kernels/gpu/gemm.h"
#include "kernels/gpu/small_gemm.h"
#include "kernels/gpu/weights.h"

namespace {

using namespace r1;
using namespace r1::gpu;
using i64 = std::int64_t;

struct Product {
  const char* name;
  i64 n, k;
  SmallOut out;
};

void line(const Product& p, i64 m, int tile, const std::vector<double>& us, double bandwidth) {
  const double median = us[us.size() / 2], floor = static_cast<double>(p.n * p.k * 2) / bandwidth * 1e6;
  std::printf("{\"product\":\"%s\",\"m\":%lld,\"n\":%lld,\"k\":%lld,\"tile\":%s,\"us\":%.2f,\"floor_us\":%.2f,\"tflop_s\":%.1f}\n", p.name, static_cast<long long>(m),
              static_cast<long long>(p.n), static_cast<long long>(p.k), tile < 0 ? "\"chosen\"" : std::to_string(tile).c_str(), median, floor,
              2e-6 * static_cast<double>(m * p.n * p.k) / median);
  std::fflush(stdout);
}

void measure(OwnedStream& s, Blas& blas, const Product& p, i64 m, bool tiles, double bandwidth) {
  const i64 l2 = i64{64} << 20;
  const int sets = static_cast<int>(std::clamp<i64>(2 * l2 / (p.n * p.k * 2) + 1, 2, 64)), calls = std::max(sets, 64);
  const DeviceMemory w(static_cast<std::size_t>(sets * p.n * p.k) * 2), x(static_cast<std::size_t>(m * p.k) * 2), y(static_cast<std::size_t>(m * p.n) * 4),
      bias(static_cast<std::size_t>(p.n) * 2), scratch(static_cast<std::size_t>(m * p.n) * 2);
  fill_random(s, w.as<bf16>(), sets * p.n * p.k, 1, 2, 0.05f);
  fill_random(s, x.as<bf16>(), m * p.k, 3, 4, 1.f);
  fill_random(s, bias.as<bf16>(), p.n, 5, 6, 1.f);
  fill_bytes(s, y.data(), 0, y.bytes());
  const auto weights = [&](int i) { return w.as<bf16>() + static_cast<i64>(i % sets) * p.n * p.k; };
  const bool adds = std::strcmp(p.name, "head") != 0 && p.out == SmallOut::kF32;
  const auto chosen = [&](int i) {
    if (p.out == SmallOut::kSwiglu) blas.forward_swiglu(s, {x.as<bf16>(), p.k}, {weights(i), p.k}, m, p.n / 2, p.k, scratch.as<bf16>(), y.as<bf16>());
    else if (p.out == SmallOut::kBf16) blas.forward(s, {x.as<bf16>(), p.k}, {weights(i), p.k}, m, p.n, p.k, y.data(), p.n, Out::kBf16, bias.as<bf16>());
    else blas.forward(s, {x.as<bf16>(), p.k}, {weights(i), p.k}, m, p.n, p.k, y.data(), p.n, Out::kF32, nullptr, adds ? y.as<float>() : nullptr);
  };
  chosen(0);  // the choice is made outside the capture
  s.synchronize();
  line(p, m, -1, replay_us(s, calls, chosen), bandwidth);
  for (int tile = 0; tiles && tile < small_gemm_tiles(); ++tile) {
    SmallGemm g;
    g.x = x.as<bf16>(), g.ldx = g.ldw = p.k, g.m = m, g.n = p.n, g.k = p.k, g.out = p.out, g.y = y.data(), g.ldy = p.out == SmallOut::kSwiglu ? p.n / 2 : p.n;
    g.bias = p.out == SmallOut::kBf16 ? bias.as<bf16>() : nullptr, g.c = adds ? y.as<float>() : nullptr;
    if (!small_gemm_fits(g, tile)) continue;
    line(p, m, tile, replay_us(s, calls, [&](int i) {
           g.w = weights(i);
           small_gemm(s, g, tile);
         }),
         bandwidth);
  }
}

}  // namespace

int main(int argc, char** argv) {
  i64 d = 896, f = 4864, qkv = 1152, v = 151936;
  bool tiles = false;
  std::vector<i64> rows;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::atoll(argv[++i]) : 0; };
    if (a == "--d") d = number();
    else if (a == "--f") f = number();
    else if (a == "--qkv") qkv = number();
    else if (a == "--v") v = number();
    else if (a == "--tiles") tiles = true;
    else rows.push_back(std::atoll(a.c_str()));
  }
  if (rows.empty()) rows = {1, 8, 64, 256};
  if (!available()) return std::fprintf(stderr, "%s\n", unavailable_reason().c_str()), 77;
  OwnedStream s;
  Blas blas;
  const double bandwidth = measured_bandwidth();
  for (const i64 m : rows)
    for (const Product& p : {Product{"qkv", qkv, d, SmallOut::kBf16}, Product{"o", d, d, SmallOut::kF32}, Product{"gate_up", 2 * f, d, SmallOut::kSwiglu},
                             Product{"down", d, f, SmallOut::kF32}, Product{"head", v, d, SmallOut::kF32}})
      measure(s, blas, p, m, tiles, bandwidth);
}
