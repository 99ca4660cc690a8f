// Row, key/value and optimizer kernels. gb_s is memory traffic where "cold" is true, counted as the bytes that the operation must move.
#include <algorithm>
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

// Runs `call(set)` over `sets` disjoint sets of arrays in turn.
void measure(const GpuBench& b, const char* kernel, i64 n, i64 width, i64 bytes, int sets, const std::function<void(int)>& call) {
  // About 10 ms a batch, by the copy bandwidth.
  const double guess = std::max(3e-6, static_cast<double>(bytes) / b.copy_bytes_per_s);
  const int calls = std::clamp(static_cast<int>(0.01 / guess), sets, 1000);
  const std::vector<double> us = replay_us(b.stream, calls, [&](int i) { call(i % sets); });
  const double median = us[us.size() / 2], rate = static_cast<double>(bytes) / (median * 1e-6);
  std::printf("{\"kernel\":\"%s\",\"n\":%lld,\"width\":%lld,\"us\":%.2f,\"best_us\":%.2f,\"gb_s\":%.0f,\"of_copy\":%.3f,\"cold\":%s}\n", kernel,
              static_cast<long long>(n), static_cast<long long>(width), median, us.front(), rate * 1e-9, rate / b.copy_bytes_per_s,
              bytes * sets > 2 * b.l2_bytes ? "true" : "false");
  std::fflush(stdout);
}

// Arrays of one case, `sets` times over; filled with a pattern of small numbers.
class Sets {
 public:
  explicit Sets(const GpuBench& b) : s_(b.stream), l2_bytes_(b.l2_bytes) {}
  // Sets that make `bytes` exceed twice the L2 cache, at most 64.
  int count(i64 bytes) const { return static_cast<int>(std::clamp<i64>(2 * l2_bytes_ / std::max<i64>(bytes, 1) + 1, 1, 64)); }
  template <class T> std::vector<T*> make(int sets, i64 n, unsigned char fill = 0x3c) {
    std::vector<T*> out;
    for (int i = 0; i < sets; ++i) {
      memory_.emplace_back(static_cast<std::size_t>(n) * sizeof(T));
      fill_bytes(s_, memory_.back().data(), fill, memory_.back().bytes());  // 0x3c3c = 0.0115 as bfloat16, about so as float32
      out.push_back(memory_.back().as<T>());
    }
    return out;
  }
  template <class T> T* put(const std::vector<T>& host) {
    memory_.emplace_back(host.size() * sizeof(T));
    copy_to_device(s_, memory_.back().data(), host.data(), host.size() * sizeof(T));
    return memory_.back().as<T>();
  }

 private:
  OwnedStream& s_;
  i64 l2_bytes_;
  std::vector<DeviceMemory> memory_;
};

std::vector<std::int32_t> shuffled(i64 n) {
  std::vector<std::int32_t> v(static_cast<std::size_t>(n));
  for (i64 i = 0; i < n; ++i) v[static_cast<std::size_t>(i)] = static_cast<std::int32_t>((i * 2654435761ll) % n);
  return v;
}

void forward(const GpuBench& b, i64 n) {
  OwnedStream& s = b.stream;
  const i64 d = b.options.hidden, f = b.options.intermediate, heads = d / 64, kv = 2, ld = (heads + 2 * kv) * 64;
  if (b.options.wants("embed")) {
    Sets a(b);
    const i64 vocabulary = 151936, bytes = n * d * 6;
    const int sets = a.count(bytes);
    std::vector<std::int32_t> tokens = shuffled(n);
    for (auto& t : tokens) t = static_cast<std::int32_t>((t * 7919ll) % vocabulary);
    const auto table = a.make<bf16>(1, vocabulary * d);
    const auto out = a.make<float>(sets, n * d);
    const auto* ids = a.put(tokens);
    measure(b, "embed", n, d, bytes, sets, [&](int i) { embed(s, table[0], ids, nullptr, n, d, out[static_cast<std::size_t>(i)]); });
  }
  if (b.options.wants("rms_norm")) {
    Sets a(b);
    const i64 bytes = n * d * 6;
    const int sets = a.count(bytes);
    const auto x = a.make<float>(sets, n * d), rstd = a.make<float>(1, n);
    const auto w = a.make<bf16>(1, d), out = a.make<bf16>(sets, n * d);
    measure(b, "rms_norm", n, d, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      rms_norm(s, x[k], nullptr, n, d, w[0], 1e-6f, out[k], rstd[0]);
    });
  }
  for (const bool norms : {false, true}) {
    const char* name = norms ? "qk_norm_rope" : "rope";
    if (!b.options.wants(name)) continue;
    Sets a(b);
    const i64 bytes = n * (heads + kv) * 64 * (norms ? 6 : 4);
    const int sets = a.count(bytes);
    std::vector<std::int32_t> at(static_cast<std::size_t>(n));
    for (i64 i = 0; i < n; ++i) at[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % 1024);
    const auto qkv = a.make<bf16>(sets, n * ld), raw = a.make<bf16>(sets, n * (heads + kv) * 64), w = a.make<bf16>(1, 64);
    const auto table = a.make<float>(1, 1024 * 32), rstd = a.make<float>(1, n * (heads + kv));
    const QkArgs args{heads, kv, 64, ld, a.put(at), table[0], table[0], norms ? w[0] : nullptr, norms ? w[0] : nullptr, 1e-6f};
    measure(b, name, n, ld, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      qk_norm_rope(s, args, qkv[k], n, norms ? raw[k] : nullptr, norms ? rstd[0] : nullptr);
    });
  }
  if (b.options.wants("swiglu")) {
    Sets a(b);
    const i64 bytes = n * f * 6;
    const int sets = a.count(bytes);
    const auto in = a.make<bf16>(sets, n * 2 * f), out = a.make<bf16>(sets, n * f);
    measure(b, "swiglu", n, f, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      swiglu(s, in[k], n, f, out[k]);
    });
  }
  if (b.options.wants("write_kv")) {
    Sets a(b);
    const i64 hd = 64, pages = n / kPage * 4 + 4, stride = kv * 2 * kPage * hd, bytes = n * kv * hd * 8;
    const int sets = a.count(bytes);
    const auto qkv = a.make<bf16>(sets, n * ld), cache = a.make<bf16>(sets, pages * stride);
    std::vector<std::int32_t> dst = shuffled(n);
    for (auto& x : dst) x *= 4;
    const auto* slots = a.put(dst);
    measure(b, "write_kv", n, kv * hd, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      write_kv(s, {cache[k], stride, kv, hd}, qkv[k] + heads * hd, qkv[k] + (heads + kv) * hd, ld, nullptr, slots, n);
    });
  }
}

void backward(const GpuBench& b, i64 n) {
  OwnedStream& s = b.stream;
  const i64 d = b.options.hidden, f = b.options.intermediate, heads = d / 64, kv = 2, ld = (heads + 2 * kv) * 64;
  for (const bool store : {true, false}) {
    const char* name = store ? "rms_norm_backward" : "rms_norm_backward_add";
    if (!b.options.wants(name)) continue;
    Sets a(b);
    const i64 bytes = n * d * (store ? 10 : 14);
    const int sets = a.count(bytes);
    const auto x = a.make<float>(sets, n * d), dx = a.make<float>(sets, n * d), rstd = a.make<float>(1, n), dw = a.make<float>(1, d);
    const auto dy = a.make<bf16>(sets, n * d), w = a.make<bf16>(1, d);
    const auto scratch = a.make<std::byte>(1, static_cast<i64>(row_sum_scratch_bytes(d)));
    measure(b, name, n, d, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      rms_norm_backward(s, dy[k], x[k], nullptr, rstd[0], w[0], n, d, dx[k], store, dw[0], scratch[0]);
    });
  }
  if (b.options.wants("qk_norm_rope_backward")) {
    Sets a(b);
    const i64 bytes = n * (heads + kv) * 64 * 6;
    const int sets = a.count(bytes);
    const std::vector<std::int32_t> at(static_cast<std::size_t>(n), 5);
    const auto dqkv = a.make<bf16>(sets, n * ld), raw = a.make<bf16>(sets, n * (heads + kv) * 64), w = a.make<bf16>(1, 64);
    const auto table = a.make<float>(1, 1024 * 32), rstd = a.make<float>(1, n * (heads + kv)), dw = a.make<float>(2, 64);
    const auto scratch = a.make<std::byte>(1, static_cast<i64>(row_sum_scratch_bytes(64)));
    const QkArgs args{heads, kv, 64, ld, a.put(at), table[0], table[0], w[0], w[0], 1e-6f};
    measure(b, "qk_norm_rope_backward", n, ld, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      qk_norm_rope_backward(s, args, dqkv[k], n, raw[k], rstd[0], dw[0], dw[1], scratch[0]);
    });
  }
  if (b.options.wants("swiglu_backward")) {
    Sets a(b);
    const i64 bytes = n * f * 12;
    const int sets = a.count(bytes);
    const auto in = a.make<bf16>(sets, n * 2 * f), din = a.make<bf16>(sets, n * 2 * f), dy = a.make<bf16>(sets, n * f), out = a.make<bf16>(sets, n * f);
    measure(b, "swiglu_backward", n, f, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      swiglu_backward(s, dy[k], in[k], n, f, din[k], out[k]);
    });
  }
  if (b.options.wants("bias_gradient")) {
    Sets a(b);
    const i64 bytes = n * ld * 2;
    const int sets = a.count(bytes);
    const auto dy = a.make<bf16>(sets, n * ld);
    const auto db = a.make<float>(1, ld);
    const auto scratch = a.make<std::byte>(1, static_cast<i64>(row_sum_scratch_bytes(ld)));
    measure(b, "bias_gradient", n, ld, bytes, sets, [&](int i) { bias_gradient(s, dy[static_cast<std::size_t>(i)], n, ld, ld, db[0], scratch[0]); });
  }
  if (b.options.wants("add_row_groups")) {
    Sets a(b);
    const i64 groups = n / 4, bytes = n * d * 4 + groups * d * 8;
    const int sets = a.count(bytes);
    std::vector<std::int32_t> first;
    for (i64 i = 0; i <= groups; ++i) first.push_back(static_cast<std::int32_t>(i * 4));
    const auto from = a.make<float>(sets, n * d), to = a.make<float>(sets, groups * d);
    const auto *target = a.put(shuffled(groups)), *firsts = a.put(first), *order = a.put(shuffled(n));
    measure(b, "add_row_groups", n, d, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      add_row_groups(s, to[k], from[k], d, target, firsts, order, groups);
    });
  }
  if (b.options.wants("scale_rows")) {
    Sets a(b);
    const i64 bytes = n * d * 4;
    const int sets = a.count(bytes);
    const auto x = a.make<bf16>(sets, n * d), out = a.make<bf16>(sets, n * d);
    const auto c = a.make<float>(1, n);
    measure(b, "scale_rows", n, d, bytes, sets, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      scale_rows(s, x[k], c[0], n, d, out[k]);
    });
  }
}

}  // namespace

void gpu_row_cases(const GpuBench& b) {
  for (const i64 n : {256, 16384}) {
    forward(b, n);
    backward(b, n);
  }
}

void gpu_array_cases(const GpuBench& b) {
  OwnedStream& s = b.stream;
  const i64 n = i64{256} << 20;
  if (b.options.wants("adamw")) {
    Sets a(b);
    const auto p = a.make<float>(4, n);
    const auto live = a.make<bf16>(1, n);
    measure(b, "adamw", n, 1, n * 30, 1, [&](int) { adamw(s, p[0], p[1], p[2], p[3], live[0], n, {1e-6f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.1f, 0.05f, 1.f}); });
  }
  Sets a(b);
  const auto x = a.make<float>(1, n);
  const auto half = a.make<bf16>(1, n);
  const auto scratch = a.make<std::byte>(1, static_cast<i64>(reduce_scratch_bytes()));
  const auto sum = a.make<double>(1, 1);
  const auto first = a.make<i64>(1, 1);
  if (b.options.wants("to_float")) measure(b, "to_float", n, 1, n * 6, 1, [&](int) { to_float(s, half[0], x[0], n); });
  if (b.options.wants("to_bf16")) measure(b, "to_bf16", n, 1, n * 6, 1, [&](int) { to_bf16(s, x[0], half[0], n); });
  if (b.options.wants("sum_of_squares")) measure(b, "sum_of_squares", n, 1, n * 4, 1, [&](int) { sum_of_squares(s, x[0], n, sum[0], scratch[0]); });
  if (b.options.wants("first_non_finite")) measure(b, "first_non_finite", n, 1, n * 4, 1, [&](int) { first_non_finite(s, x[0], n, first[0], scratch[0]); });
  if (b.options.wants("copy_pages")) {
    const i64 page = 128 * 1024, pages = 256, layers = 24;  // 256 pages to copy, of one key/value head of 128 and so on
    const auto memory = a.make<std::byte>(1, page * pages * 2 * layers);
    std::vector<std::int32_t> from, to;
    for (std::int32_t i = 0; i < pages; ++i) from.push_back(i), to.push_back(i + static_cast<std::int32_t>(pages));
    const auto *f = a.put(from), *t = a.put(to);
    measure(b, "copy_pages", pages, page, 2 * page * pages * layers, 1,
            [&](int) { copy_pages(s, memory[0], page, page, page * pages * 2, layers, f, t, pages); });
  }
}

}  // namespace r1
