#include "rl/optimizer_format.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/moment8.h"

namespace r1 {

namespace {

template <class T>
std::optional<T> parse(const std::string& name, const char* what, const char* plain, const char* packed, T packed_value) {
  if (name == "auto") return std::nullopt;
  if (name == plain) return T::kFloat32;
  if (name == packed) return packed_value;
  throw ConfigError(message(what, " is '", name, "'; it can be auto, ", plain, ", ", packed));
}

}  // namespace

std::optional<MasterFormat> parse_master_format(const std::string& name) { return parse(name, "master", "float32", "split", MasterFormat::kSplit); }
std::optional<MomentFormat> parse_moment_format(const std::string& name) { return parse(name, "moments", "float32", "8bit", MomentFormat::k8Bit); }
std::optional<GradientFormat> parse_gradient_format(const std::string& name) {
  return parse(name, "gradients", "float32", "bfloat16", GradientFormat::kBFloat16);
}

bool parse_offload(const std::string& name) {
  if (name != "none" && name != "optimizer") throw ConfigError(message("offload is '", name, "'; it can be none, optimizer"));
  return name == "optimizer";
}

std::int64_t moment_scales(std::int64_t elements, std::int64_t tensors) { return elements / kMomentBlock + tensors + 1; }

std::size_t OptimizerFormat::bytes(std::int64_t elements, std::int64_t tensors, std::int64_t own) const {
  std::size_t out = static_cast<std::size_t>(elements) * (gradients == GradientFormat::kBFloat16 ? 2 : 4);
  if (gradient_only) return out;
  const auto n = static_cast<std::size_t>(own < 0 ? elements : own);
  if (offload) return (out + 255) / 256 * 256 + kOffloadSlots * host_bytes(std::min(offload_piece, static_cast<std::int64_t>(n)));
  out += n * (master == MasterFormat::kSplit ? 2 : 4);
  if (moments == MomentFormat::kFloat32) return out + n * 8;
  return out + 2 * n + 2 * static_cast<std::size_t>(moment_scales(elements, tensors));
}

std::size_t OptimizerFormat::host_bytes(std::int64_t own) const {
  if (!offload || gradient_only) return 0;
  // Each array begins at a multiple of 256 bytes.
  const auto padded = [&](std::size_t size) { return (static_cast<std::size_t>(own) * size + 255) / 256 * 256; };
  return padded(master == MasterFormat::kSplit ? 2 : 4) + 2 * padded(4);
}

double OptimizerFormat::step_bytes(std::int64_t elements) const {
  const double master_bytes = master == MasterFormat::kSplit ? 2 * 4 : 2 * 4 + 2;  // beside a float32 master the live weight is written only
  const double moment_bytes = moments == MomentFormat::kFloat32 ? 16 : 4 + 4.0 / kMomentBlock;
  const double gradient_bytes = gradients == GradientFormat::kBFloat16 ? 2 : 4;
  return (master_bytes + moment_bytes + gradient_bytes) * static_cast<double>(elements);
}

std::string to_string(const OptimizerFormat& f) {
  if (f.gradient_only) return message("gradients ", f.gradients == GradientFormat::kBFloat16 ? "bfloat16" : "float32", ", no master and moments");
  return message("master ", f.master == MasterFormat::kSplit ? "split" : "float32", ", moments ", f.moments == MomentFormat::k8Bit ? "8bit" : "float32",
                 ", gradients ", f.gradients == GradientFormat::kBFloat16 ? "bfloat16" : "float32", f.offload ? "; master and moments in the host's memory" : "");
}

bool OptimizerWishes::asks_for_packed() const {
  return master == MasterFormat::kSplit || moments == MomentFormat::k8Bit || gradients == GradientFormat::kBFloat16;
}

OptimizerFormat choose_optimizer_format(const OptimizerWishes& w, std::int64_t elements, std::int64_t tensors, std::size_t most,
                                        std::int64_t own) {
  const std::array<OptimizerFormat, 4> ladder = {{
      {},
      {.master = MasterFormat::kSplit},
      {.master = MasterFormat::kSplit, .moments = MomentFormat::k8Bit},
      {.master = MasterFormat::kSplit, .moments = MomentFormat::k8Bit, .gradients = GradientFormat::kBFloat16},
  }};
  OptimizerFormat last;
  for (OptimizerFormat f : ladder) {
    f = {w.master.value_or(f.master), w.moments.value_or(f.moments), w.gradients.value_or(f.gradients), w.gradient_only};
    if (w.gradient_only) f.master = MasterFormat::kFloat32, f.moments = MomentFormat::kFloat32;
    else if (w.offload) f.offload = true, f.master = w.master.value_or(MasterFormat::kFloat32), f.moments = MomentFormat::kFloat32;
    last = f;
    if (f.bytes(elements, tensors, own) <= most) break;
  }
  return last;
}

}  // namespace r1
