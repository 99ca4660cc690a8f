// Private to kernels/: gradients of attention for one family of sequences (a prefix and its sharers) and one query head.
//   P = exp(scale Q K^T - lse), dV = P^T dO, dP = dO V^T, dS = scale P (dP - rowsum(dO O)), dQ = dS K, dK = dS^T Q
// and with a softcap c the scores are c tanh(scale Q K^T / c), whose slope 1 - tanh^2 goes into dS.
// Tiles of 48 keys by 64 queries, held transposed (queries along the vector), so that P^T and dS^T are at once the left
// operands of dV and dK; dQ is summed transposed. With bf16 inputs P and dS are rounded to bf16 for those three products.
// Order: sequence, tile of queries, then the prefix's keys and the own keys ascending; fixed, so threads change nothing.
#pragma once

#include "kernels/isa/attention_operands.h"

namespace r1::cpu::R1_ISA {

struct BackwardScratch {
  byte *k, *v;             // rows of the family as left operands over d
  byte* kt;                // [d] rows as left operands over the family's rows
  byte *q_over_d, *d_out_over_d;        // [d / pairs][kQueryTile] words: right operands
  byte *q_over_rows, *d_out_over_rows;  // [kQueryTile / pairs][d] words: right operands
  float *lse, *delta;      // [kQueryTile]
  float *s, *dp;           // [kKeyTile][kQueryTile]
  byte *p_left, *ds_left;  // [kKeyTile] rows as left operands over queries
  byte* ds_right;          // [kKeyTile / pairs][kQueryTile] words
  float* dq;               // [d][kQueryTile]
  i64 row_bytes, kt_bytes, query_bytes;  // of one row of k and v; of kt; of p_left and ds_left
  i64 bytes;
};

template <class Op, class T> inline BackwardScratch backward_layout(i64 rows, i64 d, byte* base) {
  constexpr i64 kPairs = pairs_of<T>;
  BackwardScratch out;
  out.row_bytes = d / kPairs * Op::kABytes;
  out.kt_bytes = ((rows + kPairs - 1) / kPairs + 1) * Op::kABytes;
  out.query_bytes = kQueryTile / kPairs * Op::kABytes;
  byte* p = base;
  const auto take = [&](i64 bytes) {
    byte* here = p;
    p += (bytes + 63) / 64 * 64;
    return here;
  };
  out.k = take(rows * out.row_bytes), out.v = take(rows * out.row_bytes), out.kt = take(d * out.kt_bytes);
  out.q_over_d = take(d / kPairs * kQueryTile * 4), out.d_out_over_d = take(d / kPairs * kQueryTile * 4);
  out.q_over_rows = take(kQueryTile / kPairs * d * 4), out.d_out_over_rows = take(kQueryTile / kPairs * d * 4);
  out.lse = f32(take(kQueryTile * 4)), out.delta = f32(take(kQueryTile * 4));
  out.s = f32(take(kKeyTile * kQueryTile * 4)), out.dp = f32(take(kKeyTile * kQueryTile * 4));
  out.p_left = take(kKeyTile * out.query_bytes), out.ds_left = take(kKeyTile * out.query_bytes);
  out.ds_right = take(kKeyTile * kQueryTile * 4);
  out.dq = f32(take(d * kQueryTile * 4));
  out.bytes = p - base;
  return out;
}

// What one tile is about. Queries are counted from the tile's first; `first_query` = the first query that sees key 0 of
// the tile (negative: all do); queries from `queries` on do not exist.
struct TileEdges {
  i64 keys = 0, queries = 0, first_query = 0;
  i64 window = 0;  // > 0: key i is seen by queries before first_query + i + window only
  float softcap = 0.f;
  R1_INLINE i64 end_of(i64 key) const { return window > 0 ? min_of(queries, first_query + key + window) : queries; }
};

// From scores and dP: P^T and dS^T in the forms that the products want; 0 where a query does not see a key.
template <class Op, class T>
inline void weigh_tile(const BackwardScratch& s, const TileEdges& e, i64 column_begin, float scale) {
  constexpr i64 kPairs = pairs_of<T>;
  const vf k = splat(scale);
  for (i64 r = 0; r < e.keys; r += kPairs) {
    const bool odd_end = kPairs == 2 && r + 1 == e.keys;
    for (i64 c = column_begin; c < kQueryTile; c += W) {
      vf ds[2] = {zero(), zero()};
      for (i64 half = 0; half < (odd_end ? 1 : kPairs); ++half) {
        const i64 key = r + half, at = key * kQueryTile + c;
        vf score = load(s.s + at) * k, slope = k;
        if (e.softcap > 0) {
          const vf t = tanh(score * splat(1.f / e.softcap));
          score = splat(e.softcap) * t;
          slope = k * (splat(1.f) - t * t);
        }
        vf p = exp_nonpositive(score - load(s.lse + c));
        const i64 end = e.end_of(key);
        if (c < e.first_query + key || c + W > end) p = keep_between(p, c, e.first_query + key, end);
        ds[half] = p * (load(s.dp + at) - load(s.delta + c)) * slope;
        // 0 * NaN of a query that is not there must stay 0.
        if (c + W > end) ds[half] = keep_between(ds[half], c, e.first_query + key, end);
        store_left<Op, T>(s.p_left + key * s.query_bytes, c, p);
        store_left<Op, T>(s.ds_left + key * s.query_bytes, c, ds[half]);
      }
      store_bits(s.ds_right + (r / kPairs * kQueryTile + c) * 4, right_words<T>(ds[0], ds[1]));
    }
  }
}

template <class Op, class T>
inline void backward_tile(const BackwardScratch& s, i64 d, float scale, const TileEdges& e, i64 key_row, float* dk, float* dv) {
  constexpr i64 kPairs = pairs_of<T>;
  // Queries before the first that sees the tile's first key take no part.
  const i64 column = max_of(0, e.first_query) / W * W, columns = kQueryTile - column;
  const i64 q_steps = (e.queries + kPairs - 1) / kPairs - column / kPairs, k_steps = (e.keys + kPairs - 1) / kPairs;
  const i64 q_skip = column / kPairs;
  product<Op, false>(e.keys, columns, d / kPairs, s.k + key_row * s.row_bytes, s.row_bytes, s.q_over_d + column * 4, kQueryTile * 4,
                     s.s + column, kQueryTile);
  product<Op, false>(e.keys, columns, d / kPairs, s.v + key_row * s.row_bytes, s.row_bytes, s.d_out_over_d + column * 4, kQueryTile * 4,
                     s.dp + column, kQueryTile);
  weigh_tile<Op, T>(s, e, column, scale);
  product<Op, true>(e.keys, d, q_steps, s.p_left + q_skip * Op::kABytes, s.query_bytes, s.d_out_over_rows + q_skip * d * 4, d * 4,
                    dv + key_row * d, d);
  product<Op, true>(e.keys, d, q_steps, s.ds_left + q_skip * Op::kABytes, s.query_bytes, s.q_over_rows + q_skip * d * 4, d * 4,
                    dk + key_row * d, d);
  product<Op, true>(d, columns, k_steps, s.kt + key_row * (Op::kABytes / kPairs), s.kt_bytes, s.ds_right + column * 4, kQueryTile * 4,
                    s.dq + column, kQueryTile);
}

template <class Op, class T>
inline void attention_backward_typed(const AttentionBackwardCall& c, const AttentionSequence* sequences, i64 count, i64 head, float* dk,
                                     float* dv, byte* base) {
  constexpr i64 kPairs = pairs_of<T>;
  const AttentionShape& shape = c.shape;
  const i64 d = shape.head_dim, kv_head = head / (shape.heads / shape.kv_heads);
  i64 total = 0;
  for (i64 b = 0; b < count; ++b) total += sequences[b].end - sequences[b].begin;
  const BackwardScratch s = backward_layout<Op, T>(total, d, base);
  __builtin_memset(s.kt, 0, static_cast<std::size_t>(d * s.kt_bytes));
  i64 own = 0;  // the sequence's first row in the family
  for (i64 b = 0; b < count; ++b) {
    const i64 rows = sequences[b].end - sequences[b].begin;
    const T* k = reinterpret_cast<const T*>(c.k) + sequences[b].begin * c.ld + kv_head * d;
    const T* v = reinterpret_cast<const T*>(c.v) + sequences[b].begin * c.ld + kv_head * d;
    for (i64 r = 0; r < rows; ++r) {
      prepare_left<Op>(k + r * c.ld, d, s.k + (own + r) * s.row_bytes);
      prepare_left<Op>(v + r * c.ld, d, s.v + (own + r) * s.row_bytes);
    }
    transpose_left<Op>(k, c.ld, rows, d, s.kt + own * (Op::kABytes / kPairs), s.kt_bytes);
    own += rows;
  }
  __builtin_memset(dk, 0, static_cast<std::size_t>(total * d) * 4);
  __builtin_memset(dv, 0, static_cast<std::size_t>(total * d) * 4);

  own = 0;
  for (i64 b = 0; b < count; ++b) {
    const AttentionSequence& seq = sequences[b];
    const i64 rows = seq.end - seq.begin;
    const i64 prefix = seq.prefix_begin < 0 ? 0 : seq.prefix_end - seq.prefix_begin;
    const i64 prefix_at = prefix > 0 ? seq.prefix_begin - sequences[0].begin : 0;
    for (i64 q0 = 0; q0 < rows; q0 += kQueryTile) {
      const i64 n = min_of(kQueryTile, rows - q0);
      const T* q = reinterpret_cast<const T*>(c.q) + (seq.begin + q0) * c.ld + head * d;
      const T* d_out = reinterpret_cast<const T*>(c.d_out) + (seq.begin + q0) * c.d_out_ld + head * d;
      const T* out = reinterpret_cast<const T*>(c.out) + (seq.begin + q0) * c.out_ld + head * d;
      right_over_columns(q, c.ld, n, d, s.q_over_d);
      right_over_columns(d_out, c.d_out_ld, n, d, s.d_out_over_d);
      right_over_rows(q, c.ld, n, d, s.q_over_rows);
      right_over_rows(d_out, c.d_out_ld, n, d, s.d_out_over_rows);
      for (i64 i = 0; i < kQueryTile; ++i) {
        vf dot = zero();
        for (i64 j = 0; i < n && j < d; j += W) dot = fma(load(out + i * c.out_ld + j), load(d_out + i * c.d_out_ld + j), dot);
        s.delta[i] = sum_lanes(dot);
        s.lse[i] = i < n ? c.lse[(seq.begin + q0 + i) * shape.heads + head] : 0.f;
      }
      __builtin_memset(s.dq, 0, static_cast<std::size_t>(d * kQueryTile) * 4);
      for (i64 k0 = 0; k0 < prefix; k0 += kKeyTile)
        backward_tile<Op, T>(s, d, shape.scale, {min_of(kKeyTile, prefix - k0), n, k0 - prefix - q0, shape.window, shape.softcap},
                             prefix_at + k0, dk, dv);
      for (i64 k0 = 0; k0 < q0 + n; k0 += kKeyTile)
        backward_tile<Op, T>(s, d, shape.scale, {min_of(kKeyTile, q0 + n - k0), n, k0 - q0, shape.window, shape.softcap},
                             own + k0, dk, dv);
      T* dq = reinterpret_cast<T*>(c.dq) + (seq.begin + q0) * c.d_ld + head * d;
      float row[kMaxHeadDim];
      for (i64 i = 0; i < n; ++i) {
        for (i64 j = 0; j < d; ++j) row[j] = s.dq[j * kQueryTile + i];
        for (i64 j = 0; j < d; j += W) store(dq + i * c.d_ld + j, load(row + j));
      }
    }
    own += rows;
  }
}

inline std::size_t attention_backward_scratch(const AttentionShape& s, i64 rows) {
  return static_cast<std::size_t>(s.type == Type::kBF16 ? backward_layout<OpBf16, bf16>(rows, s.head_dim, nullptr).bytes
                                                        : backward_layout<OpF32, float>(rows, s.head_dim, nullptr).bytes);
}

inline void attention_backward(const AttentionBackwardCall& c, const AttentionSequence* sequences, i64 count, i64 head, float* dk,
                               float* dv, byte* scratch) {
  if (c.shape.type == Type::kBF16) attention_backward_typed<OpBf16, bf16>(c, sequences, count, head, dk, dv, scratch);
  else attention_backward_typed<OpF32, float>(c, sequences, count, head, dk, dv, scratch);
}

// out[r] = sum over n parts of parts[i * part_stride + r*d ...], in order; d wide.
template <class T> inline void sum_heads_typed(const float* parts, i64 n, i64 part_stride, i64 rows, i64 d, T* out, i64 ld) {
  for (i64 r = 0; r < rows; ++r)
    for (i64 j = 0; j < d; j += W) {
      vf sum = load(parts + r * d + j);
      for (i64 i = 1; i < n; ++i) sum = sum + load(parts + i * part_stride + r * d + j);
      store(out + r * ld + j, sum);
    }
}
inline void sum_heads(const float* parts, i64 n, i64 part_stride, i64 rows, i64 d, void* out, i64 ld, Type type) {
  if (type == Type::kBF16) sum_heads_typed(parts, n, part_stride, rows, d, static_cast<bf16*>(out), ld);
  else sum_heads_typed(parts, n, part_stride, rows, d, static_cast<float*>(out), ld);
}

}  // namespace r1::cpu::R1_ISA
