// The examinations of `r1 doctor`. Each adds what it found; none throws for what it examines. What every name means: docs/doctor.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/types.h"
#include "doctor/findings.h"
#include "model/model_config.h"
#include "recipes/recipe.h"
#include "rollout/engine.h"
#include "text/tokenizer.h"

namespace r1::doctor {

// CPU and its instructions, memory, disk under `folder`, GPU, what the sandbox guarantees, toolchains of the code runner. Asks each
// toolchain for its version, in a box.
void check_machine(const std::filesystem::path& folder, Findings& out);

// A recipe that could not be read: the message, and for keys that other toolkits know, what they are called here.
void report_unreadable(const std::string& error, const Config& config, Findings& out);
// What the recipe says by itself: warnings of its reader, rates, counts, folders. `model` may be null.
void check_settings(const Recipe& recipe, const ModelConfig* model, Findings& out);

// Everything that is examined together. All outlive the examination.
struct Subject {
  const Recipe& recipe;  // kind grpo
  const ModelConfig& model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<Prompt> prompts, eval_prompts;  // those that can be scored
};

// Reads the prompts of data: (`key` "data") or eval:, keeps those that can be scored, and says what share that is, and why not the others.
std::vector<Prompt> load_prompts(const DataSection& data, const std::string& key, std::shared_ptr<const Tokenizer> tokenizer, const Rubric& rubric,
                                 Findings& out);
// Golds, duplicates, lengths, how long an epoch is, what training and evaluation share.
void check_data(const Subject& subject, Findings& out);
// The first prompt as the model reads it; what the template drops, doubles or does not know.
void check_template(const Subject& subject, Findings& out);
// Which tokens and texts end a completion, and whether the template's turns end with one of them.
void check_stops(const DatasetOptions& data, const ModelConfig& model, const Tokenizer& tokenizer, const SamplingOptions& sampling, Findings& out);
// Each reward on answers known to be right and wrong.
void check_rewards(const Subject& subject, Findings& out);
// Samples `count` prompts with the recipe's group size and scores them: pass@G, the share of groups that can teach, what is cut or unread.
void check_start_model(const Subject& subject, RolloutEngine& engine, std::size_t count, Findings& out);

// At most `count` of the prompts, evenly spread.
std::vector<const Prompt*> spread(std::span<const Prompt> prompts, std::size_t count);

}  // namespace r1::doctor
