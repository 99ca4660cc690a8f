#include "rl/learner.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "model/gpu/gpu_region.h"
#include "rl/test_support.h"
#include "rl/token_advantages.h"

namespace r1 {
namespace {

constexpr std::int32_t kVocab = 11;

ComputePool& pool() {
  static ComputePool p(1);
  return p;
}

void fill(TablePolicy& policy, std::uint64_t seed) {
  StreamRng rng(seed, 3);
  for (float& v : policy.logits()) v = static_cast<float>(2 * rng.uniform() - 1);
}

GrpoOptions options() {
  GrpoOptions o;
  o.optimizer.learning_rate.peak = 0.05;
  o.length_budget = 8;
  o.skip_zero_advantages = false;
  return o;
}

// The log-probabilities of the policy itself become the sampler's.
void on_policy(const TablePolicy& policy, std::vector<TrainSample>& samples) {
  for (TrainSample& s : samples)
    for (std::size_t t = 1; t < s.tokens.size(); ++t)
      if (s.loss_mask[t])
        s.behavior_logprobs[t] =
            static_cast<float>(policy.log_distribution(s.tokens[t - 1], 1.f)[static_cast<std::size_t>(s.tokens[t])]);
}

std::vector<float> gradient_after(const GrpoOptions& o, const std::vector<TrainSample>& samples) {
  TablePolicy policy(kVocab, pool()), reference(kVocab, pool());
  fill(policy, 1);
  fill(reference, 2);
  GrpoLearner learner(policy, o.needs_reference() ? &reference : nullptr, o);
  learner.begin_rollout(samples, 0);
  learner.update();
  return policy.gradient();
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += (a[i] - b[i]) * (a[i] - b[i]), norm += a[i] * a[i];
  return std::sqrt(d / norm);
}

}  // namespace

TEST_CASE("the gradient does not depend on the micro-batch budget; equal plans give equal bits") {
  const auto samples = test::make_samples(4, 5, kVocab);
  for (Aggregation a : {Aggregation::kSeqMeanTokenMean, Aggregation::kTokenMean, Aggregation::kSeqMeanTokenSumNorm,
                        Aggregation::kSeqMeanTokenSum}) {
    GrpoOptions o = options();
    o.loss.aggregation = a;
    o.loss.kl_coefficient = 0.1;
    o.loss.entropy_coefficient = 0.02;
    const auto whole = gradient_after(o, samples);
    CHECK(gradient_after(o, samples) == whole);
    for (std::int64_t budget : {1, 16, 50}) {
      o.tokens_per_micro_batch = budget;
      CHECK(distance(whole, gradient_after(o, samples)) < 1e-5);
    }
  }
}

TEST_CASE("leaving out zero advantages changes neither gradient nor denominators") {
  auto samples = test::make_samples(4, 5, kVocab);
  for (TrainSample& s : samples)
    if (s.group % 2) std::fill(s.advantages.begin(), s.advantages.end(), 0.f);
  GrpoOptions o = options();
  const auto whole = gradient_after(o, samples);
  o.skip_zero_advantages = true;
  CHECK(distance(whole, gradient_after(o, samples)) < 1e-6);
}

TEST_CASE("on policy: ratio exactly 1, no clipping, mismatch exactly 0, gradient = sum of A grad ln pi") {
  TablePolicy policy(kVocab, pool());
  fill(policy, 1);
  auto samples = test::make_samples(3, 4, kVocab);
  on_policy(policy, samples);
  GrpoLearner learner(policy, nullptr, options());
  learner.begin_rollout(samples, 0);
  std::vector<double> want(kVocab * kVocab);
  double tokens = 0;
  for (const TrainSample& s : samples) tokens += static_cast<double>(trained_tokens(s));
  for (const TrainSample& s : samples) {
    for (std::size_t t = 1; t < s.tokens.size(); ++t) {
      if (!s.loss_mask[t]) continue;
      const auto lp = policy.log_distribution(s.tokens[t - 1], 1.f);
      for (std::int32_t j = 0; j < kVocab; ++j)
        want[static_cast<std::size_t>(s.tokens[t - 1] * kVocab + j)] -=
            s.advantages[t] / tokens * ((j == s.tokens[t]) - std::exp(lp[static_cast<std::size_t>(j)]));
    }
  }
  const StepReport r = learner.update();
  const auto got = policy.gradient();
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-4));
  CHECK(r.metrics.at("mismatch/max_abs_logp") == 0);
  CHECK(r.metrics.at("mismatch/kl") == 0);
  CHECK(r.metrics.at("mismatch/ess") == doctest::Approx(1));
  CHECK(r.metrics.at("ratio/max") == 1);
  CHECK(r.metrics.at("clip_ratio/region_mean") == 0);
  CHECK(learner.version() == 1);
}

TEST_CASE("decoupled updates: the old policy is the one at the start of the rollout") {
  TablePolicy policy(kVocab, pool());
  fill(policy, 1);
  auto samples = test::make_samples(6, 3, kVocab);
  on_policy(policy, samples);
  GrpoOptions o = options();
  o.updates_per_rollout = 3;
  o.passes_per_rollout = 2;
  GrpoLearner learner(policy, nullptr, o);
  learner.begin_rollout(samples, 0);
  int updates = 0;
  while (!learner.rollout_done()) {
    const StepReport r = learner.update();
    CHECK((r.metrics.at("ratio/max") == 1) == (updates == 0));
    CHECK(r.metrics.at("mismatch/max_abs_logp") == 0);  // old against sampler, whatever the updates since
    ++updates;
  }
  CHECK(updates == 6);
  CHECK(learner.version() == 6);
}

TEST_CASE("bypass: the ratio is to the sampler and holds the mismatch, no weight is applied twice") {
  const auto samples = test::make_samples(3, 4, kVocab);
  GrpoOptions o = options();
  o.old_policy = OldPolicy::kBehavior;
  o.loss.surrogate = SurrogateChoice("ratio");
  const auto bypass = gradient_after(o, samples);
  // Decoupled without truncation weights A grad ln pi by w = pi / mu: the same first step.
  o.old_policy = OldPolicy::kRecompute;
  o.loss.mismatch.cap = 1e9;
  CHECK(distance(bypass, gradient_after(o, samples)) < 1e-6);
}

TEST_CASE("the reference stays, is refreshed every N updates, and is not needed at beta 0") {
  TablePolicy policy(kVocab, pool()), reference(kVocab, pool());
  fill(policy, 1);
  reference.load(policy.weights(0));
  GrpoOptions o = options();
  CHECK_NOTHROW(GrpoLearner(policy, nullptr, o));
  o.loss.kl_coefficient = 0.1;
  CHECK_THROWS_AS(GrpoLearner(policy, nullptr, o), ConfigError);
  o.reference_refresh = 2;
  GrpoLearner learner(policy, &reference, o);
  std::vector<double> kl;
  std::vector<bool> equal;
  for (std::uint64_t rollout = 0; rollout < 3; ++rollout) {
    learner.begin_rollout(test::make_samples(3, 4, kVocab, rollout + 1), rollout);
    kl.push_back(learner.update().metrics.at("kl"));
    equal.push_back(policy.digest() == reference.digest());
  }
  CHECK(kl[0] == 0);
  CHECK(kl[1] > 0);
  CHECK(kl[2] == 0);
  CHECK(equal == std::vector<bool>{false, true, false});
}

TEST_CASE("a rollout without a trained token makes no update") {
  TablePolicy policy(kVocab, pool());
  GrpoLearner learner(policy, nullptr, options());
  const WeightDigest before = policy.digest();
  learner.begin_rollout({}, 0);
  CHECK_FALSE(learner.update().updated);
  CHECK(learner.rollout_done());
  CHECK(policy.digest() == before);
  CHECK(learner.version() == 0);
}

TEST_CASE("bad numbers stop the run, named, with the weights as they were") {
  TablePolicy policy(kVocab, pool());
  fill(policy, 1);
  const WeightDigest before = policy.digest();
  auto samples = test::make_samples(2, 2, kVocab);
  samples[3].advantages.back() = std::numeric_limits<float>::infinity();
  GrpoOptions o = options();
  o.tokens_per_micro_batch = 1;
  GrpoLearner learner(policy, nullptr, o);
  learner.begin_rollout(samples, 0);
  CHECK_THROWS_WITH_AS(learner.update(), doctest::Contains(samples[3].name.c_str()), NumericError);
  CHECK(policy.digest() == before);

  // A weight that is NaN makes the log-probabilities of the samples that read it NaN.
  TablePolicy broken(kVocab, pool());
  broken.logits()[static_cast<std::size_t>(samples[0].tokens[0]) * kVocab] = 0;
  auto good = test::make_samples(2, 2, kVocab);
  const TokenId context = good[0].tokens[static_cast<std::size_t>(good[0].prompt_length) - 1];
  broken.logits()[static_cast<std::size_t>(context) * kVocab] = std::numeric_limits<float>::quiet_NaN();
  GrpoLearner second(broken, nullptr, options());
  second.begin_rollout(good, 0);
  CHECK_THROWS_WITH_AS(second.update(), doctest::Contains(good[0].name.c_str()), NumericError);
}

namespace {
// A policy whose backward pass overflows for one sample's tokens.
class OverflowingPolicy : public TablePolicy {
 public:
  using TablePolicy::TablePolicy;
  TokenId bad_target = -1;
  LogprobRows forward(const PackedBatch& b, float t, bool e) override {
    bad_ = std::find(b.targets.begin(), b.targets.end(), bad_target) != b.targets.end();
    return TablePolicy::forward(b, t, e);
  }
  void backward(std::span<const float> d, std::span<const float> e) override {
    std::vector<float> scaled(d.begin(), d.end());
    if (bad_) scaled[0] = std::numeric_limits<float>::infinity();
    TablePolicy::backward(scaled, e);
  }

 private:
  bool bad_ = false;
};
}  // namespace

TEST_CASE("a gradient that overflows is traced to its micro-batch and tensor") {
  OverflowingPolicy policy(kVocab, pool());
  std::vector<TrainSample> samples = {test::make_sample(0, {1, 2}, 3, 1.f, 5, 1),
                                      test::make_sample(1, {1, 2}, 3, 1.f, 5, 2)};
  samples[1].tokens.back() = 9;
  policy.bad_target = 9;
  const WeightDigest before = policy.digest();
  GrpoOptions o = options();
  o.tokens_per_micro_batch = 4;
  GrpoLearner learner(policy, nullptr, o);
  learner.begin_rollout(samples, 0);
  try {
    learner.update();
    FAIL("no error");
  } catch (const NumericError& e) {
    const std::string text = e.what();
    CHECK(text.find("table") != std::string::npos);
    CHECK(text.find(samples[1].name) != std::string::npos);
    CHECK(text.find(samples[0].name) == std::string::npos);
  }
  CHECK(policy.digest() == before);
}

namespace {
// A policy whose memory holds `room` rows; `fails` counts what did not fit. It may give in once, in the middle of an update.
class SmallPolicy : public TablePolicy {
 public:
  using TablePolicy::TablePolicy;
  std::size_t room = 1 << 20;
  int fails = 0, fail_at_pass = -1, passes = 0;
  LogprobRows forward(const PackedBatch& b, float t, bool e) override {
    if (b.tokens.size() > room || passes++ == fail_at_pass) {
      ++fails;
      throw GpuOutOfMemory("out of GPU memory");
    }
    return TablePolicy::forward(b, t, e);
  }
};
}  // namespace

TEST_CASE("a micro-batch that does not fit is halved for good; the update is that of the smaller budget, bit for bit") {
  const auto samples = test::make_samples(4, 5, kVocab);
  GrpoOptions o = options();
  o.updates_per_rollout = 2;
  o.tokens_per_micro_batch = 24;
  GrpoOptions smaller = o;
  smaller.tokens_per_micro_batch = 12;
  TablePolicy wanted(kVocab, pool());
  SmallPolicy policy(kVocab, pool());
  fill(wanted, 1), fill(policy, 1);
  GrpoLearner want(wanted, nullptr, smaller), learner(policy, nullptr, o);
  want.begin_rollout(samples, 0);
  learner.begin_rollout(samples, 0);
  policy.fail_at_pass = 1;  // the first micro-batch's gradient is there already
  const StepReport first = learner.update();
  want.update();
  CHECK(policy.fails == 1);
  CHECK(first.metrics.at("train/out_of_memory") == 1);
  CHECK(first.metrics.at("train/tokens_per_micro_batch") == 12);
  CHECK(learner.options().tokens_per_micro_batch == 12);
  CHECK(policy.digest() == wanted.digest());
  CHECK(policy.gradient() == wanted.gradient());
  CHECK(learner.update().metrics.count("train/out_of_memory") == 0);
  want.update();
  CHECK(policy.digest() == wanted.digest());
  CHECK(learner.version() == 2);
}

TEST_CASE("a sample that does not fit alone ends the run, named by what helps, with the weights as they were") {
  SmallPolicy policy(kVocab, pool());
  fill(policy, 1);
  policy.room = 1;
  const WeightDigest before = policy.digest();
  GrpoLearner learner(policy, nullptr, options());
  learner.begin_rollout(test::make_samples(2, 3, kVocab), 0);
  CHECK_THROWS_WITH_AS(learner.update(), doctest::Contains("train.recompute"), GpuOutOfMemory);
  CHECK(policy.fails > 2);
  CHECK(policy.digest() == before);
}

TEST_CASE("exact numerics: one other bit of a log-probability stops the first update and names the sample") {
  TablePolicy policy(kVocab, pool());
  fill(policy, 1);
  const WeightDigest before = policy.digest();
  auto samples = test::make_samples(2, 3, kVocab);
  on_policy(policy, samples);
  GrpoOptions o = options();
  o.exact = true;
  o.passes_per_rollout = 2;
  GrpoLearner learner(policy, nullptr, o);
  learner.begin_rollout(samples, 0);
  CHECK(learner.update().updated);
  CHECK(learner.update().updated);  // another policy by now: nothing to compare

  TablePolicy other(kVocab, pool());
  fill(other, 1);
  auto changed = samples;
  float& logprob = changed[4].behavior_logprobs.back();
  logprob = std::nextafter(logprob, 0.f);
  GrpoLearner strict(other, nullptr, o);
  strict.begin_rollout(changed, 0);
  CHECK_THROWS_WITH_AS(strict.update(), doctest::Contains(changed[4].name.c_str()), NumericError);
  CHECK(other.digest() == before);
  o.exact = false;
  GrpoLearner fast(other, nullptr, o);
  fast.begin_rollout(changed, 0);
  CHECK(fast.update().metrics.at("mismatch/max_abs_logp") > 0);
}

TEST_CASE("resume inside a rollout gives the same bits") {
  GrpoOptions o = options();
  o.updates_per_rollout = 3;
  o.loss.kl_coefficient = 0.05;
  o.reference_refresh = 2;
  o.kl_in_reward = 0.01;
  o.whiten_advantages = true;
  const auto rollout = [](std::uint64_t r) { return test::make_samples(6, 3, kVocab, r + 1); };
  TablePolicy policy(kVocab, pool()), reference(kVocab, pool());
  fill(policy, 1);
  fill(reference, 2);
  GrpoLearner learner(policy, &reference, o);
  std::vector<WeightDigest> digests;
  for (std::uint64_t r = 0; r < 3; ++r) {
    learner.begin_rollout(rollout(r), r);
    while (!learner.rollout_done()) {
      learner.update();
      digests.push_back(policy.digest());
    }
  }
  for (int stop = 0; stop < 9; ++stop) {
    CAPTURE(stop);
    TablePolicy a(kVocab, pool()), a_ref(kVocab, pool()), b(kVocab, pool()), b_ref(kVocab, pool());
    fill(a, 1);
    fill(a_ref, 2);
    fill(b_ref, 2);
    GrpoLearner first(a, &a_ref, o), second(b, &b_ref, o);
    for (int u = 0; u <= stop; ++u) {
      if (u % 3 == 0)
        first.begin_rollout(rollout(static_cast<std::uint64_t>(u / 3)), static_cast<std::uint64_t>(u / 3));
      first.update();
    }
    const bool inside = !first.rollout_done();
    const std::uint64_t next = static_cast<std::uint64_t>((stop + 1) / 3);
    second.restore(first.state(), stop + 1, next, inside ? first.next_update() : 0,
                   inside ? rollout(next) : std::vector<TrainSample>{});
    for (int u = stop + 1; u < 9; ++u) {
      if (u % 3 == 0)
        second.begin_rollout(rollout(static_cast<std::uint64_t>(u / 3)), static_cast<std::uint64_t>(u / 3));
      second.update();
    }
    CHECK(b.digest() == digests.back());
  }
}

TEST_CASE("state of another model or rollout is refused") {
  TablePolicy policy(kVocab, pool()), other(5, pool());
  GrpoOptions o = options();
  o.updates_per_rollout = 2;
  GrpoLearner learner(policy, nullptr, o), small(other, nullptr, o), same(policy, nullptr, o);
  learner.begin_rollout(test::make_samples(4, 3, kVocab), 0);
  learner.update();
  const WeightSnapshot state = learner.state();
  CHECK_THROWS_WITH_AS(small.restore(state, 1, 0, 0, {}), doctest::Contains("master.table"), CheckpointError);
  CHECK_THROWS_WITH_AS(same.restore(state, 1, 0, 1, test::make_samples(3, 3, kVocab)), doctest::Contains("journal"),
                       CheckpointError);
  CHECK_THROWS_AS(same.restore(policy.optimizer_state(), 1, 0, 1, test::make_samples(4, 3, kVocab)), CheckpointError);
}

TEST_CASE("KL inside the reward is summed to the end; whitening gives mean 0 and std 1 over tokens") {
  std::vector<TrainSample> samples = {test::make_sample(0, {1, 2}, 3, 1.f, 9, 1),
                                      test::make_sample(0, {1, 2}, 2, -1.f, 9, 2)};
  std::vector<std::vector<float>> ref;
  for (const auto& s : samples) {
    ref.push_back(s.behavior_logprobs);
    for (float& v : ref.back()) v -= 0.5f;  // k1 = 0.5 at each token
  }
  add_kl_to_advantages(samples, ref, 0.1);
  CHECK(samples[0].advantages[2] == doctest::Approx(1 - 0.15));
  CHECK(samples[0].advantages[4] == doctest::Approx(1 - 0.05));
  whiten_advantages(samples, 0);
  double sum = 0, squares = 0;
  for (const auto& s : samples)
    for (std::size_t t = 2; t < s.tokens.size(); ++t)
      sum += s.advantages[t], squares += s.advantages[t] * s.advantages[t];
  CHECK(sum == doctest::Approx(0).epsilon(1e-6));
  CHECK(squares / 4 == doctest::Approx(1).epsilon(1e-5));
}

}  // namespace r1
