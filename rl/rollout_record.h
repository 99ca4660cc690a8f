// Every rollout of a run as it was trained on, kept for `r1 replay`, `r1 reward-diff` and `r1 watch`. Two files an update, in rollouts/:
//   step_000012.rollout  groups with prompts, completions, log-probabilities, scores, advantages; at the first update of each rollout
//   step_000012.tokens   what the update did with each token that it trained
// Each is complete or not there; the oldest go when the folder outgrows its share of the disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rl/train_observer.h"

namespace r1 {

struct RecordedGroup {
  ScoredGroup scored;
  bool kept = true;                              // false: dropped by dynamic sampling
  std::vector<std::int32_t> samples;             // [G] index among the rollout's training samples; -1 = it became none
  std::vector<std::optional<float>> advantages;  // [G] of the first trained token; none = no token was trained
};

struct RecordedRollout {
  std::int64_t step = 0;  // its first update
  std::uint64_t rollout = 0;
  std::vector<RecordedGroup> groups;
};

// Of one sample; vectors [N] over its trained tokens.
struct RecordedTokens {
  std::int32_t sample = 0;               // index as in RecordedGroup; names need not be unique
  std::string name;                      // "prompt id/sample index"
  std::vector<std::int32_t> positions;   // of the completion's tokens, from 0
  std::vector<float> logprobs, old_logprobs, advantages, gradients, kl;
  std::vector<std::uint8_t> clipped;
};

struct RecordedUpdate {
  std::int64_t step = 0;
  std::uint64_t rollout = 0;
  std::vector<RecordedTokens> samples;
};

// Bytes of a record and back, every float bit for bit. The readers throw DataError for damaged bytes and another version.
std::string rollout_to_bytes(const StepRecord& record);
RecordedRollout rollout_from_bytes(std::string_view bytes);
std::string update_to_bytes(const StepRecord& record);
RecordedUpdate update_from_bytes(std::string_view bytes);

// Steps with a file of that ending in `dir`, rising; empty where there is no folder.
std::vector<std::int64_t> recorded_steps(const std::filesystem::path& dir, const std::string& extension);

class RolloutRecorder : public TrainObserver {
 public:
  struct Options {
    std::filesystem::path dir;
    std::uint64_t bytes = 1ull << 30;  // of the folder; the newest rollout stays whatever its size
  };
  explicit RolloutRecorder(Options options);
  void on_step(const StepRecord& record) override;

 private:
  void make_room();
  Options options_;
};

}  // namespace r1
