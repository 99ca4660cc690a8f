#include "distill/regenerate.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "distill/draw.h"
#include "distill/engines.h"
#include "distill/rewrite.h"
#include "distill/write_set.h"
#include "rewards/factory.h"
#include "rollout/scripted_engine.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

struct Fixture {
  test::TempDir dir;
  std::uint8_t weights = 1;
  std::unique_ptr<ScriptedEngine> engine;
  std::vector<SampleTeacher> teachers;
  Rubric rubric = make();
  RewriteOptions writer;
  std::vector<std::string> records;

  // math, and a reward that compares the samples of a group
  static Rubric make() {
    std::vector<Rubric::Entry> entries(2);
    entries[0].reward = make_reward("math");
    entries[0].label = "math";
    entries[1].reward = make_reward("length", "{mode: relative}");
    entries[1].label = "short";
    return Rubric(std::move(entries));
  }
  ChatClient chat() {
    return {[](const ChatRequest& r) -> ChatReply {
              const std::string& q = r.messages.at(0).content;
              const std::size_t at = q.rfind("\\boxed{");
              return {ChatReply::Status::kText,
                      "<think>Anew " + std::to_string(r.seed % 1000) + "</think> " + q.substr(at, q.find('}', at) + 1 - at),
                      {},
                      {},
                      "stop",
                      5};
            },
            "w"};
  }

  Fixture() {
    engine = std::make_unique<ScriptedEngine>([this](const RolloutRequest& r, int sample) {
      const std::uint64_t h = draw_bits({r.key.seed, 0, r.key.prompt, r.key.sample + static_cast<std::uint32_t>(sample)}, 0);
      Completion c;
      c.text = "hm " + std::to_string(h % 977) + "</think> \\boxed{" + std::to_string(r.key.prompt) + "}";
      c.tokens.assign(1 + h % 9, static_cast<TokenId>(h % 50));
      c.logprobs.assign(c.tokens.size(), -0.1f);
      c.stop = StopReason::kEos;
      WeightDigest digest{};
      digest[0] = weights;
      c.version_runs = {{0, 0, digest}};
      return c;
    });
    SampleTeacher& t = teachers.emplace_back();
    t.name = "model";
    t.dtype = "bfloat16";
    t.samples = 4;
    for (std::size_t i = 0; i < 5; ++i) t.prompts.push_back(rendered(i));
    t.engines.push_back(make_rollout_source("model", *engine, t.prompts, t.sampling, 42, nullptr));
    writer.info.name = "w";
    writer.info.dtype = "bfloat16";
    writer.info.prompt = kRewritePrompt;
    writer.info.seed = 42;
  }
  static Prompt rendered(std::size_t i) {
    Prompt p;
    p.id = "p" + std::to_string(i);
    p.reference = std::to_string(i);
    p.messages = {{"user", "question " + std::to_string(i)}};
    p.text = "question<think>\n";
    p.tokens = {1, static_cast<TokenId>(i)};
    return p;
  }
  void generate(bool rewriting) {
    const auto file = RawFile::open(dir / (rewriting ? "b.jsonl" : "a.jsonl"), raw_header(teachers, 42, "[math, short]"), raw_prompts(teachers));
    draw_samples(teachers, *file, &rubric, {});
    CurateStats stats;
    const auto kept = curate(*file, {}, stats);
    if (rewriting) rewrite_samples(*file, kept, writer, chat(), FilterChain({}), &rubric);
    SetOptions options;
    options.labels = {"math", "short"};
    options.columns = true;
    const SetPaths paths = set_paths(dir / "set.jsonl", "");
    write_set(*file, kept, {}, rewriting ? &writer.info : nullptr, paths, options);
    records.clear();
    const std::string text = read_file(paths.data);
    for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) records.push_back(text.substr(at, end - at));
  }
};

TEST_CASE_FIXTURE(Fixture, "a record drawn again from its provenance is equal byte by byte, rewards that compare samples included") {
  generate(false);
  REQUIRE(records.size() == 20);
  for (const std::string& record : records) {
    const RecordOrigin o = origin_of(record);
    CHECK(redraw(o, rendered(o.prompt_index), *engine, nullptr, &rubric, {}) == record);
  }
}

TEST_CASE_FIXTURE(Fixture, "a rewritten record too") {
  generate(true);
  REQUIRE(records.size() == 20);
  for (const std::string& record : records) {
    const RecordOrigin o = origin_of(record);
    REQUIRE(o.rewriter);
    CHECK(o.rewriter->id() == writer.info.id());
    CHECK(redraw(o, rendered(o.prompt_index), *engine, nullptr, &rubric, chat()) == record);
  }
}

TEST_CASE_FIXTURE(Fixture, "what is not as it was is named") {
  generate(false);
  const RecordOrigin o = origin_of(records[7]);
  weights = 2;
  CHECK_THROWS_WITH_AS(redraw(o, rendered(o.prompt_index), *engine, nullptr, &rubric, {}), doctest::Contains("the weights of model"), DataError);
  weights = 1;
  Prompt other = rendered(o.prompt_index);
  other.tokens.push_back(3);
  CHECK_THROWS_WITH_AS(redraw(o, other, *engine, nullptr, &rubric, {}), doctest::Contains("rendered otherwise"), DataError);
  CHECK(first_difference(records[7], records[7]).empty());
  std::string edited = records[7];
  edited.replace(edited.find("hm "), 3, "ah ");
  CHECK(first_difference(records[7], edited).find("/messages/1/content") == 0);
  CHECK_THROWS_AS(origin_of("{\"messages\": []}"), DataError);
  std::string server = records[7];
  server.replace(server.find("\"local\":true"), 12, "\"local\":false");
  CHECK_THROWS_WITH_AS(origin_of(server), doctest::Contains("server"), ConfigError);
}

}  // namespace
}  // namespace r1
