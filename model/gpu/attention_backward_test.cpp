// Attention's gradients against double precision, with and without shared prefixes, and equal bits for an equal plan.
#include <map>

#include "kernels/gpu/attention_test_support.h"
#include "model/gpu/train_plan.h"

namespace r1::gpu::test {
namespace {

// prompt of 70 with three answers, a lone sequence, a prompt of 64 (a whole page) with two answers.
PackedBatch batch_of_groups() {
  PackedBatch b;
  const auto add = [&](std::int32_t rows, std::int32_t prefix_begin, std::int32_t prefix_end) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    const std::int32_t first = prefix_begin < 0 ? 0 : prefix_end - prefix_begin;
    for (std::int32_t i = 0; i < rows; ++i) b.tokens.push_back(i % 7), b.positions.push_back(first + i);
    b.sequences.push_back({begin, begin + rows, prefix_begin, prefix_end});
    return begin;
  };
  add(70, -1, -1);
  for (const std::int32_t n : {5, 130, 64}) add(n, 0, 70);
  add(150, -1, -1);
  const std::int32_t p = add(64, -1, -1);
  for (const std::int32_t n : {33, 1}) add(n, p, p + 64);
  b.predictors = {0}, b.targets = {0};
  return b;
}

}  // namespace

TEST_CASE("gradients of attention, prefixes shared") {
  R1_NEEDS_GPU();
  const PackedBatch batch = batch_of_groups();
  const TrainPlan plan = plan_training(batch, 100, 100, true);
  for (const Heads& h : {Heads{14, 2, 64}, Heads{4, 2, 128}, Heads{3, 3, 96}}) {
    const i64 n = plan.rows, ld = (h.q + 2 * h.kv) * h.hd, width = h.q * h.hd;
    const float scale = 1.f / std::sqrt(static_cast<float>(h.hd));
    const auto qkv = bf16s(n * ld, 5, 1.2f), d_out = bf16s(n * width, 6);
    const Array<bf16> device_qkv(qkv), device_d_out(d_out), pages(plan.pages * h.kv * 2 * kPage * h.hd), out(n * width);
    const Array<float> lse(n * h.q);
    const KvPages kv{pages, h.kv * 2 * kPage * h.hd, h.kv, h.hd};
    const Array<std::int32_t> src(plan.kv_src), dst(plan.kv_dst), tables(plan.tables);
    const Array<PrefillItem> prefill(plan.prefill);
    write_kv(stream(), kv, device_qkv + h.q * h.hd, device_qkv + (h.q + h.kv) * h.hd, ld, src, dst, static_cast<i64>(plan.kv_src.size()));
    AttentionArgs a;
    a.pages = kv, a.q = device_qkv, a.ld = ld, a.heads = h.q, a.scale = scale, a.out = out, a.out_ld = width, a.lse = lse;
    attention_prefill(stream(), a, prefill, static_cast<i64>(plan.prefill.size()), tables);

    const Array<TrainSequence> sequences(plan.sequences);
    const Array<BackwardKeyItem> key_items(plan.key_items);
    const Array<BackwardQueryItem> query_items(plan.query_items);
    const Array<PrefixSum> sums(plan.prefix_sums);
    const Array<float> delta(n * h.q), partials(plan.partial_rows * 2 * h.kv * h.hd);
    const auto run = [&] {
      const Array<bf16> d_qkv(n * ld);
      AttentionBackwardArgs b;
      b.qkv = device_qkv, b.out = out, b.d_out = device_d_out, b.lse = lse, b.d_qkv = d_qkv;
      b.ld = ld, b.heads = h.q, b.kv_heads = h.kv, b.head_dim = h.hd, b.n = n, b.scale = scale;
      b.sequences = sequences, b.key_items = key_items, b.query_items = query_items, b.prefix_sums = sums;
      b.num_key_items = static_cast<i64>(plan.key_items.size()), b.num_query_items = static_cast<i64>(plan.query_items.size());
      b.num_prefix_sums = static_cast<i64>(plan.prefix_sums.size());
      b.delta = delta, b.partials = partials;
      attention_backward(stream(), b);
      return d_qkv.get();
    };
    const auto got = run();
    CHECK(same_bits(got, run()));

    std::vector<double> want(size(n * ld), 0.0);
    Worst forward;
    const auto got_out = out.get();
    for (const auto& s : batch.sequences) {
      for (std::int32_t r = s.begin; r < s.end; ++r) {
        std::vector<i64> keys;
        if (s.prefix_begin >= 0)
          for (std::int32_t k = s.prefix_begin; k < s.prefix_end; ++k) keys.push_back(k);
        for (std::int32_t k = s.begin; k <= r; ++k) keys.push_back(k);
        for (i64 head = 0; head < h.q; ++head) {
          const i64 kv_head = head / (h.q / h.kv);
          const AttentionRow row = attend(qkv, h, ld, r, head, keys, scale);
          const auto d = [&](i64 j) { return value(d_out[size(r * width + head * h.hd + j)]); };
          double total = 0;
          for (i64 j = 0; j < h.hd; ++j) {
            total += d(j) * row.out[size(j)];
            forward.take(value(got_out[size(r * width + head * h.hd + j)]), row.out[size(j)], 6e-3, 6e-3);
          }
          for (std::size_t i = 0; i < keys.size(); ++i) {
            double dp = 0;
            for (i64 j = 0; j < h.hd; ++j) dp += d(j) * value(qkv[size(keys[i] * ld + (h.q + h.kv + kv_head) * h.hd + j)]);
            const double ds = row.p[i] * (dp - total) * scale;
            for (i64 j = 0; j < h.hd; ++j) {
              want[size(r * ld + head * h.hd + j)] += ds * value(qkv[size(keys[i] * ld + (h.q + kv_head) * h.hd + j)]);
              want[size(keys[i] * ld + (h.q + kv_head) * h.hd + j)] += ds * value(qkv[size(r * ld + head * h.hd + j)]);
              want[size(keys[i] * ld + (h.q + h.kv + kv_head) * h.hd + j)] += row.p[i] * d(j);
            }
          }
        }
      }
    }
    Worst gradient;
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      gradient.take(value(got[i]), want[i], 0.05, 0.03);
      error += (value(got[i]) - want[i]) * (value(got[i]) - want[i]);
      norm += want[i] * want[i];
    }
    INFO(h.q, " ", h.kv, " ", h.hd, " forward ", forward.ratio, " gradient ", gradient.ratio, " relative ", std::sqrt(error / norm));
    CHECK(forward.ratio < 1);
    CHECK(gradient.ratio < 1);
    CHECK(std::sqrt(error / norm) < 6e-3);
  }
}

}  // namespace r1::gpu::test
