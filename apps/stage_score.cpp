#include "apps/stage_score.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

#include "apps/screen_text.h"
#include "core/error.h"
#include "core/format.h"
#include "rl/eval/run_benchmark.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string score_of_training(const fs::path& run) {
  std::map<std::string, double> last;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    for (const auto& [key, value] : json.items())
      if (value.is_number()) last[key] = value.get<double>();
  }
  if (last.contains("eval/greedy/accuracy")) return format("greedy %.1f %%", 100 * last["eval/greedy/accuracy"]);
  if (last.contains("eval/sampled/pass@1")) return format("pass@1 %.1f %%", 100 * last["eval/sampled/pass@1"]);
  if (last.contains("eval/accuracy")) return format("pairs %.1f %%", 100 * last["eval/accuracy"]);
  if (last.contains("eval/loss")) return format("loss %.4f held out", last["eval/loss"]);
  if (last.contains("reward")) return format("reward %.3f", last["reward"]);
  return last.contains("loss") ? format("loss %.4f", last["loss"]) : "";
}

std::string score_of_results(const fs::path& dir) {
  std::string out;
  for (const std::string& name : results_in(dir)) {
    const BenchmarkResult result = load_result(dir, name);
    if (!result.parts.empty()) out += (out.empty() ? "" : ", ") + name + format(" %.1f %%", 100 * result.parts.back().strict.pass1);
  }
  return out;
}

std::string score_of_set(const fs::path& file) {
  if (file.extension() != ".jsonl") return "";
  std::ifstream in(file, std::ios::binary);
  std::int64_t rows = 0;
  for (std::string line; std::getline(in, line);) ++rows;
  return with_commas(rows) + " records";
}

}  // namespace

std::string stage_score(StageWork work, const fs::path& place) {
  if (work == StageWork::kTrain) return score_of_training(place);
  return work == StageWork::kEval ? score_of_results(place) : score_of_set(place);
}

}  // namespace r1
