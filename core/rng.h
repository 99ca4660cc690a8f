// Counter-based random numbers: a draw is a function of its key alone, so that neither batch order, threads,
// preemption nor a resumed run changes it. Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC'11), checked against the paper's known answers.
#pragma once

#include <array>
#include <cstdint>

namespace r1 {

using PhiloxBlock = std::array<std::uint32_t, 4>;

// The raw generator: 128-bit counter, 64-bit key -> 128 bits.
constexpr PhiloxBlock philox4x32(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// SplitMix64 finaliser: spreads a key over 64 bits.
constexpr std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// What a draw is keyed by. `prompt` is the prompt's index in the rollout order of the whole run, not of a batch.
struct DrawKey {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;    // rollout number
  std::uint64_t prompt = 0;
  std::uint32_t sample = 0;  // 0..G-1
};

// 64 uniform bits for token `position` of the completion (0 = its first token).
constexpr std::uint64_t draw_bits(const DrawKey& key, std::uint32_t position) {
  const std::uint64_t k = mix64(key.seed * 0x9E3779B97F4A7C15ull + mix64(key.step + 0x51ED270B9F8A3C15ull));
  const PhiloxBlock b = philox4x32({static_cast<std::uint32_t>(key.prompt), static_cast<std::uint32_t>(key.prompt >> 32),
                                    key.sample, position},
                                   {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)});
  return (std::uint64_t{b[0]} << 32) | b[1];
}

// Uniform in the open interval (0, 1). 52 bits: with 53, the largest would round to 1.
constexpr double to_unit(std::uint64_t bits) { return (static_cast<double>(bits >> 12) + 0.5) * 0x1.0p-52; }

constexpr double draw_uniform(const DrawKey& key, std::uint32_t position) { return to_unit(draw_bits(key, position)); }

// A small sequential generator over (seed, stream), for shuffles and fixtures. The same numbers on every machine.
class StreamRng {
 public:
  constexpr StreamRng(std::uint64_t seed, std::uint64_t stream) : key_(mix64(seed) ^ mix64(stream + 0x9E3779B97F4A7C15ull)) {}
  constexpr std::uint64_t next() {
    const PhiloxBlock b = philox4x32({static_cast<std::uint32_t>(index_), static_cast<std::uint32_t>(index_ >> 32), 0x72317231u, 0},
                                     {static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)});
    ++index_;
    return (std::uint64_t{b[0]} << 32) | b[1];
  }
  constexpr double uniform() { return to_unit(next()); }
  // Unbiased integer in [0, n), n > 0.
  constexpr std::uint64_t below(std::uint64_t n) {
    const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % n + 1) % n;
    std::uint64_t x = next();
    while (x > limit) x = next();
    return x % n;
  }

 private:
  std::uint64_t key_;
  std::uint64_t index_ = 0;
};

}  // namespace r1
