#include "distill/draw.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "core/signals.h"
#include "distill/engines.h"
#include "rewards/factory.h"
#include "rollout/scripted_engine.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

constexpr std::size_t kPrompts = 7;

std::vector<Prompt> prompts(std::size_t n = kPrompts) {
  std::vector<Prompt> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    out[i].id = "p" + std::to_string(i);
    out[i].messages = {{"user", "question " + std::to_string(i)}};
    out[i].text = "<|user|>question " + std::to_string(i) + "<think>\n";
    out[i].tokens = {static_cast<TokenId>(i), 5};
    out[i].reference = std::to_string(i);
  }
  return out;
}

Completion answer(const RolloutRequest& r, int sample) {
  Completion c;
  const std::uint64_t h = draw_bits({r.key.seed, r.key.step, r.key.prompt, r.key.sample + static_cast<std::uint32_t>(sample)}, 0);
  c.text = "so</think> \\boxed{" + std::to_string(h % 2 ? r.key.prompt : 99) + "} " + std::to_string(h % 1000);
  c.tokens = {1, 2, static_cast<TokenId>(h % 100)};
  c.stop = StopReason::kEos;
  return c;
}

// A teacher on scripted rollout engines.
struct Fixture {
  test::TempDir dir;
  std::vector<std::unique_ptr<ScriptedEngine>> engines;
  std::vector<SampleTeacher> teachers;
  std::atomic<int> drawn{0};

  SampleTeacher& add(int samples, int num_engines, std::size_t n = kPrompts) {
    SampleTeacher& t = teachers.emplace_back();
    t.name = "model" + std::to_string(teachers.size());
    t.samples = samples;
    t.prompts = prompts(n);
    (void)num_engines;
    return t;
  }
  void attach(int num_engines, int in_flight = 3) {
    for (SampleTeacher& t : teachers) {
      t.engines.clear();
      for (int i = 0; i < num_engines; ++i) {
        engines.push_back(std::make_unique<ScriptedEngine>([this](const RolloutRequest& r, int sample) {
          ++drawn;
          return answer(r, sample);
        }));
        t.engines.push_back(make_rollout_source(t.name, *engines.back(), t.prompts, t.sampling, 11, nullptr, in_flight));
      }
    }
  }
  std::unique_ptr<RawFile> open(const char* name = "raw.jsonl") {
    return RawFile::open(dir / name, raw_header(teachers, 11, "rewards"), raw_prompts(teachers));
  }
};

Rubric math() {
  std::vector<Rubric::Entry> entries(1);
  entries[0].reward = make_reward("math");
  entries[0].label = "math";
  return Rubric(std::move(entries));
}

TEST_CASE_FIXTURE(Fixture, "drawing: every sample once, keyed by prompt and number, scored as a group, whatever the engines") {
  add(5, 1);
  const Rubric rubric = math();
  attach(1, 100);
  const auto one = open("one.jsonl");
  draw_samples(teachers, *one, &rubric, {});
  CHECK(drawn == 35);
  attach(3, 2);
  const auto three = open("three.jsonl");
  draw_samples(teachers, *three, &rubric, {});
  CHECK(drawn == 70);
  int right = 0;
  for (std::size_t p = 0; p < kPrompts; ++p) {
    const auto scores = one->scores(0, p);
    REQUIRE(scores.size() == 5);
    for (int s = 0; s < 5; ++s) {
      CHECK(one->sample(0, p, s)->drawn.text == three->sample(0, p, s)->drawn.text);
      CHECK(one->sample(0, p, s)->drawn.num_tokens == 3);
      const bool correct = one->sample(0, p, s)->drawn.text.find("{" + std::to_string(p) + "}") != std::string::npos;
      CHECK((scores[static_cast<std::size_t>(s)].verdict == Verdict::kCorrect) == correct);
      right += correct;
    }
  }
  CHECK(right > 5);
  CHECK(right < 30);
  CHECK(one->prompt(0).renders.at(0).prefill == "<think>\n");
}

TEST_CASE_FIXTURE(Fixture, "drawing goes on with what is missing: single samples, more samples, groups without a score") {
  add(4, 1);
  attach(1);
  const Rubric rubric = math();
  {
    const auto file = open();
    for (std::size_t p = 0; p < kPrompts; ++p)
      for (int s = 0; s < 4; ++s)
        if ((p + static_cast<std::size_t>(s)) % 3 != 0) file->add({0, p, s, drawn_from({ChatReply::Status::kText, "there before", {}}), "earlier"});
  }
  const auto file = open();
  const auto before = static_cast<int>(file->num_samples());
  draw_samples(teachers, *file, nullptr, {});
  CHECK(drawn == 28 - before);
  CHECK(file->sample(0, 1, 0)->drawn.text == "there before");
  CHECK(file->scores(0, 0).empty());
  draw_samples(teachers, *file, &rubric, {});
  CHECK(drawn == 28 - before);  // scored without drawing
  CHECK(file->scores(0, 6).size() == 4);
  teachers[0].samples = 6;
  draw_samples(teachers, *file, &rubric, {});
  CHECK(drawn == 28 - before + 2 * static_cast<int>(kPrompts));
  CHECK(file->scores(0, 6).size() == 6);
}

TEST_CASE_FIXTURE(Fixture, "drawing: a stop signal keeps what was drawn; the next call ends with the same samples") {
  add(5, 1);
  attach(2);
  DrawOptions stopping;
  stopping.progress = [](std::int64_t done, std::int64_t) {
    if (done == 9) request_stop();
  };
  reset_stop_for_tests();
  {
    const auto file = open();
    CHECK_THROWS_AS(draw_samples(teachers, *file, nullptr, stopping), Interrupted);
  }
  reset_stop_for_tests();
  const auto file = open();
  CHECK(file->num_samples() >= 9);
  CHECK(file->num_samples() < 35);
  attach(1);  // the stopped engines are gone with their process
  draw_samples(teachers, *file, nullptr, {});
  CHECK(file->num_samples() == 35);
  CHECK(file->sample(0, 6, 4)->drawn.text == answer({{}, 1, {}, {11, 0, 6, 4}}, 0).text);
}

// A server: fails from its n-th question on, refuses one prompt for what it is.
ChatClient server(std::atomic<int>& asked, int fails_from, const std::string& refused = "") {
  return {[&asked, fails_from, refused](const ChatRequest& r) -> ChatReply {
            const int n = ++asked;
            if (!refused.empty() && r.messages.at(0).content == refused) return {ChatReply::Status::kFailed, "HTTP 400: too long", "HTTP 400"};
            if (n >= fails_from) return {ChatReply::Status::kFailed, "HTTP 500: down", "HTTP 500"};
            return {ChatReply::Status::kText, r.messages.at(0).content + " seed " + std::to_string(r.seed), {}, "thought", "stop", 9};
          },
          "test"};
}

TEST_CASE_FIXTURE(Fixture, "drawing: an engine out of order is replaced by the others; without another one the error stands") {
  SampleTeacher& t = add(4, 0);
  std::atomic<int> good{0}, bad{0};
  t.engines.push_back(make_chat_source("bad", server(bad, 5), t.prompts, t.sampling, 11, 3));
  t.engines.push_back(make_chat_source("good", server(good, 1 << 30), t.prompts, t.sampling, 11, 2));
  std::vector<std::string> warnings;
  DrawOptions options;
  std::mutex mutex;
  options.warn = [&](const std::string& w) {
    const std::lock_guard lock(mutex);
    warnings.push_back(w);
  };
  const auto file = open();
  draw_samples(teachers, *file, nullptr, options);
  CHECK(file->num_samples() == 28);
  CHECK(warnings.size() <= 1);  // the good one may have done it all
  const std::string text = file->sample(0, 2, 1)->drawn.text;
  CHECK(text.starts_with("<think>\nthought\n</think>\n\nquestion 2 seed "));
  CHECK(file->sample(0, 2, 1)->drawn.num_tokens == 9);
  std::set<std::string> different;
  for (std::size_t p = 0; p < kPrompts; ++p)
    for (int s = 0; s < 4; ++s) different.insert(file->sample(0, p, s)->drawn.text);
  CHECK(different.size() == 28);  // a seed of its own for each

  std::atomic<int> alone{0};
  t.engines.clear();
  t.engines.push_back(make_chat_source("alone", server(alone, 6), t.prompts, t.sampling, 11, 2));
  const auto other = open("other.jsonl");
  CHECK_THROWS_WITH_AS(draw_samples(teachers, *other, nullptr, {}), doctest::Contains("alone: HTTP 500"), Error);
  CHECK(other->num_samples() == 5);
}

TEST_CASE_FIXTURE(Fixture, "drawing: a prompt that a server refuses is a sample with an error, not the end") {
  SampleTeacher& t = add(2, 0);
  std::atomic<int> asked{0};
  t.engines.push_back(make_chat_source("s", server(asked, 1 << 30, "question 3"), t.prompts, t.sampling, 11, 2));
  const auto file = open();
  draw_samples(teachers, *file, nullptr, {});
  CHECK(file->num_samples() == 14);
  CHECK(file->sample(0, 3, 0)->drawn.stop == StopReason::kAborted);
  CHECK(file->sample(0, 3, 0)->drawn.error == "HTTP 400: too long");
}

TEST_CASE_FIXTURE(Fixture, "drawing: several teachers, each with its own samples; they must have the same prompts") {
  add(2, 1);
  add(3, 1);
  attach(1);
  const auto file = open();
  draw_samples(teachers, *file, nullptr, {});
  CHECK(file->samples(0) == 2);
  CHECK(file->samples(1) == 3);
  CHECK(file->num_samples() == kPrompts * 5);
  add(1, 1, 3);
  CHECK_THROWS_WITH_AS(raw_prompts(teachers), doctest::Contains("3 usable prompts"), DataError);
}

TEST_CASE_FIXTURE(Fixture, "drawing: the fingerprint names what samples depend on, but not how many there are") {
  add(2, 1);
  const std::string a = raw_header(teachers, 11, "r").fingerprint;
  teachers[0].samples = 9;
  CHECK(raw_header(teachers, 11, "r").fingerprint == a);
  CHECK(raw_header(teachers, 12, "r").fingerprint != a);
  CHECK(raw_header(teachers, 11, "other").fingerprint != a);
  teachers[0].sampling.temperature = 0.5f;
  CHECK(raw_header(teachers, 11, "r").fingerprint != a);
  teachers[0].sampling.temperature = 1.f;
  teachers[0].prompts[3].tokens.push_back(1);
  CHECK(raw_header(teachers, 11, "r").fingerprint != a);
}

TEST_CASE("engines: reasoning that a server keeps apart comes first; where it was cut off it stays open") {
  const Drawn cut = drawn_from({ChatReply::Status::kText, "", {}, "long thought", "length", 5});
  CHECK(cut.text == "<think>\nlong thought");
  CHECK(cut.stop == StopReason::kLength);
  CHECK(drawn_from({ChatReply::Status::kText, "plain", {}}).text == "plain");
}

}  // namespace
}  // namespace r1
