// A decoding step's products: what Blas chooses and, with `tiles`, each tile of small_gemm(), beside the time that reading the weights takes.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bench/gpu_kernel_cases.h"
#include "kernels/gpu/gemm.h"
#include "kernels/gpu/small_gemm.h"
#include "kernels/gpu/weights.h"

namespace r1 {
namespace {

using namespace gpu;
using i64 = std::int64_t;

struct Product {
  const char* name;
  i64 n, k;
  SmallOut out;
};

void line(const Product& p, i64 m, int tile, const std::vector<double>& us, double bandwidth) {
  const double median = us[us.size() / 2], floor = static_cast<double>(p.n * p.k * 2) / bandwidth * 1e6;
  std::printf("{\"kernel\":\"product_%s\",\"m\":%lld,\"n\":%lld,\"k\":%lld,\"tile\":%s,\"us\":%.2f,\"floor_us\":%.2f,\"tflop_s\":%.1f}\n", p.name, static_cast<long long>(m),
              static_cast<long long>(p.n), static_cast<long long>(p.k), tile < 0 ? "\"chosen\"" : std::to_string(tile).c_str(), median, floor,
              2e-6 * static_cast<double>(m * p.n * p.k) / median);
  std::fflush(stdout);
}

void measure(const GpuBench& b, Blas& blas, const Product& p, i64 m) {
  OwnedStream& s = b.stream;
  const int sets = static_cast<int>(std::clamp<i64>(2 * b.l2_bytes / (p.n * p.k * 2) + 1, 2, 64)), calls = std::max(sets, 64);
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
  line(p, m, -1, replay_us(s, calls, chosen), b.copy_bytes_per_s);
  for (int tile = 0; b.options.tiles && tile < small_gemm_tiles(); ++tile) {
    SmallGemm g;
    g.x = x.as<bf16>(), g.ldx = g.ldw = p.k, g.m = m, g.n = p.n, g.k = p.k, g.out = p.out, g.y = y.data(), g.ldy = p.out == SmallOut::kSwiglu ? p.n / 2 : p.n;
    g.bias = p.out == SmallOut::kBf16 ? bias.as<bf16>() : nullptr, g.c = adds ? y.as<float>() : nullptr;
    if (!small_gemm_fits(g, tile)) continue;
    line(p, m, tile, replay_us(s, calls, [&](int i) {
           g.w = weights(i);
           small_gemm(s, g, tile);
         }),
         b.copy_bytes_per_s);
  }
}

}  // namespace

void gpu_product_cases(const GpuBench& b) {
  const KernelBenchOptions& o = b.options;
  Blas blas;
  const i64 d = o.hidden, q = o.heads * o.head_dim, qkv = q + 2 * o.kv_heads * o.head_dim;
  for (const i64 m : o.rows)
    for (const Product& p : {Product{"qkv", qkv, d, SmallOut::kBf16}, Product{"o", d, q, SmallOut::kF32}, Product{"gate_up", 2 * o.intermediate, d, SmallOut::kSwiglu},
                             Product{"down", d, o.intermediate, SmallOut::kF32}, Product{"head", o.vocabulary, d, SmallOut::kF32}})
      if (m > 0 && o.wants(std::string("product_") + p.name)) measure(b, blas, p, m);
}

}  // namespace r1
