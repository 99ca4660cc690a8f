// One model on several ranks, tensor, sequence and expert parallel: loss, gradients and updates of one process, the exactness promise, and
// checkpoints over other numbers of ranks. Processes over Gloo.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <sstream>

#include "core/error.h"
#include "rl/ranks_run.h"
#include "rl/stop_test_support.h"
#include "rl/transformer_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::digest_line;
using test::numbers_in;
using test::numbers_of;
using test::train;
using test::TransformerRun;
using test::TransformerRunOptions;

struct Family {
  const char* name;
  std::vector<std::pair<std::string, std::string>> edits;
};

const std::pair<std::string, std::string> kHeads{"\"num_attention_heads\": 2", "\"num_attention_heads\": 4"}, kKv{"\"num_key_value_heads\": 1", "\"num_key_value_heads\": 4"},
    kTwoKv{"\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2"}, kUntied{"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"},
    kOddVocabulary{"\"vocab_size\": 48", "\"vocab_size\": 51"};

// Biases, norms of queries and keys, grouped heads, tied and untied heads, a vocabulary that does not divide.
std::vector<Family> families() {
  return {{"llama", {kHeads, kKv}},
          {"llama with biases, untied, odd vocabulary",
           {kHeads, kTwoKv, kUntied, kOddVocabulary, {"\"mlp_bias\": false", "\"mlp_bias\": true"}, {"\"attention_bias\": false", "\"attention_bias\": true"}}},
          {"qwen3", {kHeads, kTwoKv, {"\"model_type\": \"llama\"", "\"model_type\": \"qwen3\""}, {"LlamaForCausalLM", "Qwen3ForCausalLM"}}}};
}

TransformerRunOptions options(const Family& family) {
  TransformerRunOptions o = test::tiny_options();
  o.trainer.prompts_per_rollout = 5;  // uneven shares
  o.dtype = DType::kF32;
  o.config_edits = family.edits;
  return o;
}

void share(TransformerRunOptions& o, bool tensor, int size) { (tensor ? o.tensor_parallel : o.sequence_parallel) = size; }

// The run's numbers, a line: every step's, or `gradient` and what a forward pass gave.
std::string text_of(const std::vector<double>& numbers) {
  std::ostringstream out;
  char one[64];
  for (const double v : numbers) std::snprintf(one, sizeof one, "%a ", v), out << one;
  return out.str();
}

// Prompts shared by two samples, one of them long: rows of all kinds on each rank.
PackedBatch batch() {
  PackedBatch b;
  const auto add = [&](std::int32_t prefix_begin, std::int32_t prefix_end, int n, int seed) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    for (int i = 0; i < n; ++i) {
      b.tokens.push_back((seed * 7 + i * 11) % 48);
      b.positions.push_back(prefix_end - prefix_begin + i);
    }
    b.sequences.push_back({begin, static_cast<std::int32_t>(b.tokens.size()), prefix_begin < 0 ? -1 : prefix_begin, prefix_begin < 0 ? -1 : prefix_end});
    return begin;
  };
  const auto targets = [&](std::int32_t begin, int from) {
    for (auto i = begin + from; i + 1 < static_cast<std::int32_t>(b.tokens.size()); ++i) b.predictors.push_back(i), b.targets.push_back(b.tokens[static_cast<std::size_t>(i + 1)]);
  };
  add(0, 0, 37, 1);  // its prefix is empty: fixed below
  b.sequences[0].prefix_begin = b.sequences[0].prefix_end = -1;
  targets(add(0, 37, 9, 2), 0);
  targets(add(0, 37, 5, 3), 0);
  const auto last = static_cast<std::int32_t>(b.tokens.size());
  add(-1, -1, 21, 4);
  targets(last, 6);
  return b;
}

// Loss terms with signs and sizes of their own, entropies too.
std::vector<float> weights_of(std::size_t n, float scale) {
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = scale * static_cast<float>(static_cast<int>(i * 5 % 7) - 3);
  return out;
}

// Log-probabilities, entropies, the gradient's norm, and the whole gradient as a state's tensors would be gathered.
std::string pass(TransformerRunOptions o, Session* session, bool recompute) {
  o.session = session;
  const TransformerRun run(o, {});
  Transformer& model = *run.model;
  auto& policy = dynamic_cast<TransformerPolicy&>(*run.policy);
  const PackedBatch b = batch();
  const LogprobRows before = model.evaluate(b, 0.8f, true);
  policy.zero_gradient();
  const LogprobRows rows = model.forward(b, 0.8f, true, recompute);
  R1_CHECK(before.logprobs == rows.logprobs && before.entropies == rows.entropies && before.top_logprobs == rows.top_logprobs, "two passes with other bits");
  model.backward(weights_of(b.predictors.size(), 0.1f), weights_of(b.predictors.size(), 0.02f), policy.arena().gradient());
  if (session) policy.finish_gradient();
  std::vector<double> out(rows.logprobs.begin(), rows.logprobs.end());
  out.insert(out.end(), rows.entropies.begin(), rows.entropies.end());
  out.push_back(std::sqrt(policy.gradient_sum_of_squares()));
  WeightSnapshot gradient;
  for (const Parameter& p : model.weights().parameters())
    gradient.tensors.push_back({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(policy.arena().gradient().data() + p.offset), -1});
  if (model.parallel().parts()) gradient = gather_whole(model.weights(), gradient, *model.parallel().parts());
  for (const TensorView& t : gradient.tensors) {
    const auto* values = reinterpret_cast<const float*>(t.data);
    out.insert(out.end(), values, values + t.elements());
  }
  return text_of(out);
}
// All ranks' output, which is the same.
std::string on_ranks(int world, const std::function<std::string(Session&)>& body) {
  const auto results = test::run_ranks(world, body);
  for (const auto& r : results) {
    CAPTURE(r.output.substr(0, 2000));
    CHECK(r.status == 0);
  }
  return results[0].output;
}

void near(const std::vector<double>& got, const std::vector<double>& want, double tolerance) {
  REQUIRE(got.size() == want.size());
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]) / std::max(1.0, std::abs(want[i])));
  INFO("largest difference ", worst);
  CHECK(worst <= tolerance);
}

}  // namespace

namespace {

TransformerRunOptions expert_options(const std::string& family, int size) {
  TransformerRunOptions o = options({});
  o.config = "tests/golden/model/" + family + "/config.json";
  o.expert_parallel = size;
  return o;
}

}  // namespace

// Four ranks have two sequences to share: two of them only serve experts.
TEST_CASE("expert parallel on 2 and 4 ranks: log-probabilities, entropies and experts' gradients with the bits of one process, the rest up to the order of its sum") {
  const std::size_t exact = 2 * batch().predictors.size();
  for (const std::string family : {"tiny-v3", "tiny-v2", "tiny-v1", "tiny-mixtral", "tiny-qwen3-moe"})
    for (const bool recompute : {true, false}) {
      CAPTURE(family);
      CAPTURE(recompute);
      const std::vector<double> want = numbers_in(pass(expert_options(family, 1), nullptr, recompute));
      const TransformerRun whole(expert_options(family, 1), {});
      for (const int size : {2, 4}) {
        if (size == 4 && family == "tiny-qwen3-moe") continue;  // six experts
        CAPTURE(size);
        const std::vector<double> got = numbers_in(on_ranks(size, [&](Session& s) { return pass(expert_options(family, size), &s, recompute); }));
        near(got, want, 2e-5);
        CHECK(std::equal(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(exact), got.begin()));
        std::size_t at = exact + 1, experts = 0;
        for (const Parameter& p : whole.model->weights().parameters()) {
          const auto n = static_cast<std::size_t>(p.elements);
          if (p.name.find(".experts.") != std::string::npos) {
            ++experts;
            CHECK(std::equal(want.begin() + static_cast<std::ptrdiff_t>(at), want.begin() + static_cast<std::ptrdiff_t>(at + n), got.begin() + static_cast<std::ptrdiff_t>(at)));
          }
          at += n;
        }
        CHECK(experts >= 12);
        CHECK(at == want.size());
      }
    }
}

TEST_CASE("three updates of GRPO, expert parallel, alone and beside data parallel: the numbers of one process, rollout and learner with the same bits") {
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const std::string family : {"tiny-v3", "tiny-qwen3-moe"}) {
      CAPTURE(family);
      const auto with = [&](int size) {
        TransformerRunOptions o = expert_options(family, size);
        o.dtype = dtype;
        o.trainer.steps = 3;
        o.grpo.exact = true;
        if (family == "tiny-v3") o.grpo.router = {true, 0.01, 0.01};  // replay, balance loss, moving biases
        return o;
      };
      const std::string one = train(with(1), nullptr);
      for (const auto& [world, size] : {std::pair{2, 2}, {4, 2}}) {
        CAPTURE(world);
        const auto results = test::run_ranks(world, [&](Session& s) { return train(with(size), &s); });
        for (const auto& r : results) {
          CAPTURE(r.output);
          CHECK(r.status == 0);
          CHECK(digest_line(r.output) == digest_line(results[0].output));
        }
        if (dtype == DType::kF32) near(numbers_of(results[0].output), numbers_of(one), 1e-4);
      }
    }
}

TEST_CASE("a checkpoint of expert parallel ranks goes on in one process and the other way round; each rank holds its part of the experts") {
  const auto run_on = [&](int size, std::int64_t steps, const std::filesystem::path& folder) {
    TransformerRunOptions o = expert_options("tiny-v3", size);
    o.grpo.router = {true, 0, 0.01};
    o.trainer.save_every = 1;
    o.trainer.steps = steps;
    if (size == 1) return train(o, nullptr, folder);
    return on_ranks(size, [&](Session& s) { return train(o, &s, folder); });
  };
  const std::vector<double> want = numbers_of(run_on(1, 4, {}));
  for (const auto& [first, second] : {std::pair{2, 1}, {1, 2}, {4, 2}}) {
    CAPTURE(first);
    const test::TempDir dir;
    std::vector<double> got = numbers_of(run_on(first, 3, dir.path()));
    const std::vector<double> rest = numbers_of(run_on(second, 4, dir.path()));
    got.insert(got.end(), rest.begin(), rest.end());
    near(got, want, 1e-4);
  }
  const test::TempDir dir;  // on the same ranks: bit for bit
  run_on(2, 3, dir.path());
  CHECK(digest_line(run_on(2, 4, dir.path())) == digest_line(run_on(2, 4, {})));
  const TransformerRun whole(expert_options("tiny-v3", 1), {});
  std::int64_t experts = 0;
  for (const Parameter& p : whole.model->weights().parameters()) experts += p.name.find(".experts.") != std::string::npos ? p.elements : 0;
  CHECK(on_ranks(4, [&](Session& s) {
    TransformerRunOptions o = expert_options("tiny-v3", 4);
    o.session = &s;
    const TransformerRun run(o, {});
    return std::to_string(run.model->weights().elements());
  }) == std::to_string(whole.model->weights().elements() - experts * 3 / 4));
}

// float32: the sums over heads, columns and vocabulary are made in parts, a few roundings of 6e-8 of terms of size 1 (logits of size 10, of
// gradients of the same size).
TEST_CASE("tensor parallel on 2 and 4 ranks: log-probabilities, entropies and gradients of one process") {
  for (const Family& family : families()) {
    CAPTURE(family.name);
    TransformerRunOptions o = options(family);
    for (const bool recompute : {true, false}) {
      if (!recompute && std::string_view(family.name) == "llama") continue;  // the others show it
      const std::vector<double> want = numbers_in(pass(o, nullptr, recompute));
      for (const int size : {2, 4}) {
        if (size == 4 && std::string_view(family.name) != "llama") continue;  // two key-value heads
        CAPTURE(size);
        TransformerRunOptions mine = o;
        share(mine, true, size);
        near(numbers_in(on_ranks(size, [&](Session& s) { return pass(mine, &s, recompute); })), want, 2e-5);
      }
    }
  }
}

TEST_CASE("sequence parallel on 2 and 4 ranks: the very log-probabilities of one process, its gradients up to the order of the sum over rows") {
  for (const Family& family : families()) {
    CAPTURE(family.name);
    TransformerRunOptions o = options(family);
    const std::size_t exact = 2 * batch().predictors.size();
    for (const bool recompute : {true, false}) {
      if (!recompute && std::string_view(family.name) == "llama") continue;  // the others show it
      const std::vector<double> want = numbers_in(pass(o, nullptr, recompute));
      for (const int size : {2, 4}) {
        if (size == 4 && std::string_view(family.name) != "llama") continue;  // two key-value heads
        CAPTURE(size);
        TransformerRunOptions mine = o;
        share(mine, false, size);
        const std::vector<double> got = numbers_in(on_ranks(size, [&](Session& s) { return pass(mine, &s, recompute); }));
        near(got, want, 2e-5);
        CHECK(std::equal(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(exact), got.begin()));
      }
    }
  }
}

TEST_CASE("three updates of GRPO, tensor and sequence parallel, alone and beside data parallel: the numbers of one process, rollout and learner with the same bits") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool tensor : {true, false}) {
      CAPTURE(tensor);
      TransformerRunOptions o = options(families()[0]);
      o.dtype = dtype;
      o.trainer.steps = 3;
      o.grpo.exact = true;  // a token whose log-probability differs between rollout and learner is an error
      const std::vector<double> want = numbers_of(train(o, nullptr));
      for (const auto& [world, size] : {std::pair{2, 2}, {4, 2}, {4, 4}}) {
        CAPTURE(world);
        TransformerRunOptions mine = o;
        share(mine, tensor, size);
        const auto results = test::run_ranks(world, [&](Session& s) { return train(mine, &s); });
        for (const auto& r : results) {
          CAPTURE(r.output);
          CHECK(r.status == 0);
          CHECK(digest_line(r.output) == digest_line(results[0].output));
        }
        // bfloat16 weights round each sum: a draw may fall on another token, which changes all after it.
        if (dtype == DType::kF32) near(numbers_of(results[0].output), want, 1e-4);
      }
    }
  }
}

TEST_CASE("a checkpoint of tensor parallel ranks goes on in one process and the other way round") {
  TransformerRunOptions o = options(families()[0]);
  o.trainer.steps = 4;
  o.trainer.save_every = 1;
  const std::vector<double> want = numbers_of(train(o, nullptr));
  const auto run_on = [&](int size, bool tensor, std::int64_t steps, const std::filesystem::path& folder) {
    TransformerRunOptions mine = o;
    mine.trainer.steps = steps;
    if (size == 1) return numbers_of(train(mine, nullptr, folder));
    share(mine, tensor, size);
    return numbers_of(on_ranks(size, [&](Session& s) { return train(mine, &s, folder); }));
  };
  for (const bool tensor : {true, false})
    for (const auto& [first, second] : {std::pair{2, 1}, {1, 2}, {4, 2}}) {
      CAPTURE(tensor);
      CAPTURE(first);
      const test::TempDir dir;
      std::vector<double> got = run_on(first, tensor, 3, dir.path());  // inside a rollout; the reference was refreshed
      const std::vector<double> rest = run_on(second, tensor, 4, dir.path());
      got.insert(got.end(), rest.begin(), rest.end());
      near(got, want, 1e-4);
    }
  // On the same ranks: bit for bit.
  const test::TempDir dir;
  const auto digest = [&](std::int64_t steps, const std::filesystem::path& folder) {
    TransformerRunOptions mine = o;
    mine.trainer.steps = steps;
    share(mine, true, 2);
    return digest_line(on_ranks(2, [&](Session& s) { return train(mine, &s, folder); }));
  };
  digest(3, dir.path());
  CHECK(digest(4, dir.path()) == digest(4, {}));
}

TEST_CASE("ranks of one model sample together: one of them scores, and a stop of any is one of all, at the same place") {
  TransformerRunOptions o = options(families()[0]);
  o.trainer.save_every = 0;
  share(o, true, 2);
  const std::string want = digest_line(on_ranks(2, [&](Session& s) { return train(o, &s); }));
  const test::TempDir dir;
  const auto options_of = [&](Session& s) {
    TransformerRunOptions mine = o;
    mine.scorer = [&s](const SampleGroup& g) {
      R1_CHECK(s.rank() == 0, "the second rank scores too");
      return test::score_even(g);
    };
    return mine;
  };
  test::stop_both(dir.path(), options_of, [](Session& s) { return std::make_unique<test::StopOfSecondRank>(s.rank()); });
  CHECK(digest_line(on_ranks(2, [&](Session& s) { return train(o, &s, dir.path()); })) == want);
}

TEST_CASE("numbers that do not divide are refused by name") {
  const auto message_of = [](int world, TransformerRunOptions o) {
    return test::run_ranks(world, [&](Session& s) {
      TransformerRunOptions mine = o;
      mine.session = &s;
      TransformerRun run(mine, {});
      return std::string("not refused");
    })[0].output;
  };
  TransformerRunOptions o = options(families()[0]);
  o.tensor_parallel = 2;
  CHECK(message_of(3, o).find("train.tensor_parallel is 2, but 3 ranks are not a multiple of it") != std::string::npos);
  o.tensor_parallel = 3;
  CHECK(message_of(3, o).find("train.tensor_parallel is 3, but this model's 4 attention heads are not divisible by it") != std::string::npos);
  o = options(families()[2]);
  o.tensor_parallel = 4;
  CHECK(message_of(4, o).find("this model's 2 key-value heads are not divisible by it") != std::string::npos);
  o.tensor_parallel = 1, o.sequence_parallel = 4;
  CHECK(message_of(4, o).find("train.sequence_parallel is 4, but this model's 2 key-value heads are not divisible by it") != std::string::npos);
  o = options(families()[0]);
  o.tensor_parallel = o.sequence_parallel = 2;
  CHECK(message_of(4, o).find("all but one of them must be 1") != std::string::npos);
  CHECK(message_of(2, expert_options("tiny-qwen2-moe", 2)).find("train.expert_parallel is 2, but this model's 5 experts of a layer are not divisible by it") != std::string::npos);
  o = options(families()[0]);
  o.expert_parallel = 2;
  CHECK(message_of(2, o).find("train.expert_parallel is 2, but this llama model has no experts") != std::string::npos);
  o = expert_options("tiny-v3", 2);
  o.engine.speculative = true;
  o.prediction_layers = 1;
  CHECK(message_of(2, o).find("rollout.speculative and train.expert_parallel do not go together") != std::string::npos);
  o = options(families()[0]);
  o.tensor_parallel = 2, o.zero = 1;
  CHECK(message_of(2, o).find("train.zero is 1 beside train.tensor_parallel") != std::string::npos);
}

}  // namespace r1
