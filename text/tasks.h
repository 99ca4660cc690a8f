// Generators of small tasks whose answers can be checked: addition, countdown, sorting, ... An item is a function of
// (task, level, split, seed, index) alone, and the splits train and test never share a prompt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace r1 {

struct TaskOptions {
  std::string task;             // one of task_names()
  std::int64_t level = 1;       // digits, terms, numbers: see task_help()
  std::string split = "train";  // or "test"
  std::int64_t seed = 0;
  bool worked = false;          // with a field "completion": the way to the answer, step by step (add, sub, chain)
  bool pairs = false;           // with fields "chosen", the same, and "rejected", with one wrong step and what follows from it
};

std::vector<std::string> task_names();
// One line on what the level of a task means and its range.
std::string task_help(const std::string& task);

// Item `index` as one JSON line without its newline: id, task, level, prompt, answer (null where a rule decides), and
// what that rule needs. Throws ConfigError for an unknown task, split or a level out of range.
std::string make_task_line(const TaskOptions& options, std::int64_t index);

}  // namespace r1
