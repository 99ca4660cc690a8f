// A recipe: one YAML file with overrides and a preset -> the option structs of every part of a GRPO run, checked as a
// whole before any work. The sections and their keys are described at the structs; those of rl: in docs/algorithms.md.
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
#include "proto/grpc_engine.h"
#include "recipes/common_sections.h"
#include "recipes/data_section.h"
#include "rewards/audit/auditor.h"
#include "rewards/factory.h"
#include "rewards/rubric.h"
#include "rl/audit_watch.h"
#include "rl/learner.h"
#include "rl/optimizer_format.h"
#include "rl/trainer.h"
#include "rl/transformer_policy.h"
#include "rollout/local_engine.h"

namespace r1 {

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
  double gpu_memory_gb = 0;              // rollout: GiB that the GPU is treated as having; 0 = all of its own
  GrpcEngineOptions grpc;                // rollout: engine, grpc; no servers = the engine of this process
  TrainerOptions trainer;                // rollout:, rl:, eval:, output.save_every, seed
  GrpoOptions learner;                   // rl:, train.numerics; the budget of a micro-batch is not set there yet
  std::optional<LoraSection> lora;       // none = all parameters are trained
  TrainSection train;
  TransformerPolicy::Options policy;
  AuditSection audit;
  OutputSection output;
  std::string teacher;                     // kind distill, mode on_policy: its advantages take the rewards' place; empty = none
  std::shared_ptr<const Rubric> rubric;    // rewards:
  std::vector<std::string> warnings;       // settings that work but are probably not meant; one sentence each
  std::optional<ResolvedConfig> resolved;  // every value with its origin, for config.yaml and `r1 plan`
};

// Reads, merges the preset, checks. Throws ConfigError with file, line, key and remedy for the first problem (unknown
// keys: for all); also for a data file that does not exist. Reads no data and no model. `context` adds rewards (python,
// grpc, plugin).
Recipe load_recipe(const std::filesystem::path& path, std::span<const std::string> overrides = {},
                   RewardContext context = {});
// The same from what was read already, and from text; `name` stands in errors.
Recipe make_recipe(const Config& written, RewardContext context = {});
Recipe parse_recipe(const std::string& yaml, const std::string& name, std::span<const std::string> overrides = {},
                    RewardContext context = {});

// The recipe's digest over everything that decides the numbers of a run: output, evaluation, threads and a constant
// schedule's number of steps may change between starts.
std::string recipe_digest(const Recipe& recipe);

namespace detail {  // one function a section; recipe_*.cpp
DataSection read_data(ConfigReader& reader, const std::string& split);
// path_key (files) or generate, exactly one; checks that files exist.
void read_source(ConfigReader& reader, const std::string& path_key, const std::string& split, std::vector<std::string>& files,
                 std::optional<GeneratedData>& generate);
// template, template_file, instruction, system_prompt, template_variables.
void read_template(ConfigReader& reader, DataSection& out);
void read_rollout(ConfigReader reader, Recipe& recipe);
void read_rl(ConfigReader reader, Recipe& recipe);
// eval: a generative evaluation; `base` says everything about prompts but the source, `sampling` what is not set here.
struct EvalSection {
  std::optional<DataSection> data;  // none = no evaluation
  std::int64_t every = 0;           // updates
  bool at_start = false;
  EvalOptions options;
};
EvalSection read_eval(ConfigReader reader, const DataSection& base, const SamplingOptions& sampling, std::uint64_t seed);
void read_on_policy(ConfigReader& root, Recipe& recipe);  // distill:, and what it forbids elsewhere
std::shared_ptr<const Rubric> no_reward();               // pays 0 for everything
// `written`: for what the rewards' own entries say.
void read_audit(ConfigReader reader, const Config& written, const RewardContext& context, Recipe& recipe);
}  // namespace detail

}  // namespace r1
