// Tests of the engine: a tiny random model, a tokenizer for its 512 ids, short ways to make requests and to run them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/compute_pool.h"
#include "core/rng.h"
#include "model/transformer.h"
#include "rollout/local_engine.h"
#include "text/tokenizer.h"

namespace r1::test {

inline constexpr TokenId kEnd = 510, kPad = 511;

// Byte-level: ids 0..255 are bytes, 256..509 pieces of two letters, then the special tokens <end> and <pad>.
std::shared_ptr<const Tokenizer> tiny_tokenizer();
ModelConfig tiny_config();

// Two layers of width 64; weights from the seed, wide enough that distributions are far from uniform.
struct TinyModel {
  explicit TinyModel(DType dtype, std::uint64_t seed = 1, int threads = 2);
  ComputePool pool;
  Transformer transformer;
};

std::vector<TokenId> random_tokens(std::uint64_t seed, int n);  // of the 256 + 254 ordinary ids
RolloutRequest request(std::uint64_t number, int prompt_length, int samples, int max_new_tokens, float temperature = 1.f);

// Submits, waits, returns completions by request and sample.
std::vector<std::vector<Completion>> run(RolloutEngine& engine, const std::vector<RolloutRequest>& requests);
std::vector<std::vector<Completion>> run(Transformer& model, const LocalEngineOptions& options, const std::vector<RolloutRequest>& requests);
std::vector<Completion> run_one(Transformer& model, const LocalEngineOptions& options, const RolloutRequest& request);

// Options of an engine that only holds `blocks` KV blocks; blocks are filled with NaN before use.
LocalEngineOptions small_engine(const Transformer& model, int blocks = 64);

// Log-probabilities of a completion by the learner's path.
LogprobRows evaluate(Transformer& model, const std::vector<TokenId>& prompt, const std::vector<TokenId>& completion, float temperature);
// Logits after prompt + completion, in float64, [vocab].
std::vector<double> next_logits(Transformer& model, const std::vector<TokenId>& tokens);
// Upper tail of chi-square by Wilson and Hilferty's normal approximation: z of the statistic.
double chi_square_z(double statistic, double degrees);

}  // namespace r1::test
