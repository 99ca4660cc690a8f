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
  bool operator==(const OptimizerFormat&) const = default;
  bool is_float32() const { return *this == OptimizerFormat{.gradient_only = gradient_only}; }

  // Of all that is kept beside the live weights; `elements` of the weight arena, `tensors` in it. The gradient is of all of them, master
  // and moments of `own`, where a rank keeps a share (-1 = all).
  std::size_t bytes(std::int64_t elements, std::int64_t tensors, std::int64_t own = -1) const;
  // That AdamW alone reads and writes, each array once, live weights included: its floor.
  double step_bytes(std::int64_t elements) const;
};
// Scales of 8-bit moments that an arena has: a tensor's blocks begin at its first element; those of tensor i at offset / 256 + i.
std::int64_t moment_scales(std::int64_t elements, std::int64_t tensors);
std::string to_string(const OptimizerFormat& format);  // "master split, moments 8bit, gradients float32"

// What the recipe asks for; none = auto.
struct OptimizerWishes {
  std::optional<MasterFormat> master = {};
  std::optional<MomentFormat> moments = {};
  std::optional<GradientFormat> gradients = {};
  bool gradient_only = false;
  bool asks_for_packed() const;
};

// The first that takes at most `most` bytes of those that cost ever more accuracy: all float32; a split master (the same numbers but for
// ties); 8-bit moments too; a bfloat16 gradient too. The last of them where none does.
OptimizerFormat choose_optimizer_format(const OptimizerWishes& wishes, std::int64_t elements, std::int64_t tensors, std::size_t most,
                                        std::int64_t own = -1);

}  // namespace r1
