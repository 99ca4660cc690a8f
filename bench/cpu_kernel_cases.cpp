// CPU kernels on the shapes of SmolLM2-135M. The ceilings are a register-only loop of the product's instruction and streaming reads from L3 and
// memory. Times are the best and the median of many runs: the best says what the code can do on a busy machine. With one thread they are CPU
// time of that thread, else wall time.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/kernel_cases.h"
#include "core/compute_pool.h"
#include "core/error.h"
#include "core/rng.h"
#include "kernels/cpu.h"
#include "kernels/table.h"

namespace r1 {
namespace {

using namespace cpu;
using Clock = std::chrono::steady_clock;
using i64 = std::int64_t;

KernelBenchOptions options;
double peak_flops[2] = {0, 0};  // all threads, by Type
double memory_bytes = 0, l3_bytes = 0;

struct Timing {
  double best = 1e30, median = 0;
};

double now() {
  timespec t{};
  clock_gettime(options.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

Timing measure(const std::function<void(int)>& run) {
  run(0);
  std::vector<double> times;
  const auto end = Clock::now() + std::chrono::duration<double>(options.seconds);
  for (int i = 1; times.size() < 5 || (Clock::now() < end && times.size() < 20000); ++i) {
    const double begin = now();
    run(i);
    times.push_back(now() - begin);
  }
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2]};
}

// flops and bytes may be 0 = not meaningful.
void report(const std::string& name, const Timing& t, Type type, double flops, double bytes) {
  std::printf("{\"case\":\"%s\",\"best_us\":%.2f,\"median_us\":%.2f", name.c_str(), t.best * 1e6, t.median * 1e6);
  if (flops > 0) {
    std::printf(",\"gflops\":%.1f,\"pct_of_peak\":%.1f", flops / t.best * 1e-9,
                100 * flops / t.best / peak_flops[static_cast<int>(type)]);
  }
  if (bytes > 0) std::printf(",\"gbytes_s\":%.2f,\"pct_of_memory\":%.1f", bytes / t.best * 1e-9, 100 * bytes / t.best / memory_bytes);
  std::printf("}\n");
  std::fflush(stdout);
}

bool wanted(const std::string& name) { return options.wants(name); }

// Memory with small random numbers.
struct Buffer {
  std::shared_ptr<std::byte> memory;
  std::byte* data;
  Buffer(Type type, i64 n, std::uint64_t seed)
      : memory(allocate(static_cast<std::size_t>(n) * (type == Type::kBF16 ? 2 : 4))), data(memory.get()) {
    StreamRng rng(seed, 0);
    for (i64 i = 0; i < n; i += 4) {
      const std::uint64_t bits = rng.next();
      for (i64 j = i; j < std::min(n, i + 4); ++j) {
        const float v = static_cast<float>(static_cast<double>((bits >> (16 * (j - i))) & 0xffff) / 65536.0 - 0.5);
        if (type == Type::kBF16) reinterpret_cast<bf16*>(data)[j] = to_bf16(v);
        else reinterpret_cast<float*>(data)[j] = v;
      }
    }
  }
  float* f() { return reinterpret_cast<float*>(data); }
};

void ceilings(ComputePool& pool) {
  const int n = pool.size();
  for (const Type type : {Type::kF32, Type::kBF16}) {
    constexpr i64 kSteps = 20000;
    double flops = 0;
    // One call a thread; the best time of many is when all ran at once.
    const Timing t = measure([&](int) { pool.parallel_for(n, 1, [&](i64, i64) { flops = table().peak(type, kSteps); }); });
    peak_flops[static_cast<int>(type)] = flops * n / t.best;
  }
  const auto stream = [&](i64 floats) {
    Buffer b(Type::kF32, floats, 1);
    std::atomic<float> sink{0};
    constexpr i64 kPiece = 16384;
    // Timed in parts of 8 MiB, so that the best one was not interrupted.
    const i64 part = i64{2} << 20;
    const Timing t = measure([&](int i) {
      const float* x = b.f() + i % (floats / part) * part;
      pool.parallel_for(part / kPiece, 8, [&](i64 begin, i64 end) {
        sink.store(table().row_max(x + begin * kPiece, (end - begin) * kPiece), std::memory_order_relaxed);
      });
    });
    return static_cast<double>(part) * 4 / t.best;
  };
  l3_bytes = stream(i64{2} << 20);        // 8 MiB
  memory_bytes = stream(i64{128} << 20);  // 512 MiB
  std::printf("{\"case\":\"ceilings\",\"isa\":\"%s\",\"threads\":%d,\"peak_bf16_gflops\":%.1f,\"peak_f32_gflops\":%.1f,"
              "\"read_8MiB_gbytes_s\":%.1f,\"read_512MiB_gbytes_s\":%.1f}\n",
              to_string(isa()), n, peak_flops[1] * 1e-9, peak_flops[0] * 1e-9, l3_bytes * 1e-9, memory_bytes * 1e-9);
  std::fflush(stdout);
}

void gemms(ComputePool& pool) {
  struct Shape {
    i64 k, n;
  };
  for (const Type type : {Type::kBF16, Type::kF32}) {
    for (const Shape s : {Shape{576, 960}, {576, 576}, {576, 3072}, {1536, 576}, {576, 49152}, {49152, 576}}) {
      const std::string base = std::string("gemm_") + (type == Type::kBF16 ? "bf16_" : "f32_") + std::to_string(s.k) + "x" + std::to_string(s.n);
      const auto bytes = static_cast<double>(s.k * s.n * (type == Type::kBF16 ? 2 : 4));
      if (!wanted(base)) continue;
      // Several copies of the weight, together beyond the caches, as the layers of a model are.
      const Buffer weight(type, s.k * s.n, 2);
      std::vector<PackedMatrix> packed;
      for (double total = 0; total < 96e6; total += bytes) {
        packed.push_back(make_packed(type, s.n, s.k));
        pack(pool, weight.data, s.k, packed.back());
      }
      for (const i64 m : {1, 8, 32, 64, 256, 512}) {
        const std::string name = base + "_m" + std::to_string(m);
        if (!wanted(name) || (std::max(s.n, s.k) > 10000 && (type == Type::kF32 || m > 256))) continue;
        const Buffer a(type, m * s.k, 3);
        Buffer c(Type::kF32, m * s.n, 4);
        GemmArgs args;
        args.a = a.data;
        args.m = m;
        args.lda = s.k;
        args.c = c.data;
        args.ldc = s.n;
        args.out_type = s.n > 10000 || type == Type::kF32 ? Type::kF32 : Type::kBF16;
        const Timing t = measure([&](int i) {
          args.b = &packed[static_cast<std::size_t>(i) % packed.size()];
          gemm(pool, args);
        });
        report(name, t, type, 2.0 * static_cast<double>(m * s.k * s.n), bytes);
      }
    }
  }
}

void packing(ComputePool& pool) {
  const i64 n = 3072, k = 576;
  for (const Type type : {Type::kBF16, Type::kF32}) {
    const std::string suffix = type == Type::kBF16 ? "_bf16_576x3072" : "_f32_576x3072";
    const double bytes = static_cast<double>(n * k) * (type == Type::kBF16 ? 2 : 4);
    std::vector<Buffer> weights;
    for (std::uint64_t i = 0; i < 24; ++i) weights.emplace_back(type, n * k, i);
    std::vector<PackedMatrix> straight, turned;
    for (int i = 0; i < 24; ++i) {
      straight.push_back(make_packed(type, n, k));
      turned.push_back(make_packed(type, k, n));
    }
    Buffer out(type, n * k, 5);
    if (wanted("pack" + suffix))
      report("pack" + suffix, measure([&](int i) { pack(pool, weights[i % 24].data, k, straight[i % 24]); }), type, 0, 2 * bytes);
    if (wanted("pack_transposed" + suffix))
      report("pack_transposed" + suffix, measure([&](int i) { pack_transposed(pool, weights[i % 24].data, k, turned[i % 24]); }), type, 0,
             2 * bytes);
    if (wanted("transpose" + suffix))
      report("transpose" + suffix, measure([&](int i) { transpose(pool, weights[i % 24].data, n, k, k, out.data, n, type); }), type, 0,
             2 * bytes);
  }
}

// SmolLM2: 9 heads, 3 kv heads, width 64. `rows` sequences (decode) or rows of one sequence (prefill) of `length`.
void attentions(ComputePool& pool) {
  const AttentionShape shape{9, 3, 64, 0.125f, Type::kBF16};
  const i64 q_width = 576, ld = 960;
  for (const bool decode : {true, false}) {
    for (const i64 length : {128, 512, 2048}) {
      const i64 rows_n = decode ? 64 : length;
      const std::string name = (decode ? "attention_decode_b64_" : "attention_prefill_") + std::to_string(length);
      if (!wanted(name)) continue;
      const i64 blocks_each = length / kKvBlock, sequences = decode ? rows_n : 1;
      Buffer memory(Type::kBF16, sequences * blocks_each * static_cast<i64>(kv_block_bytes(shape)) / 2, 6);
      std::vector<std::byte*> pointers;
      for (i64 i = 0; i < sequences * blocks_each; ++i) pointers.push_back(memory.data + i * static_cast<i64>(kv_block_bytes(shape)));
      std::vector<KvRow> rows;
      for (i64 i = 0; i < rows_n; ++i)
        rows.push_back({pointers.data() + (decode ? i * blocks_each : 0), static_cast<std::int32_t>(decode ? length - 1 : i)});
      const Buffer q(Type::kBF16, rows_n * ld, 7);
      Buffer out(Type::kBF16, rows_n * q_width, 8);
      const double positions = decode ? static_cast<double>(rows_n * length) : static_cast<double>(length) * static_cast<double>(length + 1) / 2;
      const Timing t = measure([&](int) { attention(pool, shape, q.data, ld, rows.data(), rows_n, 0, out.data, q_width, nullptr); });
      report(name, t, Type::kBF16, positions * 4 * 576, decode ? positions * 768 : 0);
    }
  }
  for (const i64 length : {128, 512}) {
    const std::string name = "attention_backward_4x" + std::to_string(length);
    if (!wanted(name)) continue;
    const i64 n = 4 * length;
    const Buffer qkv(Type::kBF16, n * ld, 9), d_out(Type::kBF16, n * q_width, 10), out(Type::kBF16, n * q_width, 11);
    Buffer d(Type::kBF16, n * ld, 12);
    std::vector<float> lse(static_cast<std::size_t>(n * 9), 6.f);
    std::vector<AttentionSequence> sequences;
    for (i64 i = 0; i < 4; ++i) sequences.push_back({static_cast<std::int32_t>(i * length), static_cast<std::int32_t>((i + 1) * length), -1, -1});
    const Timing t = measure([&](int) {
      attention_backward(pool, shape, qkv.data, qkv.data + 2 * 576, qkv.data + 2 * 768, ld, out.data, q_width, d_out.data, q_width, lse.data(),
                         sequences.data(), 4, d.data, d.data + 2 * 576, d.data + 2 * 768, ld);
    });
    report(name, t, Type::kBF16, 4.0 * static_cast<double>(length) * static_cast<double>(length + 1) / 2 * 10 * 576, 0);
  }
}

void rows_and_vocabulary(ComputePool& pool) {
  for (const i64 v : {49152, 151936}) {
    const std::string size = std::to_string(v);
    Buffer logits(Type::kF32, v, 13), d(Type::kBF16, v, 14);
    // Logits of a language model: most far below the few that carry the mass.
    for (i64 i = 0; i < v; ++i) logits.f()[i] = 4.f * std::pow(std::fabs(2.f * logits.f()[i]), 8.f) * 4.f + 6.f * logits.f()[i];
    const auto sample = [&](const std::string& name, SamplingArgs args) {
      if (!wanted(name)) return;
      report(name, measure([&](int i) {
               args.uniform = draw_uniform({1, 2, 3, 4}, static_cast<std::uint32_t>(i));
               sample_row(logits.f(), v, args);
             }), Type::kF32, 0, 0);
    };
    sample("sample_row_" + size, {});
    sample("sample_row_greedy_" + size, {0.f});
    sample("sample_row_top_k50_" + size, {1.f, 50});
    sample("sample_row_top_p095_" + size, {1.f, 0, 0.95f});
    sample("sample_row_min_p005_" + size, {1.f, 0, 1.f, 0.05f});
    RowStats stats = row_stats(logits.f(), v, 1.f, true);
    if (wanted("row_stats_" + size)) {
      report("row_stats_" + size, measure([&](int) { stats = row_stats(logits.f(), v, 1.f, false); }), Type::kF32, 0, 0);
    }
    if (wanted("row_logprob_backward_" + size)) {
      report("row_logprob_backward_" + size,
             measure([&](int) { row_logprob_backward(logits.f(), v, stats, 5, 1.f, 1.f, 0.f, d.data, Type::kBF16); }), Type::kF32, 0, 0);
    }
  }
  const i64 m = 512, width = 576, f = 1536;
  Buffer x(Type::kF32, m * width, 15), g(Type::kBF16, width, 16), y(Type::kBF16, m * 2 * f, 17), out(Type::kBF16, m * 2 * f, 18);
  std::vector<float> rstd(static_cast<std::size_t>(m), 1.f), dg(static_cast<std::size_t>(width));
  std::vector<std::int32_t> positions(static_cast<std::size_t>(m), 5);
  Buffer table_values(Type::kF32, 4096 * 32, 19);
  const auto simple = [&](const std::string& name, const std::function<void(int)>& fn) {
    if (wanted(name)) report(name, measure(fn), Type::kF32, 0, 0);
  };
  simple("rms_norm_512x576", [&](int) { rms_norm(pool, x.f(), m, width, g.data, 1e-5f, out.data, Type::kBF16, rstd.data()); });
  simple("rms_norm_backward_512x576", [&](int) { rms_norm_backward(pool, x.f(), g.data, rstd.data(), y.data, Type::kBF16, m, width, x.f(), dg.data()); });
  simple("rope_512x12x64", [&](int) { rope(pool, y.data, m, 12, 64, 960, positions.data(), table_values.f(), table_values.f(), 1.f, Type::kBF16); });
  simple("swiglu_512x1536", [&](int) { swiglu(pool, y.data, m, f, out.data, Type::kBF16); });
  simple("swiglu_backward_512x1536", [&](int) { swiglu_backward(pool, y.data, y.data, m, f, out.data, Type::kBF16); });
}

void optimizer(ComputePool& pool) {
  if (!wanted("adamw_16M") && !wanted("sum_of_squares_16M") && !wanted("first_non_finite_16M")) return;
  const i64 n = i64{16} << 20;
  Buffer p(Type::kF32, n, 20), mean(Type::kF32, n, 21), square(Type::kF32, n, 22), g(Type::kF32, n, 23), live(Type::kBF16, n, 24);
  for (i64 i = 0; i < n; ++i) square.f()[i] = std::fabs(square.f()[i]);
  const double bytes = static_cast<double>(n);
  if (wanted("adamw_16M"))
    report("adamw_16M", measure([&](int) {
             adamw(pool, p.f(), mean.f(), square.f(), g.f(), reinterpret_cast<bf16*>(live.data), n, {1e-6f, 0.9f, 0.99f, 1e-8f, 0.f, 0.5f, 0.5f, 1.f});
           }), Type::kF32, 0, 30 * bytes);
  if (wanted("sum_of_squares_16M")) report("sum_of_squares_16M", measure([&](int) { sum_of_squares(pool, g.f(), n); }), Type::kF32, 0, 4 * bytes);
  if (wanted("first_non_finite_16M")) report("first_non_finite_16M", measure([&](int) { first_non_finite(pool, g.f(), n); }), Type::kF32, 0, 4 * bytes);
}

void choose_isa(const std::string& name) {
  std::string known;
  for (const Isa which : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx}) {
    if (name == to_string(which)) return set_isa(which);
    known += std::string(known.empty() ? "" : ", ") + to_string(which);
  }
  throw ConfigError(message("unknown instruction set '", name, "'; one of ", known));
}

}  // namespace

void bench_cpu_kernels(const KernelBenchOptions& wished) {
  options = wished;
  if (!options.isa.empty()) choose_isa(options.isa);
  ComputePool pool(options.threads);
  ceilings(pool);
  gemms(pool);
  packing(pool);
  attentions(pool);
  rows_and_vocabulary(pool);
  optimizer(pool);
}

}  // namespace r1
