// A recipe: one YAML file with overrides and a preset -> the option structs of every part of a GRPO run, checked as a
// whole before any work. The sections and their keys are described at the structs; docs: ux.md "Recipe (YAML)".
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/weights.h"
#include "recipes/data_section.h"
#include "rewards/audit/auditor.h"
#include "rewards/factory.h"
#include "rewards/rubric.h"
#include "rl/audit_watch.h"
#include "rl/learner.h"
#include "rl/trainer.h"
#include "rl/transformer_policy.h"
#include "rollout/local_engine.h"

namespace r1 {

// model:
struct ModelSection {
  std::string path;            // HF directory, GGUF file, or a hub name in the local cache. Required.
  std::string device = "auto"; // device: cpu, cuda, or auto: the GPU where the program knows one and it answers
  DType dtype = DType::kBF16;  // dtype: bfloat16 or float32, of the live weights; the optimizer's master is float32
};

// output:
struct OutputSection {
  std::filesystem::path dir;        // the run folder; default runs/NAME of the recipe file
  int keep = 3;                     // checkpoints that stay; 0 = all
  std::int64_t samples_every = 10;  // updates between transcripts in samples/ and on the screen; 0 = none
  bool tensorboard = true;
};

// audit: a second check of a sample of the completions; see docs/audit.md. It decides no number of the run.
struct AuditSection {
  // share: of completions, 0.25; 0 = no audit. check: auto (rewards if `rewards` is set; else code for rows with tests if
  // a reward is `code`, and answer), answer, code, rewards, none. rewards: entries as in `rewards:`. code: options of
  // make_code_check. require_end: for answers; default true if a reward has it. Null = no audit.
  std::shared_ptr<const Auditor> auditor;
  std::map<std::string, double> claims;  // ignore: labels left out; default the rewards that only measure form
  AuditWatchOptions watch;               // window 5, sigmas 4, min_rise 0.05
};

struct Recipe {
  std::string name;  // file name without extension
  ModelSection model;
  DataSection data;
  std::optional<DataSection> eval_data;  // none = no evaluation
  LocalEngineOptions engine;             // rollout: max_rows, kv_cache_gb, prefill_tokens_per_step; 0 = what suits the device
  double gpu_memory_share = 0.9;         // rollout: of what is free on the GPU at the start
  TrainerOptions trainer;                // rollout:, rl:, eval:, output.save_every, seed
  GrpoOptions learner;                   // rl:, train.numerics; the budget of a micro-batch is not set there yet
  std::optional<std::int64_t> tokens_per_micro_batch;  // train.; none = what suits the device
  TransformerPolicy::Options policy;
  std::optional<bool> recompute;         // train.recompute: gradient checkpointing; none = auto, by the memory that is free
  int threads = 0;                       // train.threads; 0 = all usable cores
  AuditSection audit;
  OutputSection output;
  std::shared_ptr<const Rubric> rubric;    // rewards:
  std::vector<std::string> warnings;       // settings that work but are probably not meant; one sentence each
  std::optional<ResolvedConfig> resolved;  // every value with its origin, for config.yaml and `r1 plan`
};

// Reads, merges the preset, checks. Throws ConfigError with file, line, key and remedy for the first problem (unknown
// keys: for all); also for a data file that does not exist. Reads no data and no model. `context` adds rewards (python,
// grpc, plugin).
Recipe load_recipe(const std::filesystem::path& path, std::span<const std::string> overrides = {},
                   RewardContext context = {});
// The same from text; `name` stands in errors.
Recipe parse_recipe(const std::string& yaml, const std::string& name, std::span<const std::string> overrides = {},
                    RewardContext context = {});

// The recipe's digest over everything that decides the numbers of a run: output, evaluation, threads and a constant
// schedule's number of steps may change between starts.
std::string recipe_digest(const Recipe& recipe);

namespace detail {  // one function a section; recipe_*.cpp
DataSection read_data(ConfigReader& reader, const std::string& split);
void read_rollout(ConfigReader reader, Recipe& recipe);
void read_rl(ConfigReader reader, Recipe& recipe);
void read_eval(ConfigReader reader, Recipe& recipe);
// `written`: for what the rewards' own entries say.
void read_audit(ConfigReader reader, const Config& written, const RewardContext& context, Recipe& recipe);
}  // namespace detail

}  // namespace r1
