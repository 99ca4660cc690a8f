#include "rl/critic.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>

#include "core/error.h"
#include "rl/learner.h"
#include "rl/table_value.h"
#include "rl/test_support.h"

namespace r1 {
namespace {

constexpr std::int32_t kVocab = 11;

ComputePool& pool() {
  static ComputePool p(1);
  return p;
}

GrpoOptions ppo() {
  GrpoOptions o;
  o.temperature = 1;
  o.seed = 5;
  o.optimizer.learning_rate.peak = 0.05;
  o.optimizer.learning_rate.warmup = 0;
  o.critic.emplace();
  o.critic->optimizer.learning_rate.peak = 0.1;
  o.critic->lambda = 0.9;
  o.whiten_advantages = true;
  return o;
}

std::vector<TrainSample> rollout(std::uint64_t r) { return test::make_samples(6, 3, kVocab, r + 1); }

double at(const TrainSample& s, std::size_t back) { return s.advantages[s.advantages.size() - 1 - back]; }

}  // namespace

TEST_CASE("advantages by hand: the outcome at the last trained token, KL at each, values of the states before") {
  TableValue value(kVocab, pool());
  for (std::int32_t i = 0; i < kVocab; ++i) value.table()[static_cast<std::size_t>(i)] = 0.1f * static_cast<float>(i);
  CriticOptions o;
  o.gamma = 0.9, o.lambda = 0.5;
  Critic critic(value, o);
  std::vector<TrainSample> samples = {test::make_sample(0, {1, 2}, 3, 2.f, 9, 1)};
  TrainSample& s = samples[0];
  s.loss_mask[3] = 0;  // forced text in between: no step of the policy
  std::vector<std::vector<float>> ref = {s.behavior_logprobs};
  for (float& v : ref[0]) v -= 0.5f;
  critic.begin_rollout(samples, 64);
  critic.set_advantages(samples, ref, 0.1);
  const double v_first = 0.2, v_last = 0.1 * s.tokens[3];  // of the tokens read before each trained one
  const double last = 2 - 0.05 - v_last, first = -0.05 + 0.9 * v_last - v_first + 0.45 * last;
  CHECK(at(s, 0) == doctest::Approx(last));
  CHECK(at(s, 2) == doctest::Approx(first));
}

TEST_CASE("GAE(1, 1) with a critic that knows nothing, no KL: PPO's first gradient is that of the plain outcome") {
  const auto first_gradient = [](bool with_critic) {
    GrpoOptions o = ppo();
    o.whiten_advantages = false;
    o.critic->lambda = 1;
    if (!with_critic) o.critic.reset();
    TablePolicy policy(kVocab, pool());
    TableValue value(kVocab, pool());
    GrpoLearner learner(policy, nullptr, o, with_critic ? &value : nullptr);
    learner.begin_rollout(rollout(0), 0);
    learner.update();
    return policy.gradient();
  };
  const auto a = first_gradient(true), b = first_gradient(false);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-5));
}

TEST_CASE("the critic learns the returns; its metrics say so") {
  TablePolicy policy(kVocab, pool());
  TableValue value(kVocab, pool());
  GrpoOptions o = ppo();
  o.critic->value_clip = 0;
  o.critic->lambda = 1;
  o.critic->warmup = 1000;  // the policy stays
  o.passes_per_rollout = 200;
  GrpoLearner learner(policy, nullptr, o, &value);
  const WeightDigest before = policy.digest();
  learner.begin_rollout(rollout(0), 0);
  std::vector<double> losses;
  StepReport last;
  while (!learner.rollout_done()) losses.push_back((last = learner.update()).metrics.at("critic/loss"));
  CHECK(policy.digest() == before);
  CHECK(learner.version() == 0);
  CHECK(last.updated);
  CHECK(last.metrics.at("critic/warmup") == 1);
  CHECK(losses.back() < 0.8 * losses.front());
  CHECK(last.metrics.at("critic/explained_variance") > 0.1);
  // The minimum of the squared error: each context's value is the mean of its returns.
  std::vector<double> sum(kVocab), n(kVocab);
  for (const TrainSample& s : rollout(0))
    for (std::size_t t = 1; t < s.tokens.size(); ++t)
      if (s.loss_mask[t]) sum[static_cast<std::size_t>(s.tokens[t - 1])] += s.advantages.back(), n[static_cast<std::size_t>(s.tokens[t - 1])] += 1;
  for (std::size_t i = 0; i < sum.size(); ++i)
    if (n[i] > 0) CHECK(value.table()[i] == doctest::Approx(sum[i] / n[i]).epsilon(0.05).scale(1));
}

TEST_CASE("the critic's gradient does not depend on the micro-batch budget") {
  const auto gradient = [](std::int64_t budget) {
    GrpoOptions o = ppo();
    o.tokens_per_micro_batch = budget;
    TablePolicy policy(kVocab, pool());
    TableValue value(kVocab, pool());
    GrpoLearner learner(policy, nullptr, o, &value);
    learner.begin_rollout(rollout(0), 0);
    learner.update();
    return value.gradient();
  };
  const auto whole = gradient(4096);
  for (std::int64_t budget : {1, 20})
    for (std::size_t i = 0; i < whole.size(); ++i) CHECK(gradient(budget)[i] == doctest::Approx(whole[i]).epsilon(1e-5));
}

TEST_CASE("resume with critic, warm-up, adaptive KL and adaptive entropy gives the same bits, inside a rollout too") {
  GrpoOptions o = ppo();
  o.updates_per_rollout = 3;
  o.kl_in_reward = 0.05;
  o.adaptive_kl = {0.01, 50};
  o.adaptive_entropy = {true, 2.5, 0.01};
  o.loss.entropy_coefficient = 0.02;
  o.critic->warmup = 2;
  struct World {
    TablePolicy policy{kVocab, pool()}, reference{kVocab, pool()};
    TableValue value{kVocab, pool()};
    GrpoLearner learner;
    explicit World(const GrpoOptions& o) : learner(policy, &reference, o, &value) { reference.logits()[3] = 1.f; }
  };
  World whole(o);
  std::set<double> betas, coefficients;
  for (std::uint64_t r = 0; r < 3; ++r) {
    whole.learner.begin_rollout(rollout(r), r);
    while (!whole.learner.rollout_done()) {
      const auto m = whole.learner.update().metrics;
      if (m.contains("kl_in_reward_coefficient")) betas.insert(m.at("kl_in_reward_coefficient"));
      if (m.contains("entropy_coefficient")) coefficients.insert(m.at("entropy_coefficient"));
    }
  }
  CHECK(betas.size() == 3);         // they do change
  CHECK(coefficients.size() >= 3);
  CHECK(whole.learner.version() == 7);  // nine updates, two of them the critic's alone
  for (int stop = 0; stop < 9; ++stop) {
    CAPTURE(stop);
    World first(o), second(o);
    for (int u = 0; u <= stop; ++u) {
      if (u % 3 == 0) first.learner.begin_rollout(rollout(static_cast<std::uint64_t>(u / 3)), static_cast<std::uint64_t>(u / 3));
      first.learner.update();
    }
    const bool inside = !first.learner.rollout_done();
    const auto next = static_cast<std::uint64_t>((stop + 1) / 3);
    second.learner.restore(first.learner.state(), static_cast<std::int64_t>(first.learner.version()), next,
                           inside ? first.learner.next_update() : 0, inside ? rollout(next) : std::vector<TrainSample>{});
    for (int u = stop + 1; u < 9; ++u) {
      if (u % 3 == 0) second.learner.begin_rollout(rollout(static_cast<std::uint64_t>(u / 3)), static_cast<std::uint64_t>(u / 3));
      second.learner.update();
    }
    CHECK(second.policy.digest() == whole.policy.digest());
    CHECK(second.value.digest() == whole.value.digest());
  }
}

TEST_CASE("a learner with GAE needs a critic, a checkpoint too; bad numbers name the samples") {
  TablePolicy policy(kVocab, pool());
  TableValue value(kVocab, pool());
  GrpoOptions o = ppo();
  CHECK_THROWS_WITH_AS(GrpoLearner(policy, nullptr, o), doctest::Contains("critic"), ConfigError);
  GrpoOptions without = o;
  without.critic.reset();
  GrpoLearner plain(policy, nullptr, without), learner(policy, nullptr, o, &value);
  CHECK_THROWS_AS(learner.restore(plain.state(), 0, 0, 0, {}), CheckpointError);
  auto samples = rollout(0);
  samples[2].advantages.back() = std::numeric_limits<float>::infinity();
  const WeightDigest before = value.digest();
  learner.begin_rollout(samples, 0);
  CHECK_THROWS_WITH_AS(learner.update(), doctest::Contains(samples[2].name.c_str()), NumericError);
  CHECK(value.digest() == before);
}

}  // namespace r1
