#include "apps/stage_measured.h"

#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

#include "distill/raw_file.h"
#include "distill/write_set.h"
#include "rl/eval/run_benchmark.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr double kEnds = 0.25;  // share of the updates that stands for a run's begin, and for its end

double mean(const std::vector<double>& v, std::size_t begin, std::size_t end) {
  double sum = 0;
  for (std::size_t i = begin; i < end; ++i) sum += v[i];
  return end > begin ? sum / static_cast<double>(end - begin) : 0;
}

StageMeasured of_training(const fs::path& run) {
  StageMeasured out;
  std::vector<double> lengths, right, mixed;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    const auto get = [&](const char* key) { return json.contains(key) && json[key].is_number() ? json[key].get<double>() : std::nan(""); };
    const auto keep = [&](std::vector<double>& list, double v) { if (std::isfinite(v)) list.push_back(v); };
    keep(lengths, get("completions/mean_length"));
    keep(right, get("accuracy"));
    keep(mixed, std::isfinite(get("frac_groups_mixed")) ? get("frac_groups_mixed") : 1 - get("frac_reward_zero_std"));
    const double sampled = get("timing_s/gen"), step = get("timing_s/step");
    if (std::isfinite(sampled)) out.sampling_s += sampled;
    if (std::isfinite(step)) out.learning_s += step - (std::isfinite(sampled) ? sampled : 0);
  }
  const auto few = [](const std::vector<double>& v) { return static_cast<std::size_t>(std::ceil(kEnds * static_cast<double>(v.size()))); };
  out.new_tokens = mean(lengths, 0, lengths.size());
  out.first_new_tokens = mean(lengths, 0, few(lengths)), out.last_new_tokens = mean(lengths, lengths.size() - few(lengths), lengths.size());
  out.right = mean(right, 0, few(right)), out.last_right = mean(right, right.size() - few(right), right.size());
  out.mixed = mean(mixed, 0, mixed.size());
  return out;
}

StageMeasured of_results(const fs::path& dir) {
  double tokens = 0, right = 0, completions = 0, counted = 0;
  for (const std::string& name : results_in(dir))
    for (const PartResult& part : load_result(dir, name).parts) {
      const auto n = static_cast<double>(part.completions);
      completions += n, right += n * part.strict.pass1;
      if (std::isfinite(part.mean_tokens)) counted += n, tokens += n * part.mean_tokens;
    }
  StageMeasured out;
  if (counted > 0) out.new_tokens = tokens / counted;
  if (completions > 0) out.right = right / completions;
  return out;
}

StageMeasured of_set(const fs::path& data) {
  const fs::path raw = data.parent_path() / "raw" / "samples.jsonl";  // as set_paths() of a folder says
  if (!fs::exists(raw)) return {};
  const auto file = RawFile::open(raw);
  double tokens = 0, samples = 0, right = 0, judged = 0;
  for (std::size_t t = 0; t < file->header().teachers.size(); ++t)
    for (std::size_t p = 0; p < file->header().prompts; ++p) {
      for (int s = 0; s < file->samples(t); ++s) {
        const auto sample = file->sample(t, p, s);
        if (sample && sample->drawn.num_tokens >= 0) tokens += static_cast<double>(sample->drawn.num_tokens), ++samples;
      }
      for (const Score& score : file->scores(t, p)) ++judged, right += score.verdict == Verdict::kCorrect;
    }
  StageMeasured out;
  if (samples > 0) out.new_tokens = tokens / samples;
  if (judged > 0) out.right = right / judged;
  return out;
}

}  // namespace

StageMeasured measured_of(StageWork work, const fs::path& place) {
  switch (work) {
    case StageWork::kTrain: return of_training(place);
    case StageWork::kEval: return of_results(place);
    case StageWork::kGenerate: return of_set(place);
  }
  return {};
}

}  // namespace r1
