// Ranks that run the passes of one model together: each makes the same calls with the same arguments at the same time, and all get the
// same bits. Tensor parallel: each holds a part of the weights (model/tensor_split.h). Sequence parallel (Ulysses, arXiv:2309.14509):
// each holds all weights and works on a part of a training batch's rows; for attention they change over to parts of the heads. Expert
// parallel: each holds a part of every layer's experts and all else, works on whole sequences of a training batch, and tokens go to the ranks
// that hold their experts and back (model/transformer_experts.cpp); in a step of the rollout they do so by rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace r1 {

// What such ranks tell each other; host memory. Implemented over a communicator (rl/rank_group.h). One call at a time.
class ModelGroup {
 public:
  virtual ~ModelGroup() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // In place, float32; the order of the sum depends on the ranks alone, so a row's bits do not depend on the rows beside it.
  virtual void sum(float* data, std::int64_t n, const char* what) = 0;
  // sends [size] and receives [size], by rank; a rank's own part is copied. What i sends to j has the length that j receives from i.
  virtual void exchange(std::span<const std::span<const std::byte>> sends, std::span<const std::span<std::byte>> receives, const char* what) = 0;
};

// At most one of them is set. They outlive the model.
struct ModelParallel {
  ModelGroup* tensor = nullptr;
  ModelGroup* sequence = nullptr;
  ModelGroup* experts = nullptr;
  bool any() const { return tensor || sequence || experts; }
  // Whose ranks hold parts of the weights, so that all passes are made together.
  ModelGroup* parts() const { return tensor ? tensor : experts; }
  const char* key() const { return tensor ? "train.tensor_parallel" : sequence ? "train.sequence_parallel" : "train.expert_parallel"; }
};

}  // namespace r1
