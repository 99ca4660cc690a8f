// A GPU policy as one of several, a GPU each: the update of one GPU up to rounding, the same bits on all ranks and with the optimizer's state
// in shares, checkpoints over other numbers of ranks. With one GPU: one rank.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <sstream>

#include "comm/gpu_ranks_test_support.h"
#include "core/digest.h"
#include "core/rng.h"
#include "rl/gpu_policy.h"
#include "rl/gpu_test_support.h"
#include "rl/gpu_value.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

constexpr int kMicroBatches = 4, kUpdates = 3;

using test::small_config;

PackedBatch sequences(std::uint64_t seed) {
  PackedBatch b;
  StreamRng random(seed, 1);
  for (int s = 0; s < 4; ++s) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    for (std::int32_t i = 0; i < 50; ++i) {
      b.tokens.push_back(static_cast<TokenId>(random.below(503))), b.positions.push_back(i);
      b.predictors.push_back(begin + i), b.targets.push_back(static_cast<TokenId>(random.below(503)));
    }
    b.sequences.push_back({begin, begin + 50, -1, -1});
  }
  return b;
}

struct Run {
  GpuTransformer model{small_config()};
  gpu::DeviceMemory memory{std::size_t{128} << 20};
  GpuRegion region{memory};
  std::unique_ptr<GpuPolicy> policy;
  Run(OptimizerFormat format, GpuOptimizer::Shard shard) {
    model.weights().init_random(3, 0.08f);
    policy = std::make_unique<GpuPolicy>(model, region, GpuPolicy::Options{false, MasterStart::kSpread, format, shard});
  }
  // This rank's share of the update's micro-batches; gives the gradient's norm.
  double update(int number, int rank, int world) {
    policy->zero_gradient();
    for (int i = rank * kMicroBatches / world; i < (rank + 1) * kMicroBatches / world; ++i) {
      const LogprobRows rows = policy->forward(sequences(static_cast<std::uint64_t>(i)), 1.f, false);
      policy->backward(std::vector<float>(rows.logprobs.size(), -1.f / 800), {});
    }
    policy->finish_gradient();
    const double norm = std::sqrt(policy->gradient_sum_of_squares());
    AdamWStep step;
    step.learning_rate = 1e-3, step.weight_decay = 0.1, step.update = number;
    policy->adamw(step);
    R1_CHECK(!policy->find_non_finite(ParameterPart::kMaster), "a bad weight");
    return norm;
  }
};

// Digest; then norms and some of the master.
std::string train(Session& s, OptimizerFormat format, int zero) {
  test::take_gpu(s);
  Run run(format, zero == 1 ? GpuOptimizer::Shard{s.rank(), s.world()} : GpuOptimizer::Shard{});
  run.policy->join(s, s.world() > 1 ? zero : 0);
  std::ostringstream numbers;
  for (int u = 1; u <= kUpdates; ++u) {
    char text[64];
    std::snprintf(text, sizeof text, " %.9g", run.update(u, s.rank(), s.world()));
    numbers << text;
  }
  const std::string digest = to_hex(run.policy->digest());
  const WeightSnapshot state = run.policy->optimizer_state();  // collective
  if (s.rank() == 0) {
    // What it holds is what one GPU goes on with.
    Run alone(format, {});
    alone.policy->restore_optimizer_state(state);
    R1_CHECK(to_hex(alone.policy->digest()) == digest, "the state of ", s.world(), " ranks gives other weights on one");
  }
  // And what all go on with.
  std::vector<std::byte> kept;
  WeightSnapshot everywhere = state;
  for (TensorView& t : everywhere.tensors) kept.resize(kept.size() + t.bytes());
  std::size_t at = 0;
  for (TensorView& t : everywhere.tensors) {
    if (s.rank() == 0) std::copy(t.data, t.data + t.bytes(), kept.begin() + static_cast<std::ptrdiff_t>(at));
    t.data = kept.data() + at;
    at += t.bytes();
  }
  s.comm().broadcast(kept.data(), kept.size(), 0, "the state");
  run.policy->restore_optimizer_state(everywhere);
  R1_CHECK(to_hex(run.policy->digest()) == digest, "restored weights differ");
  return digest + numbers.str();
}

// A reward model's updates: digest and norms.
std::string train_value(Session& s) {
  test::take_gpu(s);
  GpuTransformer model(small_config());
  model.weights().init_random(3, 0.08f);
  gpu::DeviceMemory memory(std::size_t{128} << 20);
  GpuRegion region(memory);
  TransformerValue::Options options;
  options.recompute = false, options.head_std = 0.1;
  GpuValue value(model, region, options);
  value.join(s, 0);
  std::ostringstream numbers;
  for (int u = 1; u <= kUpdates; ++u) {
    value.zero_gradient();
    for (int i = s.rank() * kMicroBatches / s.world(); i < (s.rank() + 1) * kMicroBatches / s.world(); ++i) {
      const PackedBatch batch = sequences(static_cast<std::uint64_t>(i));
      const std::vector<float> scores = value.forward(batch, batch.predictors);
      value.backward(std::vector<float>(scores.size(), i % 2 == 0 ? -1.f / 800 : 1.f / 800));
    }
    value.close_lane();
    value.finish_gradient();
    char text[64];
    std::snprintf(text, sizeof text, " %.9g", std::sqrt(value.gradient_sum_of_squares()));
    numbers << text;
    AdamWStep step;
    step.learning_rate = 1e-3, step.update = u;
    value.adamw(step);
  }
  return to_hex(value.digest()) + numbers.str();
}

std::vector<double> numbers_of(const std::string& text) {
  std::istringstream in(text.substr(text.find(' ')));
  std::vector<double> out;
  for (double v; in >> v;) out.push_back(v);
  return out;
}

}  // namespace

TEST_CASE("a value model's updates on 1 and 2 GPUs: equal up to rounding, the same on both") {
  const int most = test::count_gpus();
  if (most == 0) return test::skip("no GPU");
  const auto one = test::run_ranks(1, train_value);
  CAPTURE(one[0].output);
  REQUIRE(one[0].status == 0);
  if (most < 2) return test::skip("one GPU");
  const std::vector<double> want = numbers_of(one[0].output);
  const auto two = test::run_ranks(2, train_value);
  for (const auto& r : two) {
    CAPTURE(r.output);
    CHECK(r.status == 0);
    CHECK(r.output == two[0].output);
    const std::vector<double> got = numbers_of(r.output);
    REQUIRE(got.size() == want.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[i]) <= 1e-4 * want[i]);
  }
}

TEST_CASE("updates on 1, 2 and 4 GPUs, with the optimizer's state whole and in shares") {
  const int most = test::count_gpus();
  if (most == 0) return test::skip("no GPU");
  for (const OptimizerFormat format : {OptimizerFormat{}, OptimizerFormat{.master = MasterFormat::kSplit},
                                       OptimizerFormat{.master = MasterFormat::kSplit, .gradients = GradientFormat::kBFloat16},
                                       OptimizerFormat{.offload = true, .offload_piece = 8192}}) {
    const auto one = test::run_ranks(1, [&](Session& s) { return train(s, format, 0); });
    CAPTURE(one[0].output);
    REQUIRE(one[0].status == 0);
    const std::vector<double> want = numbers_of(one[0].output);
    for (int world : {2, 4}) {
      if (world > most) continue;
      std::string first;
      for (int zero : {0, 1}) {
        const auto results = test::run_ranks(world, [&](Session& s) { return train(s, format, zero); });
        for (const auto& r : results) {
          CAPTURE(r.output);
          CHECK(r.status == 0);
          CHECK(r.output == results[0].output);
        }
        const std::string digest = results[0].output.substr(0, results[0].output.find(' '));
        if (zero == 0) first = digest;
        CHECK(digest == first);
        const std::vector<double> got = numbers_of(results[0].output);
        REQUIRE(got.size() == want.size());
        const double rounding = format.gradients == GradientFormat::kBFloat16 ? 2e-2 : 1e-4;
        for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[i]) <= rounding * want[i]);
        MESSAGE(world << " GPUs, zero " << zero << ", " << to_string(format) << ": " << results[0].output);
      }
    }
  }
}

}  // namespace r1
