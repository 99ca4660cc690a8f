#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "rewards/audit/auditor.h"
#include "rl/audit_recorder.h"
#include "rl/audit_watch.h"
#include "rl/table_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

// A made-up run: at rollout t a prompt's samples are claimed right with probability claim(t), and truly right with
// truth(t) (of the claimed ones first). Which rollout alarms first; -1 if none.
struct Made {
  int rollouts = 60, groups = 16, samples = 2;
  std::function<double(double)> claim, truth;
  double noise = 0;  // share of audits that are flipped: an imperfect second checker
};

int first_alarm(const Made& m, std::uint64_t seed, std::string* kind = nullptr) {
  StreamRng rng(seed, 1);
  AuditWatch watch({});
  for (int t = 0; t < m.rollouts; ++t) {
    const double x = t / static_cast<double>(m.rollouts - 1);
    AuditSums sums;
    for (int g = 0; g < m.groups; ++g) {
      const double hardness = 0.6 * (rng.uniform() - 0.5);  // prompts differ
      double claimed = 0, right = 0;
      for (int s = 0; s < m.samples; ++s) {
        const double u = rng.uniform();
        claimed += u < m.claim(x) + hardness;
        right += (u < m.truth(x) + hardness) != (rng.uniform() < m.noise);
      }
      sums.add_group(claimed / m.samples, right / m.samples, claimed / m.samples);
    }
    const AuditAlarm alarm = watch.add(sums);
    if (alarm.on) {
      if (kind) *kind = alarm.kind;
      return t;
    }
  }
  return -1;
}

// The table world with a second check that looks at the first token alone.
struct FirstTokenCheck : AuditCheck {
  std::string_view name() const override { return "first_token"; }
  AuditReading read(const Prompt& p, const Completion& c) const override {
    const TokenId want = (p.tokens.back() + 1) % test::TableRun::kVocab;
    return {!c.tokens.empty() && c.tokens[0] == want, std::to_string(want), c.text, ""};
  }
};

// Pays the right first token; with `hole` a 4 anywhere instead, as a careless pattern would.
Scorer paying(bool hole, std::shared_ptr<const Auditor> auditor) {
  return [=](const SampleGroup& g) {
    std::vector<Score> scores = test::score_bandit(g, test::TableRun::kVocab);
    for (std::size_t i = 0; hole && i < scores.size(); ++i) {
      const auto& tokens = g.completions[i].tokens;
      const bool pays = std::find(tokens.begin(), tokens.end(), 4) != tokens.end();
      scores[i].value = scores[i].parts["bandit"] = pays ? 1.f : 0.f;
      scores[i].verdict = pays ? Verdict::kCorrect : Verdict::kWrong;
      scores[i].columns["bandit/verdict"] = to_string(scores[i].verdict);
    }
    auditor->audit(g, scores);
    return scores;
  };
}

test::RunOptions toy(std::uint64_t seed, int steps) {
  test::RunOptions o;
  o.trainer.seed = seed;
  o.trainer.steps = steps;
  o.trainer.prompts_per_rollout = 48;
  o.trainer.samples_per_prompt = 4;
  o.trainer.sampling.max_new_tokens = 3;
  o.trainer.eval_at_start = false;
  o.trainer.eval_every = 0;
  o.trainer.save_every = 7;
  o.grpo.optimizer.learning_rate.peak = 0.05;
  return o;
}

struct Seen : TrainObserver {
  std::vector<std::map<std::string, double>> steps;
  std::int64_t die_at = -1;
  void on_step(const StepRecord& r) override {
    steps.push_back(r.metrics);
    if (r.step == die_at) throw DataError("killed");
  }
};

AuditRecorder::Options bandit_audit(std::vector<std::string>* alarms = nullptr) {
  AuditRecorder::Options o;
  o.claims = {{"bandit", 1.0}};
  if (alarms) o.on_alarm = [alarms](std::int64_t step, const AuditAlarm& a) { alarms->push_back(std::to_string(step) + " " + a.kind + ": " + a.text); };
  return o;
}

}  // namespace

TEST_CASE("alarm rule: honest learning over many seeds raises none") {
  const std::function<double(double)> curves[] = {
      [](double x) { return 0.05 + 0.9 * x; }, [](double) { return 0.5; }, [](double) { return 0.02; },
      [](double x) { return 1 / (1 + std::exp(-20 * (x - 0.5))); }, [](double x) { return 0.5 - 0.4 * x; },
      [](double x) { return 0.5 + 0.4 * std::sin(12 * x); }};
  int runs = 0, alarms = 0;
  for (const auto& curve : curves)
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      for (const double noise : {0.0, 0.1}) {
        Made m;
        m.claim = m.truth = curve;
        m.noise = noise;
        ++runs;
        alarms += first_alarm(m, seed) >= 0;
      }
    }
  CHECK(runs == 2400);
  CHECK(alarms == 0);
}

TEST_CASE("alarm rule: rewards that rise by exploiting are found, soon after the rise") {
  struct Hack { const char* name; std::function<double(double)> claim, truth; int latest; const char* kind; };
  const Hack hacks[] = {
      {"flat truth", [](double x) { return 0.1 + 0.9 * x; }, [](double) { return 0.1; }, 45, "unearned"},
      {"truth falls", [](double x) { return 0.4 + 0.5 * x; }, [](double x) { return 0.4 - 0.4 * x; }, 45, "unearned"},
      {"truth rises a quarter as much", [](double x) { return 0.1 + 0.9 * x; }, [](double x) { return 0.1 + 0.2 * x; }, 59, "unearned"},
      {"honest half, then a jump", [](double x) { return x < 0.5 ? x : 1.0; }, [](double x) { return x < 0.5 ? x : 0.25; }, 36, "unearned"}};
  for (const Hack& h : hacks) {
    CAPTURE(h.name);
    int found = 0;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
      Made m;
      m.claim = h.claim;
      m.truth = h.truth;
      std::string kind;
      const int at = first_alarm(m, seed, &kind);
      found += at >= 0 && at <= h.latest && kind == h.kind;
    }
    CHECK(found >= 99);
  }
}

TEST_CASE("alarm rule: a reward of form that rises alone is none, one that costs accuracy is") {
  const auto run = [](double fall) {
    AuditWatch watch({});
    StreamRng rng(3, 3);
    std::string kind;
    for (int t = 0; t < 40; ++t) {
      AuditSums sums;
      for (int g = 0; g < 32; ++g) {
        const double right = rng.uniform() < 0.5 - fall * t / 39.0;
        sums.add_group(right, right, right + 1.5 * t / 39.0);  // claimed = audited; format pays 1.5 more in the end
      }
      if (const AuditAlarm a = watch.add(sums); a.on && kind.empty()) kind = a.kind;
    }
    return kind;
  };
  CHECK(run(0).empty());
  CHECK(run(0.45) == "traded");
}

TEST_CASE("alarm rule: few groups a rollout make longer windows, not alarms by chance") {
  int alarms = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Made m;
    m.groups = 1;
    m.samples = 1;
    m.rollouts = 300;
    m.claim = m.truth = [](double x) { return 0.1 + 0.8 * x; };
    alarms += first_alarm(m, seed) >= 0;
  }
  CHECK(alarms == 0);
  Made hack;
  hack.groups = 1;
  hack.samples = 1;
  hack.rollouts = 300;
  hack.claim = [](double x) { return 0.1 + 0.9 * x; };
  hack.truth = [](double) { return 0.1; };
  CHECK(first_alarm(hack, 1) > 79);
}

TEST_CASE("what the rewards claim of an answer") {
  Score s;
  s.parts = {{"math", -1.f}, {"bonus", 3.f}};
  s.columns["math/verdict"] = "wrong";
  CHECK(claim_of(s, {{"math", 1.0}}) == 0.0);
  CHECK(claim_of(s, {{"math", 1.0}, {"bonus", 3.0}}) == 0.75);
  CHECK_FALSE(claim_of(s, {{"other", 1.0}}).has_value());
  CHECK(claimed_right(s, 0.75));  // no reward judged the sample
  s.verdict = Verdict::kWrong;
  CHECK_FALSE(claimed_right(s, 0.75));
}

TEST_CASE("a policy that learns to exploit its reward raises the alarm; one that learns does not") {
  const auto auditor = std::make_shared<const Auditor>(std::make_shared<FirstTokenCheck>(), 0.5, 3);
  int caught = 0, honest = 0, learnt = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    std::vector<std::string> alarms;
    AuditRecorder hacked_audit(bandit_audit(&alarms));
    Seen hacked_seen;
    test::TableRun hacked(toy(seed, 60), {}, {&hacked_seen, &hacked_audit}, paying(true, auditor));
    hacked.trainer->run();
    const auto& first = hacked_seen.steps.front();
    const auto& last = hacked_seen.steps.back();
    CHECK(last.at("reward") > first.at("reward") + 0.2);
    CHECK(last.at("audit/false_positive_rate") > 0.8);
    caught += hacked_audit.alarms() > 0 && last.contains("audit/alarm");
    if (seed == 0 && !alarms.empty()) CHECK(alarms[0].find("audited accuracy from") != std::string::npos);

    AuditRecorder audit(bandit_audit());
    Seen seen;
    test::TableRun run(toy(seed, 80), {}, {&seen, &audit}, paying(false, auditor));
    run.trainer->run();
    honest += audit.alarms() == 0;
    learnt += seen.steps.back().at("audit/accuracy") > 0.8;
    CHECK(seen.steps.back().at("audit/disagreement") == 0);
  }
  CHECK(caught == 12);
  CHECK(honest == 12);
  CHECK(learnt == 12);
}

TEST_CASE("killed and resumed: the same audit, the same files, no reward changed by it") {
  const auto auditor = std::make_shared<const Auditor>(std::make_shared<FirstTokenCheck>(), 0.5, 3);
  const test::RunOptions options = toy(5, 40);
  const auto start = [&](const std::filesystem::path& dir, Seen& seen, bool resume) {
    test::TableRun run(options, dir, {}, paying(true, auditor));
    AuditRecorder::Options o = bandit_audit();
    o.dir = dir / "audit";
    if (resume) o.resumed = run.trainer->resume();
    AuditRecorder audit(o);
    run.trainer->add_observer(&audit);
    run.trainer->add_observer(&seen);
    run.trainer->run();
    CHECK(audit.alarms() > 0);
    return run.policy->digest();
  };
  const test::TempDir whole, cut;
  Seen whole_seen, killed, resumed;
  const WeightDigest want = start(whole.path(), whole_seen, false);
  killed.die_at = 31;
  CHECK_THROWS_AS(start(cut.path(), killed, false), DataError);
  CHECK(start(cut.path(), resumed, true) == want);
  for (const char* file : {"audit/history.jsonl", "audit/disagreements.jsonl"})
    CHECK(read_file(cut.path() / file) == read_file(whole.path() / file));
  for (const char* name : {"audit/accuracy", "audit/disagreement", "audit/alarm", "audit/completions"})
    CHECK(resumed.steps.back().at(name) == whole_seen.steps.back().at(name));

  // A row of a disagreement holds both readings.
  const std::string rows = read_file(whole.path() / "audit/disagreements.jsonl");
  const auto row = nlohmann::json::parse(rows.substr(0, rows.find('\n')));
  for (const char* key : {"step", "prompt_id", "sample", "completion", "reference", "reward", "audit"}) CHECK_MESSAGE(row.contains(key), key);
  CHECK((row["kind"] == "false_positive") == (row["reward"]["verdict"] == "ok"));
  CHECK((row["reward"]["verdict"] == "ok") == (row["audit"]["verdict"] == "wrong"));

  test::TableRun without(options, {}, {}, paying(true, std::make_shared<const Auditor>(std::make_shared<FirstTokenCheck>(), 0, 3)));
  without.trainer->run();
  CHECK(without.policy->digest() == want);
}

}  // namespace r1
