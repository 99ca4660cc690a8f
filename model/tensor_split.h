// Tensor parallelism's split of a decoder: which part of each tensor a rank holds. q, k, v and gate, up by rows (heads, columns of the
// MLP), o and down by columns (arXiv:1909.08053), embedding and LM head by rows of the vocabulary; norms and the biases of o and down
// are whole on every rank. And expert parallelism's: whole experts.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/model_config.h"

namespace r1 {

struct TensorSplit {
  int rank = 0, size = 1;
  bool experts = false;  // expert parallelism: whole experts in order, as many on each rank; all other tensors are whole on every rank
};

// The model of one rank: fewer heads, columns and vocabulary rows of the same width, or fewer experts. Throws ConfigError, naming
// train.tensor_parallel or train.expert_parallel, for what does not divide and for families that are not split.
ModelConfig split_config(const ModelConfig& config, const TensorSplit& split);
// Throws the same for a model whose heads sequence parallelism of `size` ranks cannot share out.
void check_sequence_split(const ModelConfig& config, int size);
// Rows [first, second) of the vocabulary; the last rank may have fewer.
std::pair<std::int64_t, std::int64_t> vocabulary_rows(const ModelConfig& config, const TensorSplit& split);

// The rank that holds a tensor of an expert; -1 for a tensor that is on every rank, whole or cut.
int expert_owner(const ModelConfig& config, const std::string& name, const TensorSplit& split);

// A rank's part of a tensor, which is seen as [rows][columns] (a vector: one column).
struct TensorCut {
  std::vector<std::int64_t> whole;  // its shape
  bool all = true;                  // nothing is cut
  std::int64_t columns = 1, first_column = 0, last_column = 1;
  std::vector<std::pair<std::int64_t, std::int64_t>> rows;  // [first, last) of the whole tensor, in order
  std::int64_t whole_elements() const;
  // Between the whole tensor and the part, elements of `size` bytes.
  void take(const std::byte* whole, std::byte* part, std::size_t size) const;
  void put(const std::byte* part, std::byte* whole, std::size_t size) const;
};
TensorCut cut_of(const ModelConfig& config, const std::string& name, const std::vector<std::int64_t>& whole, const TensorSplit& split);

}  // namespace r1
