// Pieces of what the training screens print.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include "recipes/common_sections.h"
#include "rl/evaluator.h"
#include "rl/train_observer.h"

namespace r1 {

template <class... Args>
std::string format(const char* pattern, Args... args) {
  char text[512];
  std::snprintf(text, sizeof text, pattern, args...);
  return text;
}

double now_s();  // of a steady clock
// Line breaks as \n, cut to `limit` columns.
std::string one_line(const std::string& text, std::size_t limit);
// "path (llama, 135M parameters, bfloat16)"
std::string model_text(const ModelSection& section, const ModelConfig& config);
// "  eval at 10:  greedy 59.3 % [53.7, 64.7]  T=1 ..."
std::string eval_line(std::int64_t step, const EvalReport& report, float temperature);
// "step  3/20"
std::string step_text(std::int64_t step, std::int64_t steps);
// "  name value" for each metric that the record has.
void add_metric(std::string& line, const StepRecord& record, const char* name, const char* key, const char* pattern);

// Where the model is and what to do with it, after a run or an interruption. `checkpoint` may be empty.
std::string closing_lines(const std::filesystem::path& run, const std::filesystem::path& checkpoint, bool interrupted);

// The greedy accuracy of the first and the last evaluation.
class AccuracyChange {
 public:
  void add(std::int64_t step, const EvalReport& report);
  std::string line() const;  // "" until there are two

 private:
  double first_ = 0, last_ = 0;
  std::int64_t first_step_ = -1, last_step_ = -1;
};

}  // namespace r1
