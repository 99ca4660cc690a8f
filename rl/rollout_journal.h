// What a rollout finished, kept until a checkpoint holds it: completions as they end, scores as they are given.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "core/digest.h"
#include "core/journal.h"
#include "core/types.h"

namespace r1 {

// One folder a rollout: journal/000012/. Unlike a single Journal it keeps the rollouts behind the present one until
// drop_before(), so that a run killed long after its last checkpoint samples nothing again.
class RolloutJournal {
 public:
  struct Contents {
    std::map<std::uint64_t, std::map<int, Completion>> completions;  // by prompt index, sample
    std::map<std::uint64_t, std::vector<Score>> scores;              // by prompt index
  };
  // An empty folder name means no journal: open() finds nothing, append does nothing.
  explicit RolloutJournal(std::filesystem::path root) : root_(std::move(root)) {}

  // Starts or continues a rollout. `fingerprint`: weights and everything else that its samples depend on; what was
  // written under another one is discarded.
  Contents open(std::uint64_t rollout, const Digest& fingerprint);
  // Thread-safe.
  void append_completion(std::uint64_t prompt_index, int sample, const Completion& completion);
  void append_scores(std::uint64_t prompt_index, const std::vector<Score>& scores);
  void sync();
  void drop_before(std::uint64_t rollout);  // call it after a checkpoint that holds everything before `rollout`

 private:
  std::filesystem::path root_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace r1
