// A whole training run on a table policy for tests: options -> learner, engine, trainer, checkpoints in a folder.
#pragma once

#include <cmath>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "model/safetensors.h"
#include "rl/table_value.h"
#include "rl/test_support.h"
#include "rl/trainer.h"

namespace r1::test {

// Checkpoints of any policy: one safetensors file and state.json a step.
class FolderStore : public CheckpointStore {
 public:
  explicit FolderStore(std::filesystem::path root) : root_(std::move(root)) { make_directories(root_); }
  std::filesystem::path save(const CheckpointState& state, const WeightSnapshot&,
                             const WeightSnapshot& optimizer) override {
    char name[32];
    std::snprintf(name, sizeof name, "step_%06d", static_cast<int>(state.step));
    AtomicDirectory dir(root_ / name);
    write_safetensors(dir.path() / "state.safetensors", optimizer.tensors);
    write_file_atomic(dir.path() / "state.json", state.to_json());
    dir.commit();
    return root_ / name;
  }
  std::optional<SavedRun> newest() override {
    std::vector<std::filesystem::path> found;
    for (const auto& e : std::filesystem::directory_iterator(root_))
      if (e.path().filename().string().starts_with("step_") && !e.path().filename().string().ends_with("tmp"))
        found.push_back(e.path());
    if (found.empty()) return std::nullopt;
    const auto path = *std::max_element(found.begin(), found.end());
    const SafetensorsFile file(path / "state.safetensors");
    return SavedRun{CheckpointState::from_json(read_file(path / "state.json"), "state.json"),
                    {},
                    {0, file.tensors(), file.owner()}};
  }

 private:
  std::filesystem::path root_;
};

// One token is right for a prompt: (last prompt token + 1) mod vocab. Value 1, a little for its neighbour.
inline std::vector<Score> score_bandit(const SampleGroup& g, std::int32_t vocab) {
  std::vector<Score> out;
  for (const Completion& c : g.completions) {
    const TokenId want = (g.prompt.tokens.back() + 1) % vocab;
    Score s;
    s.value = c.tokens.empty() ? 0.f : c.tokens[0] == want ? 1.f : c.tokens[0] == (want + 1) % vocab ? 0.1f : 0.f;
    s.parts["bandit"] = s.value;
    if (!c.tokens.empty()) s.steps = {{0, s.value}};
    s.verdict = s.value == 1.f ? Verdict::kCorrect : Verdict::kWrong;
    s.columns["bandit/verdict"] = to_string(s.verdict);
    out.push_back(std::move(s));
  }
  return out;
}

struct RunOptions {
  GrpoOptions grpo;
  TrainerOptions trainer;
  bool stream_rewards = false;  // completions are scored by themselves
};

struct TableRun {
  static constexpr std::int32_t kVocab = 6;
  std::unique_ptr<ComputePool> pool = std::make_unique<ComputePool>(1);
  std::unique_ptr<TablePolicy> policy, reference, sampled;  // `sampled`: the engine's own, with async.max_staleness above 0
  std::unique_ptr<TableValue> critic;  // with options.grpo.critic
  std::unique_ptr<TableEngine> engine;
  std::unique_ptr<ShuffledPrompts> prompts;
  std::unique_ptr<GrpoLearner> learner;
  std::unique_ptr<FolderStore> store;
  std::unique_ptr<Trainer> trainer;

  // `folder` empty = no checkpoints and no journal.
  TableRun(RunOptions options, const std::filesystem::path& folder, std::vector<TrainObserver*> observers = {},
           Scorer scorer = {}) {
    options.grpo.seed = options.trainer.seed;
    options.grpo.length_budget = options.trainer.sampling.max_new_tokens;
    policy = std::make_unique<TablePolicy>(kVocab, *pool);
    reference = std::make_unique<TablePolicy>(kVocab, *pool);
    if (options.trainer.async.max_staleness > 0) {
      options.grpo.stale_samples = true;
      sampled = std::make_unique<TablePolicy>(kVocab, *pool);
      engine = std::make_unique<TableEngine>(*sampled, kVocab - 1, std::true_type{});
    } else {
      engine = std::make_unique<TableEngine>(*policy, kVocab - 1);
    }
    std::vector<Prompt> list;
    for (TokenId t = 0; t < 3; ++t) list.push_back(make_prompt("p" + std::to_string(t), {5, t}));
    prompts = std::make_unique<ShuffledPrompts>(list, options.trainer.seed);
    if (options.grpo.critic) critic = std::make_unique<TableValue>(kVocab, *pool);
    learner = std::make_unique<GrpoLearner>(*policy, options.grpo.needs_reference() ? reference.get() : nullptr,
                                            options.grpo, critic.get());
    Trainer::Parts parts;
    parts.learner = learner.get();
    parts.engine = engine.get();
    parts.prompts = prompts.get();
    parts.scorer = scorer ? scorer : [](const SampleGroup& g) { return score_bandit(g, kVocab); };
    if (options.stream_rewards) parts.completion_scorer = parts.scorer;
    parts.eval_prompts = list;
    parts.observers = std::move(observers);
    if (!folder.empty()) {
      store = std::make_unique<FolderStore>(folder / "checkpoints");
      parts.checkpoints = store.get();
      parts.journal = folder / "journal";
    }
    trainer = std::make_unique<Trainer>(parts, options.trainer);
  }

  // Probability of the right token, the least over the prompts.
  double skill() const {
    double least = 1;
    for (TokenId t = 0; t < 3; ++t)
      least = std::min(least, std::exp(policy->log_distribution(t, 1.f)[static_cast<std::size_t>((t + 1) % kVocab)]));
    return least;
  }
};

}  // namespace r1::test
