// Distillation as several processes: the numbers of one process with as many lanes, in every mode.
#include <doctest/doctest.h>

#include <cstdio>

#include "comm/ranks_test_support.h"
#include "core/digest.h"
#include "kd/on_policy.h"
#include "kd/test_support.h"
#include "rl/train_samples.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::parts_of, test::texts_of, test::World;

struct Numbers : TrainObserver {
  std::string text;
  void add(const std::map<std::string, double>& metrics) {
    for (const auto& [name, value] : metrics) {
      if (name.find("loss") == std::string::npos && name.find("kl") == std::string::npos && name != "grad_norm" && name != "completions/mean_length") continue;
      char number[64];
      std::snprintf(number, sizeof number, "=%a ", value);
      text += name + number;
    }
    text += "\n";
  }
  void on_step(const StepRecord& r) override { add(r.metrics); }
  void on_validation(std::int64_t, const std::map<std::string, double>& m) override { add(m); }
};

std::string train(double student_share, int lanes, Session* session, int zero = 0) {
  Ranks ranks(session, lanes);
  World teacher(1), student(2);
  LiveTeacher live(*teacher.policy);
  DistillObjective::Parts parts = parts_of(student, texts_of(teacher, 14, 4), texts_of(teacher, 5, 5), &live);
  parts.ranks = &ranks;
  parts.sampler = make_student_sampler(*student.engine, *student.policy, test::sampling(0.9f), 9, &ranks);
  if (session) student.policy->join(*session, zero);
  DistillOptions options;
  options.student_share = student_share;
  DistillObjective objective(std::move(parts), options);
  Numbers numbers;
  ExampleTrainerOptions o;
  o.examples_per_update = 7;
  o.epochs = 2, o.loop.steps = 4;
  o.loop.eval_every = 2;
  o.loop.seed = 3;
  o.optimizer.learning_rate.peak = 1e-2;
  o.tokens_per_micro_batch = 24;
  ExampleTrainer::Parts trainer{&objective, nullptr, {&numbers}};
  trainer.ranks = &ranks;
  ExampleTrainer("distill", trainer, o).run();
  return to_hex(student.policy->digest()) + "\n" + numbers.text;
}

}  // namespace

TEST_CASE("distillation on the teacher's and on the student's texts, four lanes: the same bits on 1, 2 and 4 ranks") {
  for (const double share : {0.0, 1.0}) {
    CAPTURE(share);
    const std::string want = train(share, 4, nullptr);
    for (const int world : {2, 4})
      for (const auto& r : test::run_ranks(world, [&](Session& s) { return train(share, 4, &s, 1); })) {
        CAPTURE(r.output);
        CHECK(r.status == 0);
        CHECK(r.output == want);
      }
  }
}

TEST_CASE("distillation with weights in shares: the numbers of a sharded gradient alone") {
  const auto two = test::run_ranks(3, [](Session& s) { return train(0.5, 0, &s, 2); });
  CHECK(two[0].status == 0);
  for (const auto& r : test::run_ranks(3, [](Session& s) { return train(0.5, 0, &s, 3); })) {
    CAPTURE(r.output);
    CHECK(r.status == 0);
    CHECK(r.output == two[0].output);
  }
}

TEST_CASE("on-policy distillation: each of three ranks asks its teacher for a share, all have the advantages of one process") {
  const auto advantages = [](const Ranks* ranks) {
    World teacher(1), student(2);
    std::vector<TrainSample> samples = texts_of(student, 7, 4);
    teacher_advantages(*teacher.policy, 1.f, 40, ranks)(samples);
    std::string out;
    for (const TrainSample& s : samples) out += bytes_of(std::span<const float>(s.advantages));
    return out;
  };
  const std::string want = advantages(nullptr);
  CHECK(want.find_first_not_of('\0') != std::string::npos);
  for (const auto& r : test::run_ranks(3, [&](Session& s) {
         const Ranks ranks(&s, 0);
         return advantages(&ranks);
       })) {
    CHECK(r.status == 0);
    CHECK((r.output == want));
  }
}

}  // namespace r1
