// The tensors of an optimizer's state by name, as restoring one asks for them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/weights.h"

namespace r1 {

class StateTensors {
 public:
  explicit StateTensors(const WeightSnapshot& state);  // which outlives it
  const TensorView* find(const std::string& name) const;  // null if it is not there
  // Throws CheckpointError naming the tensor that is missing or misshapen.
  const TensorView& at(const std::string& name, DType dtype, std::int64_t elements) const;

 private:
  std::unordered_map<std::string_view, const TensorView*> by_name_;
};

}  // namespace r1
