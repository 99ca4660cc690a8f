// Private to kernels/: gradients of attention for one family of sequences (a prefix and its sharers) and one kv head.
// Everything is widened to float32; the probabilities are recomputed from the log-sum-exp of the forward pass:
//   P = exp(scale Q K^T - lse), dV = P^T dO, dP = dO V^T, dS = P (dP - rowsum(dO O)), dQ = scale dS K, dK = scale dS^T Q.
// Order: query head, then sequence, then block of keys, then tile of queries; fixed, so threads change nothing.
#pragma once

#include "kernels/isa/multiply.h"
#include "kernels/table.h"

namespace r1::cpu::R1_ISA {

inline constexpr i64 kKeyTile = 64, kQueryTile = 48;

// c[MR][NV vectors] += sum over `steps` of a[r*a_row + s*a_step] * b[s][NV vectors].
template <int MR, int NV>
R1_INLINE void add_tile(i64 steps, const float* a, i64 a_row, i64 a_step, const float* b, i64 b_step, float* c, i64 c_row) {
  vf acc[MR][NV];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc[r][j] = load(c + r * c_row + j * W);
  for (i64 s = 0; s < steps; ++s) {
    vf bv[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) bv[j] = load(b + s * b_step + j * W);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      const vf av = splat(a[r * a_row + s * a_step]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[r][j] = fma(av, bv[j], acc[r][j]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) store(c + r * c_row + j * W, acc[r][j]);
}

// c[m][n] += a * b; n a multiple of 16.
inline void add_product(i64 m, i64 n, i64 steps, const float* a, i64 a_row, i64 a_step, const float* b, i64 b_step, float* c, i64 c_row) {
  constexpr int kWide = W == 16 ? 4 : 2;
  for (i64 i = 0; i < m;) {
    const i64 rows = next_tile(m - i);
    i64 j = 0;
    for (; j + kWide * W <= n; j += kWide * W) {
      R1_DISPATCH_ROWS(rows, (add_tile<MR, kWide>(steps, a + i * a_row, a_row, a_step, b + j, b_step, c + i * c_row + j, c_row)))
    }
    for (; j < n; j += W) {
      R1_DISPATCH_ROWS(rows, (add_tile<MR, 1>(steps, a + i * a_row, a_row, a_step, b + j, b_step, c + i * c_row + j, c_row)))
    }
    i += rows;
  }
}

struct BackwardScratch {
  float *k, *v, *dk, *dv;    // [rows][d], of the family
  float *q, *d_out, *dq;     // [rows][d], of one query head
  float *lse, *delta;        // [rows]
  float *kt, *vt;            // [d][kKeyTile]
  float *s, *dp;             // [kQueryTile][kKeyTile]
  i64 bytes;
};
inline BackwardScratch backward_layout(i64 rows, i64 d, byte* base) {
  BackwardScratch out;
  byte* p = base;
  const auto take = [&](i64 n) {
    float* here = f32(p);
    p += (n * 4 + 63) / 64 * 64;
    return here;
  };
  out.k = take(rows * d), out.v = take(rows * d), out.dk = take(rows * d), out.dv = take(rows * d);
  out.q = take(rows * d), out.d_out = take(rows * d), out.dq = take(rows * d);
  out.lse = take(rows), out.delta = take(rows);
  out.kt = take(d * kKeyTile), out.vt = take(d * kKeyTile);
  out.s = take(kQueryTile * kKeyTile), out.dp = take(kQueryTile * kKeyTile);
  out.bytes = p - base;
  return out;
}
inline std::size_t attention_backward_scratch(const AttentionShape& s, i64 rows) {
  return static_cast<std::size_t>(backward_layout(rows, s.head_dim, nullptr).bytes);
}

// to[d][kKeyTile] = from[n][d]^T, columns beyond n zero.
inline void transpose_keys(const float* from, i64 n, i64 d, float* to) {
  for (i64 i = 0; i < d; ++i) {
    for (i64 j = 0; j < n; ++j) to[i * kKeyTile + j] = from[j * d + i];
    for (i64 j = n; j < kKeyTile; ++j) to[i * kKeyTile + j] = 0.f;
  }
}

// Queries [q0, q1) of the family against keys [k0, k0 + keys); causal: query q0 + i sees the first `first_visible` + i keys.
inline void backward_tile(const BackwardScratch& s, i64 d, float scale, i64 q0, i64 q1, i64 k0, i64 keys, i64 first_visible) {
  const i64 n = q1 - q0;
  for (i64 i = 0; i < n * kKeyTile; i += W) {
    store(s.s + i, zero());
    store(s.dp + i, zero());
  }
  add_product(n, kKeyTile, d, s.q + q0 * d, d, 1, s.kt, kKeyTile, s.s, kKeyTile);
  add_product(n, kKeyTile, d, s.d_out + q0 * d, d, 1, s.vt, kKeyTile, s.dp, kKeyTile);
  for (i64 i = 0; i < n; ++i) {
    const i64 visible = min_of(keys, first_visible + i);
    const vf lse = splat(s.lse[q0 + i]), delta = splat(s.delta[q0 + i]), k = splat(scale);
    float* p = s.s + i * kKeyTile;
    float* ds = s.dp + i * kKeyTile;
    for (i64 j = 0; j < kKeyTile; j += W) {
      const vf e = exp(load(p + j) * k - lse);
      store(ds + j, e * (load(ds + j) - delta) * k);
      store(p + j, e);
    }
    for (i64 j = visible; j < kKeyTile; ++j) p[j] = ds[j] = 0.f;
  }
  add_product(n, d, keys, s.dp, kKeyTile, 1, s.k + k0 * d, d, s.dq + q0 * d, d);
  add_product(keys, d, n, s.dp, 1, kKeyTile, s.q + q0 * d, d, s.dk + k0 * d, d);
  add_product(keys, d, n, s.s, 1, kKeyTile, s.d_out + q0 * d, d, s.dv + k0 * d, d);
}

template <class T>
inline void attention_backward_typed(const AttentionBackwardCall& c, const AttentionSequence* sequences, i64 count, i64 kv_head,
                                     byte* base) {
  const AttentionShape& shape = c.shape;
  const i64 d = shape.head_dim, reps = shape.heads / shape.kv_heads;
  i64 total = 0;
  for (i64 b = 0; b < count; ++b) total += sequences[b].end - sequences[b].begin;
  const BackwardScratch s = backward_layout(total, d, base);
  // Calls fn(row in the family, row in memory) for every row.
  const auto each_row = [&](const auto& fn) {
    i64 local = 0;
    for (i64 b = 0; b < count; ++b)
      for (i64 r = sequences[b].begin; r < sequences[b].end; ++r) fn(local++, r);
  };
  const auto widen_row = [&](const byte* from, i64 offset, float* to) {
    const T* p = reinterpret_cast<const T*>(from) + offset;
    for (i64 j = 0; j < d; j += W) store(to + j, load(p + j));
  };
  const auto narrow_row = [&](const float* from, byte* to, i64 offset) {
    T* p = reinterpret_cast<T*>(to) + offset;
    for (i64 j = 0; j < d; j += W) store(p + j, load(from + j));
  };
  each_row([&](i64 i, i64 r) {
    widen_row(c.k, r * c.ld + kv_head * d, s.k + i * d);
    widen_row(c.v, r * c.ld + kv_head * d, s.v + i * d);
  });
  __builtin_memset(s.dk, 0, static_cast<std::size_t>(total * d) * 4);
  __builtin_memset(s.dv, 0, static_cast<std::size_t>(total * d) * 4);

  for (i64 rep = 0; rep < reps; ++rep) {
    const i64 head = kv_head * reps + rep;
    each_row([&](i64 i, i64 r) {
      widen_row(c.q, r * c.ld + head * d, s.q + i * d);
      widen_row(c.d_out, r * c.d_out_ld + head * d, s.d_out + i * d);
      const T* out = reinterpret_cast<const T*>(c.out) + r * c.out_ld + head * d;
      vf dot = zero();
      for (i64 j = 0; j < d; j += W) dot = fma(load(out + j), load(s.d_out + i * d + j), dot);
      s.delta[i] = sum_lanes(dot);
      s.lse[i] = c.lse[r * shape.heads + head];
    });
    __builtin_memset(s.dq, 0, static_cast<std::size_t>(total * d) * 4);

    i64 own = 0;  // the sequence's first row in the family
    for (i64 b = 0; b < count; ++b) {
      const AttentionSequence& q = sequences[b];
      const i64 rows = q.end - q.begin;
      // Keys: the prefix (rows of the family's first sequence), every query sees all of it; then the own rows, causal.
      const i64 prefix = q.prefix_begin < 0 ? 0 : q.prefix_end - q.prefix_begin;
      const i64 prefix_at = prefix > 0 ? q.prefix_begin - sequences[0].begin : 0;
      for (int part = 0; part < 2; ++part) {
        const i64 key_begin = part == 0 ? prefix_at : own, key_count = part == 0 ? prefix : rows;
        for (i64 k0 = 0; k0 < key_count; k0 += kKeyTile) {
          const i64 keys = min_of(kKeyTile, key_count - k0);
          transpose_keys(s.k + (key_begin + k0) * d, keys, d, s.kt);
          transpose_keys(s.v + (key_begin + k0) * d, keys, d, s.vt);
          for (i64 q0 = part == 0 ? 0 : k0; q0 < rows; q0 += kQueryTile) {
            const i64 q1 = min_of(rows, q0 + kQueryTile);
            backward_tile(s, d, shape.scale, own + q0, own + q1, key_begin + k0, keys, part == 0 ? keys : q0 - k0 + 1);
          }
        }
      }
      own += rows;
    }
    each_row([&](i64 i, i64 r) { narrow_row(s.dq + i * d, c.dq, r * c.d_ld + head * d); });
  }
  each_row([&](i64 i, i64 r) {
    narrow_row(s.dk + i * d, c.dk, r * c.d_ld + kv_head * d);
    narrow_row(s.dv + i * d, c.dv, r * c.d_ld + kv_head * d);
  });
}

inline void attention_backward(const AttentionBackwardCall& c, const AttentionSequence* sequences, i64 count, i64 kv_head, byte* scratch) {
  if (c.shape.type == Type::kBF16) attention_backward_typed<bf16>(c, sequences, count, kv_head, scratch);
  else attention_backward_typed<float>(c, sequences, count, kv_head, scratch);
}

}  // namespace r1::cpu::R1_ISA
