#include <doctest/doctest.h>

#include <cstdlib>
#include <set>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/tasks.h"

using r1::ConfigError;
using r1::make_task_line;

namespace {
std::string line(const char* task, std::int64_t level, const char* split, std::int64_t seed, std::int64_t index) {
  return r1::make_task_line({task, level, split, seed}, index);
}
}  // namespace

// Lines of the Python generator that this one repeats.
TEST_CASE("items are those of the reference generator, byte for byte") {
  CHECK(line("add", 2, "train", 0, 0) ==
        R"_({"id": "add2-train-0-0", "task": "add", "level": 2, "prompt": "What is 95 + 86?", "answer": "181"})_");
  CHECK(
      line("add", 17, "test", 5, 3) ==
      R"_({"id": "add17-test-5-3", "task": "add", "level": 17, "prompt": "What is 82945467266591768 + 76880647673302148?", "answer": "159826114939893916"})_");
  CHECK(line("sub", 1, "test", 0, 9) ==
        R"_({"id": "sub1-test-0-9", "task": "sub", "level": 1, "prompt": "What is 3 - 2?", "answer": "1"})_");
  CHECK(line("sub", 3, "train", -4, 2) ==
        R"_({"id": "sub3-train--4-2", "task": "sub", "level": 3, "prompt": "What is 675 - 440?", "answer": "235"})_");
  CHECK(line("mul", 2, "train", 1, 1) ==
        R"_({"id": "mul2-train-1-1", "task": "mul", "level": 2, "prompt": "What is 99 * 23?", "answer": "2277"})_");
  CHECK(
      line("mul", 9, "test", 0, 0) ==
      R"_({"id": "mul9-test-0-0", "task": "mul", "level": 9, "prompt": "What is 534400183 * 497794536?", "answer": "266021491134800088"})_");
  CHECK(line("chain", 2, "train", 0, 3) ==
        R"_({"id": "chain2-train-0-3", "task": "chain", "level": 2, "prompt": "Compute 1 + 8 - 8.", "answer": "1"})_");
  CHECK(
      line("chain", 7, "test", 9, 1) ==
      R"_({"id": "chain7-test-9-1", "task": "chain", "level": 7, "prompt": "Compute 4 + 9 + 2 - 5 - 8 + 9 - 2 + 8.", "answer": "17"})_");
  CHECK(
      line("max", 2, "test", 0, 0) ==
      R"_({"id": "max2-test-0-0", "task": "max", "level": 2, "prompt": "Which number is larger, 48 or 51? Answer with the number only.", "answer": "51"})_");
  CHECK(
      line("max", 4, "train", 0, 5) ==
      R"_({"id": "max4-train-0-5", "task": "max", "level": 4, "prompt": "Which of these numbers is the largest: 18, 56, 58, 39? Answer with the number only.", "answer": "58"})_");
  CHECK(
      line("sort", 3, "test", 0, 2) ==
      R"_({"id": "sort3-test-0-2", "task": "sort", "level": 3, "prompt": "Sort these numbers from smallest to largest: 13 75 73", "answer": "13 73 75"})_");
  CHECK(
      line("first_letter", 1, "train", 0, 4) ==
      R"_({"id": "first_letter1-train-0-4", "task": "first_letter", "level": 1, "prompt": "What is the first letter of \"falcon\"? Answer with one letter.", "answer": "f"})_");
  CHECK(
      line("letter_count", 1, "test", 0, 6) ==
      R"_({"id": "letter_count1-test-0-6", "task": "letter_count", "level": 1, "prompt": "How many times does the letter \"a\" appear in \"harbor\"? Answer with a number.", "answer": "1"})_");
  CHECK(
      line("letter_count", 3, "train", 2, 0) ==
      R"_({"id": "letter_count3-train-2-0", "task": "letter_count", "level": 3, "prompt": "How many times does the letter \"a\" appear in \"saddle\"? Answer with a number.", "answer": "1"})_");
  CHECK(
      line("repeat", 3, "train", 0, 1) ==
      R"_({"id": "repeat3-train-0-1", "task": "repeat", "level": 3, "prompt": "Write the word \"committee\" exactly 3 times, separated by spaces.", "answer": "committee committee committee"})_");
  CHECK(
      line("reverse", 4, "test", 0, 8) ==
      R"_({"id": "reverse4-test-0-8", "task": "reverse", "level": 4, "prompt": "Reverse these letters: l i z j", "answer": "j z i l"})_");
  CHECK(
      line("words_below", 6, "train", 0, 0) ==
      R"_({"id": "words_below6-train-0-0", "task": "words_below", "level": 6, "prompt": "Write one sentence about horses with fewer than 6 words.", "answer": null, "limit": 6})_");
  CHECK(
      line("countdown", 2, "test", 0, 1) ==
      R"_({"id": "countdown2-test-0-1", "task": "countdown", "level": 2, "prompt": "Using the numbers 8, 7, write an arithmetic expression that equals 15. Use each number exactly once and only + - * / and parentheses.", "answer": null, "numbers": [8, 7], "target": 15, "solution": "7 + 8"})_");
  CHECK(
      line("countdown", 3, "train", 0, 7) ==
      R"_({"id": "countdown3-train-0-7", "task": "countdown", "level": 3, "prompt": "Using the numbers 22, 25, 22, write an arithmetic expression that equals 19. Use each number exactly once and only + - * / and parentheses.", "answer": null, "numbers": [22, 25, 22], "target": 19, "solution": "(22 + 22) - 25"})_");
  CHECK(
      line("countdown", 4, "test", 3, 11) ==
      R"_({"id": "countdown4-test-3-11", "task": "countdown", "level": 4, "prompt": "Using the numbers 12, 22, 25, 15, write an arithmetic expression that equals 74. Use each number exactly once and only + - * / and parentheses.", "answer": null, "numbers": [12, 22, 25, 15], "target": 74, "solution": "((15 + 25) + 22) + 12"})_");
  CHECK(
      line("countdown", 6, "train", 123456789012, 1000000) ==
      R"_({"id": "countdown6-train-123456789012-1000000", "task": "countdown", "level": 6, "prompt": "Using the numbers 11, 2, 24, 14, 10, 22, write an arithmetic expression that equals 42. Use each number exactly once and only + - * / and parentheses.", "answer": null, "numbers": [11, 2, 24, 14, 10, 22], "target": 42, "solution": "((((11 + 22) - 10) - 14) * 2) + 24"})_");
}

TEST_CASE("pairs: the worked answer against one with a wrong step, what follows computed from it, of equal length") {
  for (const auto& [task, level] : {std::pair<const char*, int>{"add", 2}, {"add", 3}, {"sub", 2}, {"chain", 4}}) {
    CAPTURE(std::string(task));
    int equal = 0;
    for (int i = 0; i < 300; ++i) {
      const auto row = nlohmann::json::parse(r1::make_task_line({task, level, "train", 0, false, true}, i));
      const auto worked = nlohmann::json::parse(r1::make_task_line({task, level, "train", 0, true}, i));
      CHECK(row.at("prompt") == worked.at("prompt"));
      CHECK(row.at("chosen") == worked.at("completion"));
      CHECK_FALSE(row.contains("completion"));
      const std::string chosen = row.at("chosen"), rejected = row.at("rejected");
      CHECK(chosen != rejected);
      equal += chosen.size() == rejected.size();
      // Steps up to the slip are the right ones; the result is never that of the right answer.
      const std::string result = row.at("answer").get<std::string>() + ".";
      CHECK(chosen.ends_with(" " + result));
      CHECK_FALSE(rejected.ends_with(" " + result));
      CHECK(rejected.find("= -") == std::string::npos);
    }
    CHECK(equal > 285);
  }
  // One digit, by hand: the slip is in the sum, what is written, and the result.
  int seen = 0;
  for (int i = 0; i < 100; ++i) {
    const auto row = nlohmann::json::parse(r1::make_task_line({"add", 1, "train", 0, false, true}, i));
    const std::string prompt = row.at("prompt"), terms = prompt.substr(8, 5);  // "7 + 8"
    const int right = terms[0] + terms[4] - 2 * '0';
    if (right < 12 || right > 17) continue;
    ++seen;
    const auto text = [&](const std::string& sum) { return terms + " = " + sum + ", write " + sum.substr(1) + ", carry 1. So " + terms + " = " + sum + "."; };
    CHECK(row.at("chosen") == text(std::to_string(right)));
    const std::string rejected = row.at("rejected"), sum = rejected.substr(8, 2);
    CHECK(rejected == text(sum));
    CHECK(std::abs(std::stoi(sum) - right) <= 2);
  }
  CHECK(seen > 10);
  CHECK_THROWS_WITH_AS(r1::make_task_line({"mul", 2, "train", 0, false, true}, 0), doctest::Contains("no worked form"), r1::ConfigError);
}

TEST_CASE("train and test never share a prompt") {
  for (const std::string& task : r1::task_names()) {
    const std::int64_t level = task == "countdown" ? 3 : 2;
    std::set<std::string> train, test;
    for (int i = 0; i < 300; ++i) {
      train.insert(
          nlohmann::json::parse(r1::make_task_line({task, level, "train", 1}, i))["prompt"].get<std::string>());
      test.insert(nlohmann::json::parse(r1::make_task_line({task, level, "test", 1}, i))["prompt"].get<std::string>());
    }
    CAPTURE(task);
    for (const auto& prompt : test) CHECK(train.count(prompt) == 0);
  }
}

TEST_CASE("errors name the task, the level and the choice") {
  CHECK_THROWS_WITH_AS(line("addd", 1, "train", 0, 0), doctest::Contains("the tasks are add, sub"), r1::ConfigError);
  CHECK_THROWS_WITH_AS(line("countdown", 1, "train", 0, 0), doctest::Contains("2 to 8"), r1::ConfigError);
  CHECK_THROWS_WITH_AS(line("mul", 10, "train", 0, 0), doctest::Contains("no level 10"), r1::ConfigError);
  CHECK_THROWS_WITH_AS(line("add", 1, "dev", 0, 0), doctest::Contains("train or test"), r1::ConfigError);
  CHECK(r1::task_help("add").find("digits") != std::string::npos);
}
