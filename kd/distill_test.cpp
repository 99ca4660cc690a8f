// Distillation on tables and tiny transformers: gradients, what is stored, learning in every mode, resume.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "core/error.h"
#include "core/rng.h"
#include "kd/distill_objective.h"
#include "kd/on_policy.h"
#include "kd/test_support.h"
#include "rl/table_policy.h"
#include "rl/transformer_run.h"
#include "sft/packing.h"
#include "sft/sft_objective.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

constexpr std::int64_t kBudget = 96;
using test::parts_of, test::pass_of, test::sampling, test::texts_of, test::World;

struct Recorder : TrainObserver {
  void on_step(const StepRecord& r) override { steps.push_back(r.metrics); }
  void on_validation(std::int64_t, const Metrics& m) override { validations.push_back(m); }
  std::vector<Metrics> steps, validations;
};

ExampleTrainerOptions trainer_options(std::int64_t n, double epochs) {
  ExampleTrainerOptions o;
  o.examples_per_update = 16;
  o.epochs = epochs;
  o.loop.steps = updates_for(epochs, n, 16);
  o.loop.eval_every = 1'000'000;
  o.loop.save_every = 3;
  o.loop.seed = 3;
  o.optimizer.learning_rate.peak = 1e-2;
  o.tokens_per_micro_batch = kBudget;
  return o;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += (double{a[i]} - b[i]) * (double{a[i]} - b[i]), norm += double{b[i]} * b[i];
  return std::sqrt(d / norm);
}

std::vector<float> gradient_of(DistillObjective& objective, std::int64_t budget, Metrics* metrics = nullptr) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(objective.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  objective.model().zero_gradient();
  for (const auto& part : pack_best_fit(objective.begin_update(0, all), budget)) objective.train(part);
  if (metrics) *metrics = objective.report();
  return objective.model().gradient();
}

}  // namespace

TEST_CASE("on-policy distillation: the expected gradient is the exact reverse-KL gradient of each state on the way") {
  // All answers of two tokens over four; the state is the last token.
  constexpr std::int32_t kVocab = 4;
  ComputePool pool(1);
  const auto fill = [&](TablePolicy& table, std::uint64_t seed) {
    StreamRng rng(seed, 1);
    for (float& z : table.logits()) z = static_cast<float>(2 * rng.uniform() - 1);
  };
  for (float temperature : {1.f, 0.8f}) {
    CAPTURE(temperature);
    TablePolicy teacher(kVocab, pool), student(kVocab, pool);
    fill(teacher, 1), fill(student, 2);
    const auto row = [&](TablePolicy& t, TokenId state) {
      return std::vector<float>(t.logits().begin() + state * kVocab, t.logits().begin() + (state + 1) * kVocab);
    };
    // Exact: sum over states of their probability times d KL(student || teacher) / d logits; temperature^2 of kd_row() taken out.
    std::vector<double> want(kVocab * kVocab, 0.0), got(kVocab * kVocab, 0.0);
    const auto add_state = [&](TokenId state, double probability) {
      std::vector<float> z = row(student, state);
      kd_row(z, row(teacher, state), {Divergence::kReverse, 0.5, temperature}, probability / (double{temperature} * temperature));
      for (int v = 0; v < kVocab; ++v) want[static_cast<std::size_t>(state * kVocab + v)] += z[static_cast<std::size_t>(v)];
    };
    const TokenId start = 3;
    const std::vector<double> first = student.log_distribution(start, temperature);
    add_state(start, 1);
    for (TokenId y = 0; y < kVocab; ++y) add_state(y, std::exp(first[static_cast<std::size_t>(y)]));
    for (TokenId y1 = 0; y1 < kVocab; ++y1)
      for (TokenId y2 = 0; y2 < kVocab; ++y2) {
        const double lp1 = first[static_cast<std::size_t>(y1)], lp2 = student.log_distribution(y1, temperature)[static_cast<std::size_t>(y2)];
        std::vector<TrainSample> samples = {test::make_sample(0, {start}, 2, 0.f, kVocab, 1)};
        samples[0].tokens = {start, y1, y2};
        samples[0].behavior_logprobs = {0.f, static_cast<float>(lp1), static_cast<float>(lp2)};
        teacher_advantages(teacher, temperature, 100)(samples);
        CHECK(samples[0].advantages[0] == 0);
        GrpoOptions o;
        o.loss.surrogate = SurrogateChoice("ratio");
        o.loss.aggregation = Aggregation::kSeqMeanTokenSum;
        o.temperature = temperature;
        o.optimizer.learning_rate.peak = 1e-30;
        o.optimizer.max_grad_norm = 0;
        TablePolicy copy(kVocab, pool);
        fill(copy, 2);
        GrpoLearner learner(copy, nullptr, o);
        learner.begin_rollout(samples, 0);
        learner.update();
        const std::vector<float> gradient = copy.gradient();
        for (std::size_t i = 0; i < got.size(); ++i) got[i] += std::exp(lp1 + lp2) * gradient[i];
      }
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[i]) < 2e-7);
  }
}

TEST_CASE("distillation: the gradient does not depend on micro-batches; a store of the whole vocabulary is the teacher; slopes are right") {
  World teacher(1, DType::kF32), student(2, DType::kF32);
  const std::vector<TrainSample> texts = texts_of(teacher, 6, 4);
  LiveTeacher live(*teacher.policy);
  const test::TempDir dir;
  for (Divergence divergence : {Divergence::kForward, Divergence::kReverse, Divergence::kJsd}) {
    CAPTURE(static_cast<int>(divergence));
    DistillOptions options;
    options.kd = {divergence, 0.5, 1.5};
    Metrics metrics;
    DistillObjective objective(parts_of(student, texts, texts, &live), options);
    const std::vector<float> whole = gradient_of(objective, 10'000, &metrics);
    for (std::int64_t budget : {1, 40}) CHECK(relative_distance(gradient_of(objective, budget), whole) < 3e-6);
    CHECK(objective.evaluate(40).at("eval/loss") == doctest::Approx(metrics.at("loss")).epsilon(1e-9));

    const TeacherStore made(*teacher.policy, {"t", 48, 1.5}, texts, 40, student.pool);
    made.save(dir / "store.safetensors");
    TeacherStore stored(dir / "store.safetensors", {"t", 48, 1.5}, texts);
    DistillObjective from_store(parts_of(student, texts, texts, &stored), options);
    CHECK(relative_distance(gradient_of(from_store, 40), whole) < 1e-5);

    // Along the gradient the loss changes as it says.
    double norm = 0;
    for (float g : whole) norm += double{g} * g;
    const auto loss_at = [&](double step) {
      World moved(2, DType::kF32);
      float* weights = reinterpret_cast<float*>(moved.model->weights().data());
      for (std::size_t i = 0; i < whole.size(); ++i) weights[i] += static_cast<float>(step * whole[i]);
      moved.model->weights_changed();
      DistillObjective there(parts_of(moved, texts, texts, &live), options);
      return there.evaluate(1000).at("eval/loss");
    };
    const double h = 2e-3 / std::sqrt(norm);
    CHECK((loss_at(h) - loss_at(-h)) / (2 * h * norm) == doctest::Approx(1).epsilon(2e-3));
  }
}

TEST_CASE("a store refuses other texts, teachers, temperatures and sizes") {
  World teacher(1);
  const std::vector<TrainSample> texts = texts_of(teacher, 3, 4);
  const test::TempDir dir;
  TeacherStore(*teacher.policy, {"models/t", 5, 2.0}, texts, 100, teacher.pool).save(dir / "s");
  const auto why = [&](const TeacherStore::About& about, std::vector<TrainSample> samples) -> std::string {
    try {
      TeacherStore(dir / "s", about, std::move(samples));
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "";
  };
  CHECK(why({"models/t", 5, 2.0}, texts).empty());
  CHECK(why({"", 0, 2.0}, texts).empty());
  CHECK(why({"models/u", 5, 2.0}, texts).find("models/t, not of models/u") != std::string::npos);
  CHECK(why({"models/t", 6, 2.0}, texts).find("top 5, not 6") != std::string::npos);
  CHECK(why({"models/t", 5, 1.0}, texts).find("temperature 2, not 1") != std::string::npos);
  std::vector<TrainSample> others = texts;
  others[1].tokens.back() ^= 1;
  CHECK(why({"models/t", 5, 2.0}, others).find("other texts") != std::string::npos);
  CHECK_THROWS_WITH_AS(TeacherStore(*teacher.policy, {"t", 49, 1.0}, texts, 100, teacher.pool), doctest::Contains("48 tokens"), ConfigError);
}

TEST_CASE("a student approaches its teacher in every mode") {
  World teacher(1, DType::kBF16, 2);
  const std::vector<TrainSample> texts = texts_of(teacher, 256, 4), held_out = texts_of(teacher, 40, 5);
  LiveTeacher live(*teacher.policy);
  const auto distance = [&](World& student) {
    DistillObjective objective(parts_of(student, texts, held_out, &live), {});
    const Metrics m = objective.evaluate(1000);
    return std::pair(m.at("eval/forward_kl"), m.at("eval/reverse_kl"));
  };
  World untaught(2, DType::kBF16, 2);
  const auto [forward, reverse] = distance(untaught);
  REQUIRE(forward > 0.5);

  const TeacherStore made(*teacher.policy, {"t", 8, 1.0}, texts, 100, teacher.pool);
  const test::TempDir dir;
  made.save(dir / "store");
  TeacherStore stored(dir / "store", {"t", 8, 1.0}, texts);
  struct Mode {
    const char* name;
    Divergence divergence;
    double share;
    bool from_store;
  };
  for (const Mode& mode :
       {Mode{"forward", Divergence::kForward, 0, false}, Mode{"reverse", Divergence::kReverse, 0, false}, Mode{"jsd", Divergence::kJsd, 0, false},
        Mode{"top 8", Divergence::kForward, 0, true}, Mode{"gkd", Divergence::kJsd, 0.5, false}}) {
    CAPTURE(std::string(mode.name));
    World student(2, DType::kBF16, 2);
    DistillOptions options;
    options.kd.divergence = mode.divergence;
    options.student_share = mode.share;
    DistillObjective::Parts parts = parts_of(student, texts, held_out, &live);
    if (mode.from_store) parts.pass = pass_of(student, stored);
    DistillObjective objective(parts, options);
    Recorder recorder;
    ExampleTrainer trainer("distill", {&objective, nullptr, {&recorder}, {}}, trainer_options(objective.size(), 5));
    trainer.run();
    CHECK(recorder.validations.front().at("eval/forward_kl") == doctest::Approx(forward).epsilon(1e-12));
    const auto [f, r] = distance(student);
    CHECK(f < 0.45 * forward);
    CHECK(r < 0.5 * reverse);
    double on_student = 0;
    for (const Metrics& m : recorder.steps) on_student += m.at("distill/on_student");
    if (mode.share == 0) CHECK(on_student == 0);
    else CHECK((on_student > 20 && on_student < 60));  // of 80
  }

  {  // mode sft: the teacher's texts as hard labels
    World student(2, DType::kBF16, 2);
    std::vector<SftExample> examples;
    for (const TrainSample& s : texts_of(teacher, 512, 6)) examples.push_back({s.name, s.tokens, s.loss_mask});
    SftObjective objective(*student.policy, examples, {});
    ExampleTrainerOptions o = trainer_options(objective.size(), 4);
    o.examples_per_update = 32, o.shuffle = false, o.loop.steps = 64;
    ExampleTrainer("sft", {&objective}, o).run();
    const auto [f, r] = distance(student);
    CHECK(f < 0.75 * forward);
  }
}

namespace {

// On-policy through the ordinary trainer: no reward, two updates a rollout.
struct OnPolicyRun {
  OnPolicyRun(World& teacher, const std::filesystem::path& folder, std::int64_t steps, double rate, std::vector<TrainObserver*> observers = {})
      : student(2) {
    GrpoOptions g;
    g.loss.surrogate = SurrogateChoice("ratio");
    g.optimizer.learning_rate.peak = rate;
    g.tokens_per_micro_batch = kBudget;
    g.updates_per_rollout = 2;
    g.exact = true;
    g.seed = 3;
    learner = std::make_unique<GrpoLearner>(*student.policy, nullptr, g);
    std::vector<Prompt> list;
    for (TokenId i = 0; i < 24; ++i) list.push_back(test::make_prompt("p" + std::to_string(i), {2 + i, 30, 2 + (5 * i) % 46}));
    prompts = std::make_unique<ShuffledPrompts>(list, 3);
    Trainer::Parts p;
    p.learner = learner.get();
    p.engine = student.engine.get();
    p.prompts = prompts.get();
    p.scorer = [](const SampleGroup& group) {
      Score score;
      score.parts["none"] = 0;
      return std::vector<Score>(group.completions.size(), score);
    };
    p.token_advantages = teacher_advantages(*teacher.policy, 1.f, kBudget);
    p.observers = std::move(observers);
    if (!folder.empty()) {
      store = std::make_unique<ModelCheckpointStore>(folder / "checkpoints", student.model->config(), SaveCheckpointOptions{});
      p.checkpoints = store.get();
      p.journal = folder / "journal";
    }
    TrainerOptions t;
    t.seed = 3;
    t.steps = steps;
    t.prompts_per_rollout = 24, t.samples_per_prompt = 4;
    t.sampling = sampling();
    t.train_samples.advantage.kind = AdvantageKind::kNone;
    t.save_every = 0;
    t.eval_every = 0, t.eval_at_start = false;
    trainer = std::make_unique<Trainer>(p, t);
  }
  World student;
  std::unique_ptr<GrpoLearner> learner;
  std::unique_ptr<ShuffledPrompts> prompts;
  std::unique_ptr<ModelCheckpointStore> store;
  std::unique_ptr<Trainer> trainer;
};

}  // namespace

TEST_CASE("on-policy distillation needs no reward: the reverse divergence falls, and a run stopped inside a rollout resumes bit for bit") {
  World teacher(1);
  ReverseKlObserver reverse;
  Recorder recorder;
  OnPolicyRun run(teacher, {}, 60, 1e-2, {&reverse, &recorder});
  run.trainer->run();
  std::vector<double> kl;
  for (const Metrics& m : recorder.steps)
    if (m.contains("distill/reverse_kl")) kl.push_back(m.at("distill/reverse_kl"));
  REQUIRE(kl.size() == 30);  // once a rollout
  CHECK(kl.front() > 0.5);
  CHECK(kl.back() < 0.6 * kl.front());

  const test::TempDir a, b;
  OnPolicyRun whole(teacher, a.path(), 5, 1e-3);
  whole.trainer->run();
  { OnPolicyRun(teacher, b.path(), 3, 1e-3).trainer->run(); }  // one update into the second rollout
  OnPolicyRun rest(teacher, b.path(), 5, 1e-3);
  CHECK(rest.trainer->resume() == 3);
  rest.trainer->run();
  CHECK(rest.student.policy->digest() == whole.student.policy->digest());
}

TEST_CASE("distillation by logits and gkd: a killed run ends with the same weights") {
  World teacher(1);
  const std::vector<TrainSample> texts = texts_of(teacher, 40, 4);
  LiveTeacher live(*teacher.policy);
  for (const auto& [share, lora] : {std::pair<double, bool>{0.0, false}, {0.5, false}, {0.0, true}}) {
    CAPTURE(share);
    CAPTURE(lora);
    const auto run = [&, share = share, lora = lora](const std::filesystem::path& dir, std::int64_t steps) {
      World student(2, DType::kBF16, 1, lora);
      const WeightDigest start = student.policy->digest();
      DistillOptions options;
      options.student_share = share;
      DistillObjective objective(parts_of(student, texts, {}, &live), options);
      ExampleTrainerOptions o = trainer_options(objective.size(), 2);
      o.loop.steps = steps;
      ModelCheckpointStore store(dir, student.model->config(), {});
      ExampleTrainer trainer("distill", {&objective, &store, {}, {}}, o);
      trainer.resume();
      trainer.run();
      CHECK(student.policy->digest() != start);
      return student.policy->digest();
    };
    const test::TempDir a, b;
    const WeightDigest whole = run(a.path(), 5);
    run(b.path(), 2);
    CHECK(run(b.path(), 5) == whole);
  }
}

TEST_CASE("vocabularies that differ are one clear error") {
  struct Words : Tokenizer {
    explicit Words(std::vector<std::string> w) : words(std::move(w)) {}
    std::vector<TokenId> encode(std::string_view, bool) const override { return {}; }
    std::string decode(const std::vector<TokenId>&, bool) const override { return {}; }
    const std::string& token_bytes(TokenId id) const override { return words[static_cast<std::size_t>(id)]; }
    bool is_special(TokenId) const override { return false; }
    std::optional<TokenId> token_id(std::string_view) const override { return {}; }
    std::int32_t vocab_size() const override { return static_cast<std::int32_t>(words.size()); }
    std::optional<TokenId> bos() const override { return {}; }
    std::optional<TokenId> eos() const override { return {}; }
    std::optional<TokenId> pad() const override { return {}; }
    const std::string& chat_template() const override { return none; }
    std::vector<std::string> words;
    std::string none;
  };
  const Words a({"x", "y"}), same({"x", "y"}), other({"x", "z"}), longer({"x", "y", "w"});
  CHECK_NOTHROW(check_same_vocabulary(a, "A", same, "B"));
  CHECK_THROWS_WITH_AS(check_same_vocabulary(a, "A", other, "B"), doctest::Contains("token 1 is \"y\" and \"z\""), ConfigError);
  CHECK_THROWS_WITH_AS(check_same_vocabulary(a, "A", longer, "B"), doctest::Contains("token 2 is missing and \"w\""), ConfigError);
}

}  // namespace r1
