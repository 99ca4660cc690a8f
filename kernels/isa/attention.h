// Private to kernels/: attention over KV blocks. For one kv head a block holds
//   keys   [head_dim/2][16][2] bf16  or [head_dim][16] float32   (transposed; 4 bytes a position and step)
//   values [8][head_dim][2] bf16     or [16][head_dim] float32   (pairs of positions)
// With shared values a block has keys only; the values' form is made of them in scratch, for all query heads at once.
// Two passes: all scores of a row and their maximum, then exp, sum and the product with the values. The sum of exp runs
// over blocks in ascending order in 16 lanes; every output element is one chain over positions in ascending order.
// Rows are handled together only as far as that changes no row's own sequence of operations.
#pragma once

#include <type_traits>

#include "kernels/isa/attention_operands.h"
#include "kernels/table.h"

namespace r1::cpu::R1_ISA {

inline constexpr int kBlockVectors = static_cast<int>(kKvBlock) / W;  // vectors that hold one float a position
inline constexpr i64 kKeyStepBytes = kKvBlock * 4;

// Scratch of one (group of rows, kv head), n = rows * heads per kv head queries.
struct AttentionScratch {
  byte* q;        // [n][query_bytes] in the form the Op wants
  float* scores;  // [n][padded]
  byte* p;        // [n][weight_bytes] as A of the product with V
  float* out;     // [n][head_dim]
  float* sums;    // [n]
  byte* values;   // [blocks][kKvBlock * head_dim] in the form of values; only with shared values
  i64 query_bytes, padded, weight_bytes;
};

template <class Op> inline i64 attention_layout(const AttentionShape& s, i64 n, i64 longest, byte* base, AttentionScratch& out) {
  const i64 per_step = Op::kABytes;
  const i64 pairs = s.type == Type::kBF16 ? 2 : 1;
  out.padded = (longest + kKvBlock - 1) / kKvBlock * kKvBlock;
  out.query_bytes = s.head_dim / pairs * per_step;
  out.weight_bytes = out.padded / pairs * per_step;
  const auto up = [](i64 b) { return (b + 63) / 64 * 64; };
  byte* p = base;
  out.q = p;
  p += up(n * out.query_bytes);
  out.scores = f32(p);
  p += up(n * out.padded * 4);
  out.p = p;
  p += up(n * out.weight_bytes);
  out.out = f32(p);
  p += up(n * s.head_dim * 4);
  out.sums = f32(p);
  p += up(n * 4);
  out.values = p;
  if (s.shared_values) p += up(out.padded * s.head_dim * (4 / pairs));
  return p - base;
}

inline std::size_t attention_scratch(const AttentionShape& s, i64 rows, i64 longest) {
  AttentionScratch ignored;
  const i64 n = rows * (s.heads / s.kv_heads);
  return static_cast<std::size_t>(s.type == Type::kBF16 ? attention_layout<OpBf16>(s, n, longest, nullptr, ignored)
                                                        : attention_layout<OpF32>(s, n, longest, nullptr, ignored));
}

// While scores are computed: the next tile's keys, and this tile's values, which the second pass wants.
template <int NV> struct FetchBlocks {
  const byte* keys[NV];
  i64 values_offset;  // from a block's keys to its values
  const byte* here[NV];
  R1_INLINE void operator()(i64 s) const {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      __builtin_prefetch(keys[j] + s * kKeyStepBytes, 0, 3);
      __builtin_prefetch(here[j] + values_offset + s * kKeyStepBytes, 0, 2);
    }
  }
};

template <class Op, int MR, int NV, class Fetch>
inline void score_tile(i64 steps, const byte* q, i64 q_bytes, const Scattered<NV>& keys, vf scale, float* out, i64 out_ld,
                       const Fetch& fetch) {
  Acc<MR, NV> acc;
  acc.clear();
  multiply<Op, MR, NV>(steps, q, q_bytes, keys, kKeyStepBytes, acc, fetch);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) store(out + r * out_ld + j * W, acc.v[r][j] * scale);
}

// Scores of queries [first, first + n) against blocks [b0, b1); key_at(b) gives a block's keys.
template <class Op, int NV, class KeyAt>
inline void scores_of(i64 steps, const AttentionScratch& s, i64 first, i64 n, i64 b0, i64 b1, vf scale, const KeyAt& key_at) {
  const i64 values_offset = steps * kKeyStepBytes;
  for (i64 vec = b0 * kBlockVectors; vec < b1 * kBlockVectors; vec += NV) {
    Scattered<NV> keys;
    FetchBlocks<NV> fetch;
    fetch.values_offset = values_offset;
    for (int j = 0; j < NV; ++j) {
      const i64 block = (vec + j) / kBlockVectors, next = (vec + NV + j) / kBlockVectors;
      keys.p[j] = key_at(block) + (vec + j) % kBlockVectors * static_cast<i64>(sizeof(vf));
      fetch.here[j] = key_at(block);
      fetch.keys[j] = next < b1 ? key_at(next) : keys.p[j];
    }
    for (i64 i = first; i < first + n;) {
      const i64 rows = next_tile<Op>(first + n - i);
      const byte* q = s.q + i * s.query_bytes;
      float* out = s.scores + i * s.padded + vec * W;
      if (n <= Op::kRows) {  // few queries: decoding, with keys and values still in memory
        R1_DISPATCH_ROWS(rows, (score_tile<Op, MR, NV>(steps, q, s.query_bytes, keys, scale, out, s.padded, fetch)))
      } else {
        R1_DISPATCH_ROWS(rows, (score_tile<Op, MR, NV>(steps, q, s.query_bytes, keys, scale, out, s.padded, NoFetch{})))
      }
      i += rows;
    }
  }
}
template <class Op, class KeyAt>
inline void all_scores(i64 steps, const AttentionScratch& s, i64 first, i64 n, i64 b0, i64 b1, vf scale, const KeyAt& key_at) {
  // As wide as registers allow; a rest of blocks in one narrower tile.
  if constexpr (W == 16) {
    const i64 whole = b0 + (b1 - b0) / 4 * 4;
    scores_of<Op, 4>(steps, s, first, n, b0, whole, scale, key_at);
    if (b1 - whole == 3) scores_of<Op, 3>(steps, s, first, n, whole, b1, scale, key_at);
    if (b1 - whole == 2) scores_of<Op, 2>(steps, s, first, n, whole, b1, scale, key_at);
    if (b1 - whole == 1) scores_of<Op, 1>(steps, s, first, n, whole, b1, scale, key_at);
  } else {
    scores_of<Op, 2>(steps, s, first, n, b0, b1, scale, key_at);
  }
}

// Lanes at and behind n become -inf.
R1_INLINE vf first_lanes(vf v, i64 n) {
  const vf lowest = splat(-__builtin_inff());
#if defined(__AVX512F__)
  const auto keep = static_cast<__mmask16>(n <= 0 ? 0u : n >= W ? 0xffffu : (1u << n) - 1);
  return (vf)_mm512_mask_mov_ps((__m512)lowest, keep, (__m512)v);
#else
  for (i64 i = max_of(n, 0); i < W; ++i) v[i] = lowest[i];
  return v;
#endif
}

// The form of values from that of keys, of one block.
template <bool kBf16> inline void values_of_keys(const byte* keys, i64 d, byte* values) {
  for (i64 s = 0; s < kKvBlock / (kBf16 ? 2 : 1); ++s)
    for (i64 j = 0; j < d / (kBf16 ? 2 : 1); ++j) {
      std::uint32_t a, b;
      if constexpr (kBf16) {
        __builtin_memcpy(&a, keys + j * kKeyStepBytes + 2 * s * 4, 4);
        __builtin_memcpy(&b, keys + j * kKeyStepBytes + (2 * s + 1) * 4, 4);
        const std::uint32_t low = (a & 0xffffu) | (b << 16), high = (a >> 16) | (b & 0xffff0000u);
        __builtin_memcpy(values + (s * d + 2 * j) * 4, &low, 4);
        __builtin_memcpy(values + (s * d + 2 * j + 1) * 4, &high, 4);
      } else {
        __builtin_memcpy(&a, keys + j * kKeyStepBytes + s * 4, 4);
        __builtin_memcpy(values + (s * d + j) * 4, &a, 4);
      }
    }
}

// Softmax of one query over positions [first, length): weights to p, the rest of the first and last block 0. Returns the sum.
template <class Op, bool kBf16> inline float softmax_row(float* s, i64 first, i64 length, float softcap, byte* p, float* max_out) {
  const i64 padded = (length + kKvBlock - 1) / kKvBlock * kKvBlock;
  if (softcap > 0) {
    const vf cap = splat(softcap), inverse = splat(1.f / softcap);
    for (i64 i = 0; i < padded; i += W) store(s + i, cap * tanh(load(s + i) * inverse));
  }
  for (i64 i = 0; i < first; ++i) s[i] = -__builtin_inff();
  if (length < padded) {
    float* last = s + padded - kKvBlock;
    for (int j = 0; j < kBlockVectors; ++j) store(last + j * W, first_lanes(load(last + j * W), length - (padded - kKvBlock) - j * W));
  }
  vf m = splat(-__builtin_inff());
  for (i64 i = 0; i < padded; i += W) m = max_or_b(load(s + i), m);
  const float max = max_lanes(m);
  vf sum[kBlockVectors];
  for (int j = 0; j < kBlockVectors; ++j) sum[j] = zero();
  for (i64 i = 0; i < padded; i += kKvBlock) {
    for (int j = 0; j < kBlockVectors; ++j) {
      const vf e = exp_nonpositive(load(s + i + j * W) - splat(max));
      sum[j] = sum[j] + e;
      if constexpr (kBf16 && Op::kABytes == 4) store(reinterpret_cast<bf16*>(p) + i + j * W, e);
      else store(f32(p) + i + j * W, e);
    }
  }
  *max_out = max;
  // The 16 lanes by halves, whatever the vector width.
  for (int n = kBlockVectors / 2; n > 0; n /= 2)
    for (int j = 0; j < n; ++j) sum[j] = sum[j] + sum[j + n];
  return sum_lanes(sum[0]);
}

// The part of a row's last block that the row sees. Behind it may lie anything, NaN included: it is never multiplied.
struct Tail {
  i64 steps = 0;                 // whole steps
  const byte* values = nullptr;
  const byte* half = nullptr;    // one more step whose second position is masked out; null = none
};

// out[MR][NV vectors] += p * V over blocks [b0, b1), then the tail; accumulators pass through memory between calls unchanged.
template <class Op, int MR, int NV, class ValueAt>
inline void value_tile(i64 b0, i64 b1, i64 steps_per_block, i64 step_bytes, const byte* p, i64 p_bytes, i64 column, float* out,
                       i64 out_ld, const ValueAt& value_at, const Tail& tail) {
  Acc<MR, NV> acc;
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc.v[r][j] = load(out + r * out_ld + column + j * W);
  p += b0 * steps_per_block * Op::kABytes;
  for (i64 b = b0; b < b1; ++b, p += steps_per_block * Op::kABytes)
    multiply<Op, MR, NV>(steps_per_block, p, p_bytes, Adjacent{value_at(b) + column * 4}, step_bytes, acc);
  if (tail.steps > 0) multiply<Op, MR, NV>(tail.steps, p, p_bytes, Adjacent{tail.values + column * 4}, step_bytes, acc);
  if (tail.half != nullptr)
    multiply<Op, MR, NV>(1, p + tail.steps * Op::kABytes, p_bytes, Adjacent{tail.half + column * 4}, step_bytes, acc);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) store(out + r * out_ld + column + j * W, acc.v[r][j]);
}

// Queries [first, first + n): blocks [b0, b1), all of them wholly before each query's end, then the tail.
template <class Op, class ValueAt>
inline void weighted_values(const AttentionScratch& s, i64 head_dim, i64 steps_per_block, i64 first, i64 n, i64 b0, i64 b1,
                            const ValueAt& value_at, const Tail& tail) {
  if (b0 >= b1 && tail.steps == 0 && tail.half == nullptr) return;
  const i64 bytes = head_dim * 4;
  for (i64 i = first; i < first + n;) {
    const i64 rows = next_tile<Op>(first + n - i);
    const byte* p = s.p + i * s.weight_bytes;
    float* out = s.out + i * head_dim;
    i64 column = 0;
    constexpr int kWide = W == 16 ? 4 : 2;
    for (; column + kWide * W <= head_dim; column += kWide * W) {
      R1_DISPATCH_ROWS(rows, (value_tile<Op, MR, kWide>(b0, b1, steps_per_block, bytes, p, s.weight_bytes, column, out, head_dim,
                                                        value_at, tail)))
    }
    for (; column < head_dim; column += W) {
      R1_DISPATCH_ROWS(rows, (value_tile<Op, MR, 1>(b0, b1, steps_per_block, bytes, p, s.weight_bytes, column, out, head_dim,
                                                    value_at, tail)))
    }
    i += rows;
  }
}

template <class Op, bool kBf16>
inline void attention_typed(const AttentionCall& c, i64 begin, i64 count, i64 joint, bool same_sequence, i64 kv_head, byte* base) {
  using T = std::conditional_t<kBf16, bf16, float>;
  const AttentionShape& shape = c.shape;
  const i64 d = shape.head_dim, reps = shape.heads / shape.kv_heads, n = count * reps;
  const i64 steps = kBf16 ? d / 2 : d, steps_per_block = kBf16 ? kKvBlock / 2 : kKvBlock;
  const i64 head_bytes = (shape.shared_values ? 1 : 2) * kKvBlock * d * static_cast<i64>(sizeof(T));
  const i64 keys_offset = static_cast<i64>(c.layer_offset) + kv_head * head_bytes;
  const i64 values_offset = keys_offset + head_bytes / 2;
  i64 longest = 0;
  for (i64 r = 0; r < count; ++r) longest = max_of(longest, c.rows[begin + r].position + 1);
  AttentionScratch s;
  attention_layout<Op>(shape, n, longest, base, s);

  for (i64 i = 0; i < n; ++i) {
    const byte* q = c.q + ((begin + i / reps) * c.ld + (kv_head * reps + i % reps) * d) * static_cast<i64>(sizeof(T));
    if constexpr (kBf16) prepare_a_row<Op>(reinterpret_cast<const bf16*>(q), d, steps, s.q + i * s.query_bytes);
    else __builtin_memcpy(s.q + i * s.query_bytes, q, static_cast<std::size_t>(d) * 4);
    for (i64 j = 0; j < d; j += W) store(s.out + i * d + j, zero());
  }
  const vf scale = splat(shape.scale);
  const auto at = [&](i64 row, i64 offset) {
    return [blocks = c.rows[begin + row].blocks, offset](i64 b) { return static_cast<const byte*>(blocks[b]) + offset; };
  };
  // Rows of one sequence score against all its blocks together: a position beyond a row's own spoils only its own lane,
  // which the softmax masks.
  const i64 joint_scores = same_sequence ? s.padded / kKvBlock : joint;
  all_scores<Op>(steps, s, 0, n, 0, joint_scores, scale, at(0, keys_offset));
  for (i64 r = 0; r < count; ++r) {
    const i64 length = c.rows[begin + r].position + 1;
    all_scores<Op>(steps, s, r * reps, reps, joint_scores, (length + kKvBlock - 1) / kKvBlock, scale, at(r, keys_offset));
    for (i64 i = r * reps; i < (r + 1) * reps; ++i) {
      float max;
      const i64 first = shape.window > 0 ? max_of(0, length - shape.window) : 0;
      s.sums[i] = softmax_row<Op, kBf16>(s.scores + i * s.padded, first, length, shape.softcap, s.p + i * s.weight_bytes, &max);
      if (c.lse != nullptr) c.lse[(begin + r) * shape.heads + kv_head * reps + i % reps] = max + __builtin_logf(s.sums[i]);
    }
  }
  // Shared values lie in scratch: blocks below `joint` once for all rows, the rest again for each row.
  const i64 value_bytes = kKvBlock * d * static_cast<i64>(sizeof(T));
  const auto made_at = [&](i64 b) { return static_cast<const byte*>(s.values) + b * value_bytes; };
  const auto make_values = [&](i64 row, i64 b0, i64 b1) {
    for (i64 b = b0; b < b1; ++b) values_of_keys<kBf16>(at(row, keys_offset)(b), d, s.values + b * value_bytes);
  };
  if (shape.shared_values) {
    make_values(0, 0, joint);
    weighted_values<Op>(s, d, steps_per_block, 0, n, 0, joint, made_at, Tail{});
  } else {
    weighted_values<Op>(s, d, steps_per_block, 0, n, 0, joint, at(0, values_offset), Tail{});
  }
  for (i64 r = 0; r < count; ++r) {
    const i64 length = c.rows[begin + r].position + 1, whole = length / kKvBlock, valid = length % kKvBlock;
    alignas(64) byte half[kMaxHeadDim * 4];
    Tail tail;
    if (shape.shared_values) make_values(r, joint, whole + (valid > 0 ? 1 : 0));
    if (valid > 0) {
      tail.values = shape.shared_values ? made_at(whole) : at(r, values_offset)(whole);
      tail.steps = kBf16 ? valid / 2 : valid;
      if (kBf16 && valid % 2 != 0) {
        tail.half = half;
        for (i64 j = 0; j < d; j += W) store_bits(half + j * 4, load_bits<vu>(tail.values + (tail.steps * d + j) * 4) & 0xffffu);
      }
    }
    if (shape.shared_values) weighted_values<Op>(s, d, steps_per_block, r * reps, reps, joint, whole, made_at, tail);
    else weighted_values<Op>(s, d, steps_per_block, r * reps, reps, joint, whole, at(r, values_offset), tail);
    for (i64 i = r * reps; i < (r + 1) * reps; ++i) {
      const vf inverse = splat(1.f / s.sums[i]);
      T* out = reinterpret_cast<T*>(c.out) + (begin + r) * c.out_ld + (kv_head * reps + i % reps) * d;
      for (i64 j = 0; j < d; j += W) store(out + j, load(s.out + i * d + j) * inverse);
    }
  }
}

inline void attention(const AttentionCall& c, i64 begin, i64 count, i64 joint, bool same_sequence, i64 kv_head, byte* scratch) {
  if (c.shape.type == Type::kBF16) attention_typed<OpBf16, true>(c, begin, count, joint, same_sequence, kv_head, scratch);
  else attention_typed<OpF32, false>(c, begin, count, joint, same_sequence, kv_head, scratch);
}

// Where a row's keys of a head go; null for a row without blocks. The values follow half a block later, unless they are shared.
R1_INLINE byte* keys_of(const WriteKvCall& c, i64 row, i64 head, i64 half) {
  const KvRow& r = c.rows[row];
  return r.blocks == nullptr ? nullptr : r.blocks[r.position / kKvBlock] + c.layer_offset + head * (c.shape.shared_values ? 1 : 2) * half;
}

inline void write_kv(const WriteKvCall& c, i64 begin, i64 end) {
  const i64 d = c.shape.head_dim, element = c.shape.type == Type::kBF16 ? 2 : 4;
  const i64 half = kKvBlock * d * element, steps = c.shape.type == Type::kBF16 ? (d + 1) / 2 : d;
  const i64 items = (end - begin) * c.shape.kv_heads;
  for (i64 i = 0; i < items; ++i) {
    const i64 m = begin + i / c.shape.kv_heads, h = i % c.shape.kv_heads;
    if (i + 1 < items) {
      // A row touches a line a step, seldom in cache: ask for the next row's while this one is written.
      const byte* next = keys_of(c, begin + (i + 1) / c.shape.kv_heads, (i + 1) % c.shape.kv_heads, half);
      if (next != nullptr)
        for (i64 s = 0; s < steps; ++s) __builtin_prefetch(next + s * kKeyStepBytes, 1, 3);
    }
    byte* keys = keys_of(c, m, h, half);
    if (keys == nullptr) continue;
    const i64 slot = c.rows[m].position % kKvBlock;
    byte* values = keys + half;
    const byte* k = c.k + (m * c.ld + h * d) * element;
    const byte* v = c.v + (m * c.ld + h * d) * element;
    if (c.shape.type == Type::kBF16) {
      for (i64 j = 0; j < d; j += 2) __builtin_memcpy(keys + j / 2 * kKeyStepBytes + slot * 4, k + j * 2, 4);
      if (c.shape.shared_values) continue;
      byte* to = values + slot / 2 * d * 4 + slot % 2 * 2;
      for (i64 j = 0; j < d; ++j) __builtin_memcpy(to + j * 4, v + j * 2, 2);
    } else {
      for (i64 j = 0; j < d; ++j) __builtin_memcpy(keys + j * kKeyStepBytes + slot * 4, k + j * 4, 4);
      if (c.shape.shared_values) continue;
      __builtin_memcpy(values + slot * d * 4, v, static_cast<std::size_t>(d) * 4);
    }
  }
}

}  // namespace r1::cpu::R1_ISA
