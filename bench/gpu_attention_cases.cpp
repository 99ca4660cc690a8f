// Attention: decoding at 512 positions a sequence, prefill and training at 1,024 rows a sequence, beside the bytes of keys and values
// (decoding) or the operations of a causal triangle.
#include <cstdio>

#include <nlohmann/json.hpp>

#include "bench/gpu_kernel_cases.h"
#include "kernels/gpu/attention.h"
#include "kernels/gpu/weights.h"

namespace r1 {
namespace {

using namespace gpu;
using i64 = std::int64_t;

template <class T> DeviceMemory on_device(OwnedStream& s, const std::vector<T>& host) {
  DeviceMemory memory(host.size() * sizeof(T));
  copy_to_device(s, memory.data(), host.data(), host.size() * sizeof(T));
  s.synchronize();
  return memory;
}

// Pages of sequences of `length` positions, one after another, with small random keys and values.
struct Cache {
  i64 pages_each, stride;
  DeviceMemory memory, tables;
  Cache(OwnedStream& s, const KernelBenchOptions& o, i64 sequences, i64 length)
      : pages_each((length + kPage - 1) / kPage), stride(o.kv_heads * 2 * kPage * o.head_dim),
        memory(static_cast<std::size_t>(sequences * pages_each * stride) * 2), tables(on_device(s, numbers(sequences * pages_each))) {
    fill_random(s, memory.as<bf16>(), sequences * pages_each * stride, 1, 2, 1.f);
  }
  static std::vector<std::int32_t> numbers(i64 n) {
    std::vector<std::int32_t> v;
    for (i64 i = 0; i < n; ++i) v.push_back(static_cast<std::int32_t>(i));
    return v;
  }
};

void print(const GpuBench& b, const char* name, i64 rows, i64 length, double us, double bytes, double flops) {
  nlohmann::ordered_json line{{"kernel", name}, {"n", rows}, {"positions", length}, {"head_dim", b.options.head_dim}, {"us", us}};
  if (bytes > 0) line.update({{"gb_s", bytes / us * 1e-3}, {"of_copy", bytes / (us * 1e-6) / b.copy_bytes_per_s}});
  line["tflop_s"] = flops / us * 1e-6;
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

void decode(const GpuBench& b, i64 rows, i64 length) {
  const KernelBenchOptions& o = b.options;
  OwnedStream& s = b.stream;
  const i64 ld = (o.heads + 2 * o.kv_heads) * o.head_dim, bytes = rows * length * o.kv_heads * o.head_dim * 4;
  const i64 sets = std::clamp<i64>(2 * b.l2_bytes / bytes + 1, 1, 64);
  const Cache cache(s, o, rows * sets, length);
  const i64 per_row = o.kv_heads * ((o.heads / o.kv_heads + 15) / 16);
  std::vector<DecodeItem> items, of_set;
  std::int32_t slots = 0;
  for (i64 set = 0; set < sets; ++set) {
    std::vector<std::int32_t> tables;
    for (i64 r = 0; r < rows; ++r) tables.push_back(static_cast<std::int32_t>((set * rows + r) * cache.pages_each));
    slots = decode_items(std::vector<std::int32_t>(static_cast<std::size_t>(rows), static_cast<std::int32_t>(length - 1)), tables, per_row, device_info().multiprocessors, of_set);
    items.insert(items.end(), of_set.begin(), of_set.end());
  }
  const auto each = static_cast<i64>(of_set.size());
  const DeviceMemory device_items = on_device(s, items), count = on_device(s, std::vector<std::int32_t>{static_cast<std::int32_t>(each)});
  const DeviceMemory q(static_cast<std::size_t>(rows * ld) * 2), out(static_cast<std::size_t>(rows * o.heads * o.head_dim) * 2),
      angles(static_cast<std::size_t>(length * o.head_dim / 2) * 4), partials(decode_partial_bytes(std::max(slots, 1), o.heads, o.kv_heads, o.head_dim)),
      counters(static_cast<std::size_t>(rows * o.heads) * 4);
  fill_random(s, q.as<bf16>(), rows * ld, 3, 4, 1.f);
  fill_bytes(s, angles.data(), 0x3c, angles.bytes());
  fill_bytes(s, counters.data(), 0, counters.bytes());
  AttentionArgs args;
  args.pages = {cache.memory.as<bf16>(), cache.stride, o.kv_heads, o.head_dim};
  args.q = q.as<bf16>(), args.ld = ld, args.heads = o.heads, args.scale = 0.125f, args.out = out.as<bf16>(), args.out_ld = o.heads * o.head_dim;
  args.cos = args.sin = angles.as<float>();
  const DecodeGrid grid = decode_grid(rows, per_row, o.head_dim);
  const std::vector<double> us = replay_us(s, static_cast<int>(std::max<i64>(sets, 64)), [&](int i) {
    attention_decode(s, args, device_items.as<DecodeItem>() + i % sets * each, count.as<std::int32_t>(), cache.tables.as<std::int32_t>(), partials.as<float>(),
                     counters.as<std::int32_t>(), grid);
  });
  print(b, "attention_decode", rows, length, us[us.size() / 2], static_cast<double>(bytes), 4.0 * static_cast<double>(rows * length * o.heads * o.head_dim));
}

void prefill(const GpuBench& b, i64 sequences, i64 length) {
  const KernelBenchOptions& o = b.options;
  OwnedStream& s = b.stream;
  const i64 n = sequences * length, ld = (o.heads + 2 * o.kv_heads) * o.head_dim;
  const Cache cache(s, o, sequences, length);
  std::vector<PrefillItem> items;
  for (i64 q = 0; q < sequences; ++q)
    for (i64 r = 0; r < length; r += 64)
      items.push_back({static_cast<std::int32_t>(q * length + r), static_cast<std::int32_t>(std::min<i64>(64, length - r)), static_cast<std::int32_t>(r),
                       static_cast<std::int32_t>(q * cache.pages_each)});
  const DeviceMemory device_items = on_device(s, items), q(static_cast<std::size_t>(n * ld) * 2), out(static_cast<std::size_t>(n * o.heads * o.head_dim) * 2),
                     lse(static_cast<std::size_t>(n * o.heads) * 4);
  fill_random(s, q.as<bf16>(), n * ld, 3, 4, 1.f);
  AttentionArgs args;
  args.pages = {cache.memory.as<bf16>(), cache.stride, o.kv_heads, o.head_dim};
  args.q = q.as<bf16>(), args.ld = ld, args.heads = o.heads, args.scale = 0.125f, args.out = out.as<bf16>(), args.out_ld = o.heads * o.head_dim, args.lse = lse.as<float>();
  const std::vector<double> us = replay_us(s, 16, [&](int) {
    attention_prefill(s, args, device_items.as<PrefillItem>(), static_cast<i64>(items.size()), cache.tables.as<std::int32_t>());
  });
  const double pairs = static_cast<double>(sequences) * static_cast<double>(length) * static_cast<double>(length + 1) / 2;
  print(b, "attention_prefill", n, length, us[us.size() / 2], 0, 4 * pairs * static_cast<double>(o.heads * o.head_dim));
}

void backward(const GpuBench& b, i64 sequences, i64 length) {
  const KernelBenchOptions& o = b.options;
  OwnedStream& s = b.stream;
  const i64 n = sequences * length, ld = (o.heads + 2 * o.kv_heads) * o.head_dim, width = o.heads * o.head_dim;
  std::vector<TrainSequence> ranges;
  std::vector<BackwardKeyItem> keys;
  std::vector<BackwardQueryItem> queries;
  for (i64 q = 0; q < sequences; ++q) {
    ranges.push_back({static_cast<std::int32_t>(q * length), static_cast<std::int32_t>((q + 1) * length)});
    for (i64 k = 0; k * kPage < length; ++k) keys.push_back({static_cast<std::int32_t>(q), static_cast<std::int32_t>(k)});
    for (i64 r = 0; r < length; r += 64) queries.push_back({static_cast<std::int32_t>(q), static_cast<std::int32_t>(r)});
  }
  const DeviceMemory d_ranges = on_device(s, ranges), d_keys = on_device(s, keys), d_queries = on_device(s, queries);
  const DeviceMemory qkv(static_cast<std::size_t>(n * ld) * 2), d_qkv(static_cast<std::size_t>(n * ld) * 2), out(static_cast<std::size_t>(n * width) * 2),
      d_out(static_cast<std::size_t>(n * width) * 2), lse(static_cast<std::size_t>(n * o.heads) * 4), delta(static_cast<std::size_t>(n * o.heads) * 4);
  fill_random(s, qkv.as<bf16>(), n * ld, 1, 2, 1.f);
  fill_random(s, out.as<bf16>(), n * width, 3, 4, 1.f);
  fill_random(s, d_out.as<bf16>(), n * width, 5, 6, 1.f);
  fill_bytes(s, lse.data(), 0x40, lse.bytes());  // 3.0
  AttentionBackwardArgs a;
  a.qkv = qkv.as<bf16>(), a.out = out.as<bf16>(), a.d_out = d_out.as<bf16>(), a.lse = lse.as<float>(), a.d_qkv = d_qkv.as<bf16>();
  a.ld = ld, a.heads = o.heads, a.kv_heads = o.kv_heads, a.head_dim = o.head_dim, a.n = n, a.scale = 0.125f;
  a.sequences = d_ranges.as<TrainSequence>(), a.delta = delta.as<float>();
  a.key_items = d_keys.as<BackwardKeyItem>(), a.num_key_items = static_cast<i64>(keys.size());
  a.query_items = d_queries.as<BackwardQueryItem>(), a.num_query_items = static_cast<i64>(queries.size());
  const std::vector<double> us = replay_us(s, 16, [&](int) { attention_backward(s, a); });
  const double pairs = static_cast<double>(sequences) * static_cast<double>(length) * static_cast<double>(length + 1) / 2;
  print(b, "attention_backward", n, length, us[us.size() / 2], 0, 10 * pairs * static_cast<double>(width));
}

}  // namespace

void gpu_attention_cases(const GpuBench& b) {
  if (!attention_supports(b.options.head_dim)) return;
  if (b.options.wants("attention_decode"))
    for (const i64 rows : b.options.rows) decode(b, rows, 512);
  if (b.options.wants("attention_prefill")) prefill(b, 16, 1024);
  if (b.options.wants("attention_backward")) backward(b, 16, 1024);
}

}  // namespace r1
