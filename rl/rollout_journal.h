// What a rollout finished, kept until a checkpoint holds it: completions as they end, scores as they are given.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "core/digest.h"
#include "core/journal.h"
#include "core/types.h"
#include "rl/ranks.h"

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
  // With several ranks rank 0 alone has the folder; the others send it what they finish, and all learn what was found.
  explicit RolloutJournal(std::filesystem::path root, const Ranks* ranks = nullptr);
  ~RolloutJournal();

  // Starts or continues a rollout. `fingerprint`: weights and everything else that its samples depend on; what was
  // written under another one is discarded.
  Contents open(std::uint64_t rollout, const Digest& fingerprint);
  // Thread-safe.
  void append_completion(std::uint64_t prompt_index, int sample, const Completion& completion);
  void append_scores(std::uint64_t prompt_index, const std::vector<Score>& scores);
  void sync();
  void drop_before(std::uint64_t rollout);  // call it after a checkpoint that holds everything before `rollout`

 private:
  void append(std::uint32_t kind, std::uint64_t key, const std::string& payload);
  void take_post(std::string_view post);
  bool writes() const { return !ranks_ || ranks_->rank() == 0; }
  std::filesystem::path root_;
  const Ranks* ranks_;
  std::mutex mutex_;  // the journal against posts of the rollout before
  std::uint64_t rollout_ = 0;
  std::unique_ptr<Journal> journal_;
};

}  // namespace r1
