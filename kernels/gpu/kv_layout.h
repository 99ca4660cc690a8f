// Where a 16-byte piece of a key or value row lies inside a page's tile: the pieces of a row are permuted by the row's number
// so that eight rows' pieces of one column lie in eight different shared-memory banks groups (ldmatrix without conflicts).
// A tile is copied into shared memory as it is.
#pragma once

#ifdef __CUDACC__
#define R1_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define R1_HOST_DEVICE inline
#endif

namespace r1::gpu {

// piece: number of 8 elements within the row; pieces = head_dim / 8. The last group of pieces may be 4 or 2 wide.
R1_HOST_DEVICE int kv_piece(int row, int piece, int pieces) {
  const int group = piece & ~7, width = pieces - group < 8 ? pieces - group : 8;
  return group | ((piece & 7) ^ (row & (width - 1)));
}
// Element offset of (row, column) in a tile [64][hd].
R1_HOST_DEVICE int kv_offset(int row, int column, int head_dim) {
  return row * head_dim + kv_piece(row, column >> 3, head_dim >> 3) * 8 + (column & 7);
}

}  // namespace r1::gpu
