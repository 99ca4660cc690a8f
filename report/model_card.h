// A model card of a run: README.md as the Hugging Face hub reads it, with metadata in front. What the run did not record is not claimed.
#pragma once

#include <string>
#include <vector>

#include "report/run_data.h"

namespace r1::report {

struct ModelCardInput {
  const RunData& run;
  std::string name;                   // "org/model" where it is pushed to, else the run's
  std::string checkpoint;             // folder name, "step_000020"
  std::string base_model;             // of the hub; empty: the card says what the recipe names
  std::vector<std::string> datasets;  // of the hub
  std::string license;
  std::string settings_source;        // of the preset: "arXiv:2503.14476"; empty where there is none
  std::vector<BenchmarkScore> benchmarks;  // of `r1 eval` on this checkpoint
  std::string program;                // "r1 0.1.0 (c2ba591)"
};

std::string model_card(const ModelCardInput& input);

}  // namespace r1::report
