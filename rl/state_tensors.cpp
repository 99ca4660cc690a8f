#include "rl/state_tensors.h"

#include "core/error.h"

namespace r1 {

StateTensors::StateTensors(const WeightSnapshot& state) {
  for (const TensorView& t : state.tensors) by_name_[t.name] = &t;
}

const TensorView* StateTensors::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

const TensorView& StateTensors::at(const std::string& name, DType dtype, std::int64_t elements) const {
  const TensorView* t = find(name);
  if (!t) throw CheckpointError(message("the optimizer state lacks ", name));
  if (dtype == DType::kF32 && t->dtype == DType::kU8)
    throw CheckpointError(message("optimizer state ", name, " is in 8 bits, which only a GPU goes on with: use device: cuda"));
  if (t->dtype != dtype || t->elements() != elements)
    throw CheckpointError(message("optimizer state ", name, " has ", t->elements(), " elements of ", safetensors_name(t->dtype), ", wanted ", elements,
                                  " of ", safetensors_name(dtype), ": it belongs to another model"));
  return *t;
}

}  // namespace r1
