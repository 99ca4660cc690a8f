// LoRA kernels against double, over pairs of awkward sizes: merging and the pairs' gradient, with and without a mask.
#include "kernels/gpu/lora.h"

#include <bit>

#include "core/spread.h"
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {
namespace {

struct Pairs {
  std::vector<LoraSlot> slots;
  i64 rank, values = 0, columns = 0, weights = 0, base = 0;
  explicit Pairs(i64 r) : rank(r) {
    for (const auto& [out, in] : {std::pair<i64, i64>{1, 8}, {17, 300}, {64, 256}, {130, 24}, {5, 513}}) {
      LoraSlot s;
      s.out = out, s.in = in, s.weight = weights + 64, s.base = base, s.a = values, s.b = values + rank * in, s.column = columns;
      weights = s.weight + out * in, base += out * in, values += rank * (in + out), columns += in;
      slots.push_back(s);
    }
    weights += 64;
  }
};

}  // namespace

TEST_CASE("LoRA: base + scale B A, rounded once, and nothing beside the pairs is touched") {
  R1_NEEDS_GPU();
  for (const i64 rank : {i64{1}, i64{16}, i64{40}})
    for (const bool masked : {false, true}) {
      CAPTURE(rank);
      CAPTURE(masked);
      Pairs p(rank);
      const auto values = floats(p.values, 1, 0.2f);
      const auto base = bf16s(p.base, 2), before = bf16s(p.weights, 3);
      auto mask = floats(p.columns, 4);
      for (float& m : mask) m = m < 0 ? 0.f : 2.f;
      LoraWork work = lay_out_tiles(p.slots.data(), static_cast<i64>(p.slots.size()), rank, 0.5f);
      const Array<LoraSlot> slots(p.slots);
      work.slots = slots;
      const Array<float> values_d(values), mask_d(mask);
      const Array<bf16> base_d(base), arena(before);
      lora_merge(stream(), work, values_d, masked ? mask_d.ptr() : nullptr, base_d, arena);
      const auto got = arena.get();
      std::vector<std::uint8_t> of_pair(before.size());
      Worst worst;
      for (const LoraSlot& s : p.slots)
        for (i64 o = 0; o < s.out; ++o)
          for (i64 i = 0; i < s.in; ++i) {
            const i64 at = s.weight + o * s.in + i;
            of_pair[size(at)] = 1;
            double sum = 0;
            for (i64 k = 0; k < rank; ++k) sum += double{values[size(s.b + o * rank + k)]} * values[size(s.a + k * s.in + i)];
            sum *= 0.5 * (masked ? mask[size(s.column + i)] : 1.f);
            const std::uint32_t bits = std::uint32_t{base[size(s.base + o * s.in + i)]} << 16;
            const double want = static_cast<double>(std::bit_cast<float>(spread_in_cell(bits, static_cast<std::uint64_t>(at)))) + sum;
            worst.take(value(got[size(at)]), want, 1e-5, kBf16Step * 1.01);
          }
      CHECK(worst.ratio <= 1);
      i64 touched = 0;
      for (std::size_t i = 0; i < before.size(); ++i) touched += !of_pair[i] && got[i] != before[i];
      CHECK(touched == 0);
      // With B = 0 the weights are the base.
      auto zero = values;
      for (const LoraSlot& s : p.slots) std::fill_n(zero.begin() + s.b, s.out * rank, 0.f);
      lora_merge(stream(), work, Array<float>(zero), masked ? mask_d.ptr() : nullptr, base_d, arena);
      const auto plain = arena.get();
      i64 differing = 0;
      for (const LoraSlot& s : p.slots)
        for (i64 j = 0; j < s.out * s.in; ++j) differing += plain[size(s.weight + j)] != base[size(s.base + j)];
      CHECK(differing == 0);
    }
}

TEST_CASE("LoRA: the pairs' gradient from the weights', added, the same bits each time") {
  R1_NEEDS_GPU();
  for (const i64 rank : {i64{1}, i64{16}, i64{40}})
    for (const bool masked : {false, true})
      for (const bool half : {false, true}) {
        CAPTURE(rank);
        CAPTURE(masked);
        CAPTURE(half);
        Pairs p(rank);
        const auto values = floats(p.values, 5, 0.2f), before = floats(p.values, 6);
        const auto dw16 = bf16s(p.weights, 7);
        std::vector<float> dw(dw16.size());
        for (std::size_t i = 0; i < dw.size(); ++i) dw[i] = static_cast<float>(value(dw16[i]));
        auto mask = floats(p.columns, 8);
        for (float& m : mask) m = m < 0 ? 0.f : 2.f;
        LoraWork work = lay_out_tiles(p.slots.data(), static_cast<i64>(p.slots.size()), rank, 0.5f);
        const Array<LoraSlot> slots(p.slots);
        work.slots = slots;
        const Array<float> values_d(values), mask_d(mask), dw_d(dw), gradient(before), again(before);
        const Array<bf16> dw16_d(dw16);
        const float* const m = masked ? mask_d.ptr() : nullptr;
        for (const Array<float>* out : {&gradient, &again}) {
          if (half) lora_project(stream(), work, values_d, m, dw16_d.ptr(), *out);
          else lora_project(stream(), work, values_d, m, dw_d.ptr(), *out);
        }
        const auto got = gradient.get();
        CHECK(same_bits(got, again.get()));
        Worst worst;
        for (const LoraSlot& s : p.slots) {
          const auto factor = [&](i64 i) { return masked ? double{mask[size(s.column + i)]} : 1.0; };
          for (i64 k = 0; k < rank; ++k) {
            for (i64 o = 0; o < s.out; ++o) {
              double sum = 0;
              for (i64 i = 0; i < s.in; ++i) sum += double{dw[size(s.weight + o * s.in + i)]} * values[size(s.a + k * s.in + i)] * factor(i);
              const i64 at = s.b + o * rank + k;
              worst.take(got[size(at)], before[size(at)] + 0.5 * sum, 3e-5, 1e-5);
            }
            for (i64 i = 0; i < s.in; ++i) {
              double sum = 0;
              for (i64 o = 0; o < s.out; ++o) sum += double{dw[size(s.weight + o * s.in + i)]} * values[size(s.b + o * rank + k)];
              const i64 at = s.a + k * s.in + i;
              worst.take(got[size(at)], before[size(at)] + 0.5 * factor(i) * sum, 3e-5, 1e-5);
            }
          }
        }
        CHECK(worst.count == p.values);
        CHECK(worst.ratio <= 1);
      }
}

}  // namespace r1::gpu::test
