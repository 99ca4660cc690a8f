#include "kernels/gpu/weights.h"

#include "core/rng.h"
#include "core/spread.h"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256;

// The kernels stride over the rest.
unsigned grid_for(std::int64_t n) { return static_cast<unsigned>(std::min<std::int64_t>((n + kThreads - 1) / kThreads, 4096)); }
__device__ __forceinline__ long long first_index() { return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long long index_step() { return static_cast<long long>(gridDim.x) * blockDim.x; }

// StreamRng::next() number `index` of a stream with this key.
__device__ __forceinline__ std::uint64_t stream_bits(std::uint64_t key, std::uint64_t index) {
  const PhiloxBlock b = philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0x72317231u, 0},
                                   {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
  return (std::uint64_t{b[0]} << 32) | b[1];
}

__global__ void random_kernel(bf16* out, long long n, std::uint64_t key, double std) {
  constexpr double kMean = 16 * 65535 / 2.0, kDeviation = 75674.45447441297;  // as init_random()
  for (long long i = first_index(); i < n; i += index_step()) {
    std::uint64_t sum = 0;
    for (int draw = 0; draw < 4; ++draw) {
      const std::uint64_t bits = stream_bits(key, static_cast<std::uint64_t>(i) * 4 + draw);
      sum += (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
    }
    const double value = __dmul_rn(__ddiv_rn(__dsub_rn(static_cast<double>(sum), kMean), kDeviation), std);
    out[i] = __bfloat16_as_ushort(__float2bfloat16_rn(static_cast<float>(value)));
  }
}
__global__ void value_kernel(bf16* out, long long n, float value) {
  for (long long i = first_index(); i < n; i += index_step()) out[i] = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
__global__ void digest_kernel(const ulonglong2* data, long long n, unsigned long long* sum, long long first) {
  unsigned long long a = 0, b = 0;
  for (long long i = first_index(); i < n; i += index_step()) {
    const ulonglong2 v = data[i];
    const std::uint64_t place = mix64(static_cast<std::uint64_t>(first + i) + 0x9E3779B97F4A7C15ull);
    a += mix64(mix64(v.x ^ place) + v.y);
    b += mix64(mix64(v.y + place) ^ (v.x * 0xD6E8FEB86659FD93ull));
  }
  for (int k = 16; k > 0; k >>= 1) {
    a += __shfl_xor_sync(~0u, a, k);
    b += __shfl_xor_sync(~0u, b, k);
  }
  if ((threadIdx.x & 31) == 0) {
    atomicAdd(sum, a);
    atomicAdd(sum + 1, b);
  }
}
__global__ void master_kernel(const bf16* live, float* master, long long n, bool spread, long long first) {
  for (long long i = first_index(); i < n; i += index_step()) {
    const std::uint32_t bits = std::uint32_t{live[i]} << 16;
    master[i] = __uint_as_float(spread ? spread_in_cell(bits, static_cast<std::uint64_t>(first + i)) : bits);
  }
}

}  // namespace

void fill_random(Stream s, bf16* out, std::int64_t n, std::uint64_t seed, std::uint64_t stream, float std) {
  if (n == 0) return;
  const std::uint64_t key = mix64(seed) ^ mix64(stream + 0x9E3779B97F4A7C15ull);
  random_kernel<<<grid_for(n), kThreads, 0, s>>>(out, n, key, static_cast<double>(std));
  check_launch("fill_random");
}
void fill_value(Stream s, bf16* out, std::int64_t n, float value) {
  if (n == 0) return;
  value_kernel<<<grid_for(n), kThreads, 0, s>>>(out, n, value);
  check_launch("fill_value");
}
void digest_words(Stream s, const void* data, std::int64_t bytes, std::uint64_t* sum, std::int64_t first) {
  R1_CHECK(bytes % 16 == 0, bytes, " bytes");
  if (bytes == 0) return;
  digest_kernel<<<grid_for(bytes / 16), kThreads, 0, s>>>(static_cast<const ulonglong2*>(data), bytes / 16,
                                                          reinterpret_cast<unsigned long long*>(sum), first);
  check_launch("digest_words");
}
void master_from_live(Stream s, const bf16* live, float* master, std::int64_t n, bool spread, std::int64_t first) {
  if (n == 0) return;
  master_kernel<<<grid_for(n), kThreads, 0, s>>>(live, master, n, spread, first);
  check_launch("master_from_live");
}

}  // namespace r1::gpu
