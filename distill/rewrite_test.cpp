#include "distill/rewrite.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>

#include "core/error.h"
#include "distill/test_support.h"
#include "distill/write_set.h"
#include "rewards/factory.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::sample_of;
using test::small_header;
using test::small_prompts;

struct Fixture {
  test::TempDir dir;
  std::unique_ptr<RawFile> file;
  std::vector<Kept> kept;
  RewriteOptions options;
  std::atomic<int> asked{0};
  std::mutex mutex;
  std::vector<ChatRequest> requests;

  Fixture() {
    file = RawFile::open(dir / "raw.jsonl", small_header(6), small_prompts(6));
    for (std::size_t p = 0; p < 6; ++p) {
      file->add(sample_of(0, p, 0, "hm 我 think</think> \\boxed{" + std::to_string(p) + "}"));
      Score right;
      right.verdict = Verdict::kCorrect;
      file->add_scores(0, p, {right});
      kept.push_back({0, p, 0, 1.0});
    }
    options.info.name = "writer";
    options.info.prompt = kRewritePrompt;
    options.info.seed = 3;
    options.parallel = 3;
  }
  // Replies by the number of the question that is asked.
  ChatClient client(std::vector<ChatReply> replies) {
    return {[this, replies](const ChatRequest& r) {
              ++asked;
              const std::lock_guard lock(mutex);
              requests.push_back(r);
              const std::size_t at = r.messages.at(0).content.find("Question:\nquestion ") + 19;
              return replies.at(static_cast<std::size_t>(r.messages.at(0).content[at] - '0') % replies.size());
            },
            "test"};
  }
  static ChatReply good(int p, const char* finish = "stop") {
    return {ChatReply::Status::kText, " <think>First I look.</think>\nIt is \\boxed{" + std::to_string(p) + "}.\n", {}, {}, finish, 9};
  }
  static Rubric math() {
    std::vector<Rubric::Entry> entries(1);
    entries[0].reward = make_reward("math");
    entries[0].label = "math";
    return Rubric(std::move(entries));
  }
};

TEST_CASE_FIXTURE(Fixture, "rewriting: asked once for each, checked, kept in the file") {
  const Rubric rubric = math();
  const ChatClient writer = client({good(0),
                                    good(7),
                                    {ChatReply::Status::kText, "It is \\boxed{2}.", {}},
                                    good(3, "length"),
                                    {ChatReply::Status::kFailed, "HTTP 400", "HTTP 400"},
                                    good(5)});
  FilterOptions filters;
  rewrite_samples(*file, kept, options, writer, FilterChain(filters), &rubric);
  CHECK(asked == 6);
  const std::string id = options.info.id();
  const auto of = [&](std::size_t p) { return *file->rewrite(0, p, 0, id); };
  CHECK(of(0).kept);
  CHECK(of(0).text == "<think>First I look.</think>\nIt is \\boxed{0}.");
  CHECK(of(0).score.verdict == Verdict::kCorrect);
  CHECK(!of(1).kept);
  CHECK(of(1).why == "answer: wrong");
  CHECK(of(2).why == "format: no_think");
  CHECK(of(3).why == "format: truncated");
  CHECK(of(4).why == "refused");
  CHECK(of(5).kept);
  // The model is shown the question and the whole working, the prompt's open tag included.
  for (const ChatRequest& r : requests) {
    CHECK(r.messages.at(0).content.find("<think>\nhm 我 think</think> \\boxed{") != std::string::npos);
    CHECK(r.max_tokens == 4096);
  }
  CHECK(requests[0].seed != requests[1].seed);
  rewrite_samples(*file, kept, options, writer, FilterChain(filters), &rubric);
  CHECK(asked == 6);  // nothing again
  options.info.temperature = 0.5;
  rewrite_samples(*file, kept, options, writer, FilterChain(filters), &rubric);
  CHECK(asked == 12);  // other settings, other replies

  options.info.temperature = 0;
  SetStats stats = write_set(*file, kept, {}, &options.info, set_paths(dir / "set.jsonl", ""), {});
  CHECK(stats.records == 2);
  CHECK(stats.not_rewritten.size() == 4);
  CHECK(stats.examples.at(0).find("First I look") != std::string::npos);
  CHECK(stats.examples.at(0).find("\"source\":\"<think>\\nhm 我 think") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "rewriting: the set's filters hold for the new text too") {
  FilterOptions filters;
  filters.max_paragraph = 10;
  rewrite_samples(*file, kept, options, client({good(0)}), FilterChain(filters), nullptr);
  CHECK(file->rewrite(0, 0, 0, options.info.id())->why.starts_with("paragraphs: "));
}

TEST_CASE_FIXTURE(Fixture, "rewriting: a model that is down ends the call; what was done stays") {
  const ChatClient down = client({good(0), good(1), {ChatReply::Status::kFailed, "HTTP 500: down", "HTTP 500"}});
  options.parallel = 1;
  CHECK_THROWS_WITH_AS(rewrite_samples(*file, kept, options, down, FilterChain({}), nullptr), doctest::Contains("HTTP 500"), Error);
  CHECK(file->rewrite(0, 1, 0, options.info.id()));
  CHECK(!file->rewrite(0, 2, 0, options.info.id()));
}

TEST_CASE("rewriting: a prompt of one's own is checked") {
  check_rewrite_prompt("{question} {reference} {completion}");
  CHECK_THROWS_WITH_AS(check_rewrite_prompt("{question}"), doctest::Contains("no {completion}"), ConfigError);
  CHECK_THROWS_WITH_AS(check_rewrite_prompt("{completion} {rubric}"), doctest::Contains("{rubric}"), ConfigError);
  CHECK_THROWS_AS(check_rewrite_prompt("{completion} {typo}"), ConfigError);
}

}  // namespace
}  // namespace r1
