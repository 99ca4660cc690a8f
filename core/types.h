// The data that travels through one training step: prompts -> rollout -> rewards -> advantages -> learner.
// Plain host structs without torch, JSON or gRPC types: the same struct goes through a call, a queue, a JSON
// line or a message. Values; copyable; no thread safety of their own.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace r1 {

using TokenId = std::int32_t;
// Number of optimizer updates behind a set of weights; 0 = the start weights.
using WeightVersion = std::uint64_t;
// 128-bit digest of the weights that a version names.
using WeightDigest = std::array<std::uint8_t, 16>;

// Why a completion ended. kEos: an end-of-sequence token of the model; kStop: a stop token or stop string of the
// request; kLength: the token budget or the context ended; kAborted: cancelled.
enum class StopReason : std::uint8_t { kEos, kStop, kLength, kAborted };

// The raw verdict of the reward that decides correctness. Details go to Score::detail.
enum class Verdict : std::uint8_t { kCorrect, kWrong, kUnparsed, kTimeout, kError, kAbstain };

const char* to_string(StopReason);  // "eos", "stop", "length", "aborted"
const char* to_string(Verdict);     // "ok", "wrong", "unparsed", "timeout", "error", "abstain"

struct Message {
  std::string role;     // "system", "user", "assistant", "tool"
  std::string content;  // UTF-8
};

struct Prompt {
  std::string id;                              // unique within a data set
  std::string task;                            // picks the rubric entry: "math", "code", "chat"; may be empty
  std::vector<TokenId> tokens;                 // [P] chat template applied
  std::string text;                            // the rendered template, for people and for format checks of a prefill
  std::string reference;                       // the gold answer rewards check against; may be empty
  std::vector<Message> messages;               // before the template
  std::map<std::string, std::string> columns;  // every column of the data row, as JSON text
};

// Weights behind a run of tokens: tokens [start, next.start) were drawn under `version`.
struct VersionRun {
  std::int32_t start = 0;
  WeightVersion version = 0;
  WeightDigest digest{};
};

struct Completion {
  std::vector<TokenId> tokens;         // [L] the end token included
  std::vector<float> logprobs;         // [L] nats, under the distribution each token was drawn from
  std::vector<float> entropies;        // [L] nats, of that distribution before top-k/p; empty if not asked for
  std::vector<std::uint8_t> sampled;   // [L] 1 = drawn by the policy, 0 = forced; empty = all drawn
  // [P + L - 1][choices] the experts that each position of prompt and completion met, all layers of a mixture of experts
  // (Transformer::expert_choices); empty if not asked for.
  std::vector<std::uint16_t> experts;
  std::string text;                    // decoded once, special tokens left out; rewards read this
  StopReason stop = StopReason::kAborted;
  std::vector<VersionRun> version_runs;  // ordered by start; the first starts at 0
};

struct SampleGroup {
  Prompt prompt;
  std::vector<Completion> completions;  // [G]
};

// A reward for one step of a completion (process supervision).
struct StepReward {
  std::int32_t token = 0;  // the completion's token that ends the step, from 0
  float value = 0.f;
};

struct Score {
  float value = 0.f;                   // what the advantage sees: the weighted sum
  std::map<std::string, float> parts;  // each reward's unweighted value by name; absent = abstained
  Verdict verdict = Verdict::kAbstain;  // dynamic sampling filters on it, never on the value
  std::string detail;                  // a word or sentence behind the verdict
  std::map<std::string, std::string> columns;  // gold_parsed, answer_parsed, ...: for tables and the audit
  std::vector<StepReward> steps = {};  // weighted, of every reward that judges steps; in no order
};

struct ScoredGroup {
  SampleGroup group;
  std::vector<Score> scores;  // [G]
};

// One training sequence. Entry t of the per-token vectors speaks of token t; entry 0 never trains.
struct TrainSample {
  std::string name;                      // "prompt id/sample index", named when a number goes bad
  std::vector<TokenId> tokens;           // [T] prompt + completion
  std::int32_t prompt_length = 0;        // samples of one group share tokens [0, prompt_length)
  std::uint64_t group = 0;               // same value = same prompt: the learner computes the prompt once
  std::vector<std::uint8_t> loss_mask;   // [T] 1 = trained
  std::vector<float> behavior_logprobs;  // [T] nats under the sampler; 0 where not trained
  std::vector<float> old_logprobs;       // [T] nats under the learner when the batch was collected; empty = behavior
  std::vector<float> advantages;         // [T]
  std::vector<std::uint16_t> experts;    // [T - 1][choices] to be met again by the learner (routing replay); empty = it chooses
  WeightVersion oldest = 0;              // of any token
};

}  // namespace r1
