// The recorded rollouts of a run folder, read back: for `r1 replay`, `r1 reward-diff` and `r1 watch`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"
#include "rl/rollout_record.h"

namespace r1 {

// Reads the folder anew at each call, so that it follows a run that goes on. Thread-safe.
class RecordedRun {
 public:
  // Throws ConfigError if the folder holds no run.
  explicit RecordedRun(std::filesystem::path dir);

  const std::filesystem::path& path() const { return dir_; }
  Config config() const;  // config.yaml
  // First updates of the rollouts that are recorded, rising.
  std::vector<std::int64_t> rollouts() const { return recorded_steps(dir_ / "rollouts", ".rollout"); }
  // The rollout that update `step` was made on. Throws ConfigError naming the recorded steps if it is not there.
  RecordedRollout rollout(std::int64_t step) const;
  // The recorded updates of that rollout, in order; may be none.
  std::vector<RecordedUpdate> updates(const RecordedRollout& rollout) const;
  // Calls `use` for each rollout in order; where none was recorded, for the groups in samples/, whose prompts have no columns.
  // Returns false in that case.
  bool each_rollout(const std::function<void(const RecordedRollout&)>& use) const;

 private:
  std::filesystem::path dir_;
};

// What the updates of a rollout did with one sample: a line a token and pass, by position.
struct TokenUpdate {
  std::int64_t step = 0;
  float logprob = 0, old_logprob = 0, advantage = 0, gradient = 0, kl = 0;
  std::uint8_t clipped = 0;
};
std::map<std::int32_t, std::vector<TokenUpdate>> token_updates(const std::vector<RecordedUpdate>& updates, std::int32_t sample);

// The recipe of a run without what lies outside its folder: model, data and rewards are not asked for. Throws ConfigError.
Config portable_config(const RecordedRun& run);

}  // namespace r1
