// In what a GPU keeps what AdamW needs of a parameter, and which of it fits. Arithmetic alone: no GPU is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace r1 {

enum class MasterFormat : std::uint8_t {
  kFloat32,  // 4 bytes beside the live weight's 2
  kSplit,    // 2: the live weight is the master's upper half, these are the rest (core/split_float.h)
};
enum class MomentFormat : std::uint8_t {
  kFloat32,  // 8 bytes
  k8Bit,     // 2, and 2 for each 256 parameters (core/moment8.h)
};
enum class GradientFormat : std::uint8_t {
  kFloat32,   // 4 bytes
  kBFloat16,  // 2: a micro-batch's gradient is summed in float32 and rounded when it is added, 2^-9 of the sum so far; what is smaller is lost
};

// Parsers of the recipe's names, "auto" giving none. They throw ConfigError naming the choices.
std::optional<MasterFormat> parse_master_format(const std::string& name);      // auto, float32, split
std::optional<MomentFormat> parse_moment_format(const std::string& name);      // auto, float32, 8bit
std::optional<GradientFormat> parse_gradient_format(const std::string& name);  // auto, float32, bfloat16

struct OptimizerFormat {
  MasterFormat master = MasterFormat::kFloat32;
  MomentFormat moments = MomentFormat::kFloat32;
  GradientFormat gradients = GradientFormat::kFloat32;
  bool gradient_only = false;  // no master and no moments: somebody else's optimizer (LoRA)
  // Master and moments lie in the host's memory; a step streams them through the device, `offload_piece` elements at a time. Float32 moments.
  bool offload = false;
  std::int64_t offload_piece = std::int64_t{1} << 22;
  bool operator==(const OptimizerFormat&) const = default;
  bool is_float32() const { return master == MasterFormat::kFloat32 && moments == MomentFormat::kFloat32 && gradients == GradientFormat::kFloat32; }

  // Of all that is kept on the device beside the live weights; `elements` of the weight arena, `tensors` in it. The gradient is of all of them, master
  // and moments of `own`, where a rank keeps a share (-1 = all).
  std::size_t bytes(std::int64_t elements, std::int64_t tensors, std::int64_t own = -1) const;
  std::size_t host_bytes(std::int64_t own) const;  // offloaded master and moments of so many elements
  // That AdamW alone reads and writes, each array once, live weights included: its floor.
  double step_bytes(std::int64_t elements) const;
};
inline constexpr int kOffloadSlots = 3;  // pieces on the device at a time: one comes, one is updated, one goes
// none, optimizer -> whether master and moments are offloaded. Throws ConfigError naming the choices.
bool parse_offload(const std::string& name);
// Scales of 8-bit moments that an arena has: a tensor's blocks begin at its first element; those of tensor i at offset / 256 + i.
std::int64_t moment_scales(std::int64_t elements, std::int64_t tensors);
std::string to_string(const OptimizerFormat& format);  // "master split, moments 8bit, gradients float32"

// What the recipe asks for; none = auto.
struct OptimizerWishes {
  std::optional<MasterFormat> master = {};
  std::optional<MomentFormat> moments = {};
  std::optional<GradientFormat> gradients = {};
  bool gradient_only = false;
  bool offload = false;  // train.offload: optimizer
  bool asks_for_packed() const;
};

// The first that takes at most `most` bytes of those that cost ever more accuracy: all float32; a split master (the same numbers but for
// ties); 8-bit moments too; a bfloat16 gradient too. The last of them where none does.
OptimizerFormat choose_optimizer_format(const OptimizerWishes& wishes, std::int64_t elements, std::int64_t tensors, std::size_t most,
                                        std::int64_t own = -1);

}  // namespace r1
