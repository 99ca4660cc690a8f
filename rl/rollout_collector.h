// One rollout from prompts to scored groups: what of the journal is taken over, how many rounds are sampled, which groups are kept.
// Used by the trainer's thread, or by the rollout's own (rl/rollout_thread.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rl/group_sampler.h"
#include "rl/prompt_stream.h"
#include "rl/rollout_journal.h"
#include "rl/trainer_options.h"

namespace r1 {

// Weights that a rollout is sampled with, at least in its beginning.
struct RolloutWeights {
  std::int64_t step = 0;      // updates of the run before them
  WeightVersion version = 0;
  WeightDigest digest{};      // zero where weights change within a rollout
};

struct CollectedRollout {
  std::uint64_t number = 0;
  std::uint64_t cursor = 0;                // prompts taken from the source, this rollout's included
  RolloutWeights weights;
  std::vector<ScoredGroup> groups;
  std::vector<std::uint8_t> kept;          // [groups] 0 = dropped by dynamic sampling
  std::map<std::string, double> metrics;   // dynamic_sampling/..., early_stop/...
  std::vector<std::string> messages;       // for people
  RolloutTimes times;
  double seconds = 0;                      // from its beginning to its last score
  double waited_for_weights_s = 0;         // before it could begin
};

// Not thread-safe but for abandon().
class RolloutCollector {
 public:
  // All outlive the collector. With `ranks`, to whom it then speaks in the thread that calls collect(), each rank samples and scores its share of the prompts, and all get the whole rollout.
  RolloutCollector(RolloutEngine& engine, const PromptStream& prompts, Scoring scoring, const std::filesystem::path& journal,
                   const TrainerOptions& options, const Ranks* ranks = nullptr);

  // The engine holds `weights`. Throws what the engine and the rewards throw, Interrupted after a stop request (in turns) or abandon().
  CollectedRollout collect(std::uint64_t number, std::uint64_t cursor, const RolloutWeights& weights,
                           const std::function<void(const RolloutProgress&)>& progress);
  void abandon();
  RolloutJournal& journal() { return journal_; }
  // Weights that this process did not make again: of the checkpoint it went on from. Where weights change within rollouts, a
  // completion in the journal counts only if none newer had a part in it.
  void set_trusted(WeightVersion version) { trusted_ = version; }

 private:
  Digest fingerprint(std::uint64_t number, std::uint64_t cursor, const WeightDigest& weights) const;
  // One scored group an item, in order: this rank's share sampled, the others' received. With `wanted` those that rl/early_stop.h keeps.
  std::vector<ScoredGroup> sample(std::vector<GroupSampler::Item> items, CollectedRollout& rollout, RolloutJournal::Contents& known,
                                  const std::function<void(const RolloutProgress&)>& progress, std::optional<std::size_t> wanted);
  std::vector<ScoredGroup> gather(std::span<const ScoredGroup> mine, std::size_t total, EarlyStopCounts& counts) const;
  void sample_groups(CollectedRollout& rollout, RolloutJournal::Contents known, const std::function<void(const RolloutProgress&)>& progress);

  RolloutEngine& engine_;
  const PromptStream& prompts_;
  const TrainerOptions& options_;
  const Ranks one_process_;
  const Ranks& ranks_;
  RolloutJournal journal_;
  std::optional<EarlyStopNews> news_;  // where ranks sample by themselves
  GroupSampler sampler_;
  WeightVersion trusted_ = 0;
};

}  // namespace r1
