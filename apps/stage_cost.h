// Seconds of a stage on a device: an estimate from counts and from speeds that were measured (docs/pipeline.md says how and how well).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/stage_flow.h"
#include "apps/stage_load.h"
#include "apps/stage_measured.h"
#include "apps/stage_rates.h"

namespace r1 {

// What is assumed where neither recipe nor data says it; each may be given (expect: of a stage, --expect).
struct StageSizes {
  double prompt_tokens = 0, new_tokens = 0;      // mean of a completion
  double common = 0;                             // of a prompt: what all begin with
  double example_tokens = 0, examples = 0;       // of what it learns from
  double answer = 0;                             // of an example: tokens that are trained
  double mixed = 0;                              // share of the completions whose group does not all earn the same
  std::optional<DataSize> makes;                 // kind generate: the set
  std::vector<std::string> said;                 // for people: each value and where it is from
};
// What is known beside the recipe. Of a finished stage everything was measured; of others the model may have been.
struct StageKnown {
  std::map<std::string, double> expect;  // wins
  std::optional<StageMeasured> measured;
  std::optional<DataSize> data;
  bool data_is_made = false;             // by a stage that has not run: its size is an estimate
  std::optional<Writing> writing;        // of the model that draws; none = nobody knows
  std::optional<double> signal;          // share of groups with a signal at the start, where somebody drew some
  std::vector<DataSize> mixes;           // of kind generate with mix: the sets' sizes
};
StageSizes stage_sizes(const StageLoad& load, const StageKnown& known);

struct StageCost {
  double sample = 0, train = 0, other = 0;  // seconds by the clock
  double processors = 0;                    // seconds of the CPU's threads together; 0 on a GPU
  std::int64_t updates = 0;
  double tokens_drawn = 0, tokens_trained = 0;
  double seconds() const { return sample + train + other; }
};
StageCost stage_cost(const StageLoad& load, const StageSizes& sizes, const ModelSize& model, const std::optional<ModelSize>& teacher, const DeviceRates& rates,
                     const ModelSpeeds& speeds);

std::int64_t updates_of(const StageLoad& load, const StageSizes& sizes);
// Rows of the largest micro-batch that an update can have.
double rows_at_once(const StageLoad& load, const StageSizes& sizes, std::int64_t budget);

}  // namespace r1
