// A model's ranks over a communicator: what its passes tell each other, and the model's tensors as wholes.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "model/model_group.h"
#include "model/weight_store.h"

namespace r1 {

class RankGroup final : public ModelGroup {
 public:
  explicit RankGroup(Communicator& comm) : comm_(comm) {}  // of the group alone; outlives it
  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.world(); }
  void sum(float* data, std::int64_t n, const char* what) override { comm_.all_reduce(data, DType::kF32, n, what); }
  void exchange(std::span<const std::span<const std::byte>> sends, std::span<const std::span<std::byte>> receives, const char* what) override;

 private:
  Communicator& comm_;
};

// ---- tensor and expert parallel: `parts` and tensors of `store`, whose group is `group`. A tensor's name is a parameter's, or one with a prefix that
// ends with a dot (master.NAME).
// Whole tensors on rank 0 of the group, in memory of the snapshot's own; an empty snapshot on the others. Collective.
WeightSnapshot gather_whole(const WeightStore& store, const WeightSnapshot& parts, ModelGroup& group);
// This rank's parts of whole tensors; what is not cut is a view of `whole`, what others hold is left out.
WeightSnapshot take_parts(const WeightStore& store, const WeightSnapshot& whole);
// WeightStore::digest() of the whole model, on every rank, a tensor at a time. Collective.
WeightDigest whole_digest(const WeightStore& store, ModelGroup& group);

}  // namespace r1
