// HumanEval and MBPP: every canonical solution is accepted; of the same with one planted bug, those and only those that
// the row's tests cannot tell from it (mutants.py decides that by another way). By default a sample of the rows; all of
// them with R1_TEST_FULL, and then R1_TEST_SURVIVORS names a file for the list of accepted mutants.
#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
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
  std::string name, program, row;
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
                     line, tests_from_row(line)});
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

std::string text_of(const char* file) {
  std::ifstream in(std::string(R1_SOURCE_DIR) + "/rewards/code/" + file);
  return {std::istreambuf_iterator<char>(in), {}};
}

Json mutants_of(const Task& task, int most) {
  Job job;
  job.argv = {"/usr/bin/python3", "-I", "main.py", std::to_string(most)};
  job.files = {{"main.py", text_of("mutants.py")}, {"row.json", task.row}};
  job.limits = {600'000, 300'000, 1024, 8, 16, 8192};
  const Outcome o = run_in_box(job);
  REQUIRE_MESSAGE(o.status == 0, task.name, " ", o.detail, o.errors);
  return Json::parse(o.output);
}

TEST_CASE("of programs with one planted bug, only those pass that the tests cannot tell") {
  if (absent()) return;
  const bool full = std::getenv("R1_TEST_FULL") != nullptr;
  std::map<std::string, int> made, told;
  int weak = 0, same = 0;
  std::string list;
  for (const char* file : {"humaneval/humaneval.jsonl", "mbpp/mbpp.jsonl"}) {
    const std::vector<Task> tasks = tasks_of(file);
    const std::size_t step = full ? 1 : tasks.size() / 4;
    std::mutex lock;
    for_all((tasks.size() + step - 1) / step, [&](std::size_t n) {
      const Task& task = tasks[n * step];
      for (const Json& m : mutants_of(task, full ? 8 : 3)) {
        Submission s;
        s.program = m["program"].get<std::string>();
        s.tests = task.tests;
        s.stop_at_first = true;
        s.limits.cpu_ms = 600;
        Judgement j = judge(s);
        if (!m["told"].get<bool>() && j.verdict != CodeVerdict::kAccepted) {  // a busy machine, or a slow program
          s.limits.cpu_ms = s.limits.wall_ms = 60'000;
          j = judge(s);
        }
        const std::lock_guard guard(lock);
        const std::string op = m["op"].get<std::string>();
        CHECK_MESSAGE(j.verdict != CodeVerdict::kInternalError, task.name, ": ", j.reason);
        CHECK_MESSAGE((j.verdict == CodeVerdict::kAccepted) == !m["told"].get<bool>(), task.name, " ", op, " ", to_string(j.verdict),
                      " ", j.reason, "\n", s.program);
        ++made[op];
        told[op] += m["told"].get<bool>();
        if (m["told"].get<bool>()) continue;
        const std::string input = m["input"].get<std::string>();
        ++(input.empty() ? same : weak);
        list += task.name + " " + op + " line " + m["line"].dump() +
                (input.empty() ? ": the same on " + m["tried"].dump() + " inputs near the tests'" : ": the tests lack " + input) + "\n";
      }
    });
  }
  for (const auto& [op, count] : made) MESSAGE(op, ": ", count, " planted, ", told[op], " told by the tests and refused");
  MESSAGE("accepted because the tests cannot tell: ", weak, " with an input that they lack, ", same, " without one found");
  if (const char* path = std::getenv("R1_TEST_SURVIVORS")) std::ofstream(path) << list;
}

}  // namespace
}  // namespace r1::code
