#include "distill/raw_file.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "distill/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::sample_of;
using test::small_header;
using test::small_prompts;

TEST_CASE("raw file: what was added is read back, and after opening again") {
  const test::TempDir dir;
  const auto path = dir / "raw.jsonl";
  RawSample s = sample_of(0, 1, 2, "text \xE4\xB8\xAD\n\"quoted\"");
  s.drawn.tokens = {1, 2, 3};
  s.drawn.logprob = -1.2345678901234567;
  s.drawn.stop = StopReason::kStop;
  s.drawn.stop_text = "</answer>";
  s.drawn.digest = std::string(32, 'a');
  Score score;
  score.value = 0.1f;
  score.verdict = Verdict::kCorrect;
  score.detail = "exact";
  score.parts = {{"math", 0.1f}};
  RawRewrite rewrite{"id", "new", true, "", score};
  for (int round = 0; round < 2; ++round) {
    const auto file = RawFile::open(path, small_header(3), small_prompts(3));
    if (round == 0) {
      CHECK(file->num_samples() == 0);
      file->add(s);
      file->add_scores(0, 1, {score, score});
      file->add_rewrite(0, 1, 2, rewrite);
    }
    CHECK(file->num_samples() == 1);
    CHECK(file->samples(0) == 3);
    CHECK(file->has(0, 1, 2));
    CHECK(!file->has(0, 1, 1));
    CHECK(!file->has(0, 2, 2));
    CHECK(file->digest(0) == s.drawn.digest);
    const auto back = file->sample(0, 1, 2);
    REQUIRE(back);
    CHECK(back->drawn.text == s.drawn.text);
    CHECK(back->drawn.tokens == s.drawn.tokens);
    CHECK(back->drawn.num_tokens == 3);
    CHECK(back->drawn.logprob == s.drawn.logprob);
    CHECK(back->drawn.stop == StopReason::kStop);
    CHECK(back->drawn.stop_text == "</answer>");
    CHECK(back->program == "r1 test");
    CHECK(!file->sample(0, 1, 0));
    const auto scores = file->scores(0, 1);
    REQUIRE(scores.size() == 2);
    CHECK(scores[1].value == 0.1f);
    CHECK(scores[1].verdict == Verdict::kCorrect);
    CHECK(scores[1].parts == score.parts);
    CHECK(file->scores(0, 0).empty());
    CHECK(file->rewrite(0, 1, 2, "id")->text == "new");
    CHECK(!file->rewrite(0, 1, 2, "other settings"));
    const RawPrompt p = file->prompt(2);
    CHECK(p.prompt.id == "p2");
    CHECK(p.prompt.messages.at(0).content == "question 2");
    CHECK(p.prompt.columns.at("n") == "2");
    CHECK(p.renders.at(0).prefill == "<think>\n");
  }
}

TEST_CASE("raw file: a line that a kill cut off is dropped at any byte, everything before stays") {
  const test::TempDir dir;
  const auto path = dir / "raw.jsonl";
  std::string whole, before;
  {
    const auto file = RawFile::open(path, small_header(2), small_prompts(2));
    file->add(sample_of(0, 0, 0, "first"));
    before = read_file(path);
    file->add(sample_of(0, 1, 0, "second"));
    whole = read_file(path);
  }
  for (std::size_t cut = before.size(); cut < whole.size(); cut += 7) {
    write_file_atomic(path, whole.substr(0, cut));
    const auto file = RawFile::open(path, small_header(2), small_prompts(2));
    CHECK(file->num_samples() == 1);
    file->add(sample_of(0, 1, 0, "second"));
    CHECK(read_file(path) == whole);
  }
}

TEST_CASE("raw file: other settings, other weights, foreign files") {
  const test::TempDir dir;
  const auto path = dir / "raw.jsonl";
  {
    const auto file = RawFile::open(path, small_header(2), small_prompts(2));
    RawSample s = sample_of(0, 0, 0, "a");
    s.drawn.digest = std::string(32, 'a');
    file->add(s);
    s.drawn.digest = std::string(32, 'b');
    s.sample = 1;
    CHECK_THROWS_WITH_AS(file->add(s), doctest::Contains("the weights of"), ConfigError);
  }
  RawHeader other = small_header(2);
  other.fingerprint = "other";
  CHECK_THROWS_WITH_AS(RawFile::open(path, other, small_prompts(2)), doctest::Contains("other prompts, models or settings"), ConfigError);
  const auto fails = [&](const std::string& text, const char* what) {
    write_file_atomic(path, text);
    CHECK_THROWS_WITH_AS(RawFile::open(path), doctest::Contains(what), DataError);
  };
  fails("{\"messages\": []}\n", "raw.jsonl:1");
  fails("", "cut off");
  fails("no json\n", "raw.jsonl:1");
  CHECK_THROWS_AS(RawFile::open(dir / "none"), DataError);
  std::filesystem::remove(path);
  RawFile::open(path, small_header(2), small_prompts(2));
  const std::string good = read_file(path);
  fails(good + "{\"t\": 0, \"p\": 9, \"s\": 0, \"text\": \"x\"}\n", "raw.jsonl:4");
  fails(good + "\n", "raw.jsonl:4");
}

}  // namespace
}  // namespace r1
