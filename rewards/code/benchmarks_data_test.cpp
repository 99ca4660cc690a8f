// HumanEval and MBPP: every canonical solution is accepted. By default a sample of the rows; all of them with R1_TEST_FULL.
#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "rewards/code/isolation.h"
#include "rewards/code/test_formats.h"
#include "rewards/code/toolchain.h"
#include "tests/support/support.h"

namespace r1::code {
namespace {

using Json = nlohmann::json;

struct Task {
  std::string name, program;
  std::vector<TestCase> tests;
};

std::vector<Task> tasks_of(const char* folder_and_file) {
  std::vector<Task> tasks;
  std::ifstream in(test::shared_dir() / "data" / folder_and_file);
  for (std::string line; std::getline(in, line);) {
    const Json row = Json::parse(line);
    const Json& id = row["task_id"];
    tasks.push_back({id.is_string() ? id.get<std::string>() : "MBPP/" + id.dump(),
                     row.contains("code") ? row["code"].get<std::string>() : row["canonical_solution"].get<std::string>(),
                     tests_from_row(line)});
  }
  return tasks;
}

void for_all(std::size_t n, const std::function<void(std::size_t)>& body) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> workers;
  for (int w = 0; w < 4; ++w)
    workers.emplace_back([&] {
      for (std::size_t i; (i = next++) < n;) body(i);
    });
}

bool absent() {
  if (test::shared_dir().empty()) return test::skip("no shared data"), true;
  if (!host_guarantees().namespaces) return test::skip(host_guarantees().problem.c_str()), true;
  if (!find_language("python")->installed()) return test::skip("no python3"), true;
  return false;
}

TEST_CASE("canonical solutions are accepted") {
  if (absent()) return;
  for (const auto& [file, rows] : {std::pair{"humaneval/humaneval.jsonl", 164u}, {"mbpp/mbpp.jsonl", 974u}}) {
    const std::vector<Task> tasks = tasks_of(file);
    REQUIRE(tasks.size() == rows);
    const std::size_t step = std::getenv("R1_TEST_FULL") ? 1 : 24;
    std::mutex lock;
    for_all((tasks.size() + step - 1) / step, [&](std::size_t n) {
      const std::size_t i = n * step;
      Submission s;
      s.program = tasks[i].program;
      s.tests = tasks[i].tests;
      s.limits.wall_ms = 60'000;
      s.limits.cpu_ms = 30'000;
      const Judgement j = judge(s);
      const std::lock_guard guard(lock);
      CHECK_MESSAGE(j.verdict == CodeVerdict::kAccepted, tasks[i].name, " ", to_string(j.verdict), ": ", j.reason);
    });
  }
}

}  // namespace
}  // namespace r1::code
