#include "rl/run_recorder.h"

#include <cstdio>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::vector<std::pair<std::string, double>> as_pairs(const std::map<std::string, double>& m) {
  return {m.begin(), m.end()};
}

Json sample_json(const Prompt& prompt, const Completion& c, const Score& s) {
  Json j = {{"prompt_id", prompt.id}, {"prompt", prompt.text}, {"reference", prompt.reference}, {"completion", c.text},
            {"tokens", c.tokens.size()}, {"stop", to_string(c.stop)}, {"reward", s.value}, {"rewards", Json::object()},
            {"verdict", to_string(s.verdict)}, {"detail", s.detail}, {"columns", Json::object()}};
  for (const auto& [name, value] : s.parts) j["rewards"][name] = value;
  for (const auto& [name, value] : s.columns) j["columns"][name] = value;
  return j;
}

float advantage_of(const TrainSample& s) {
  for (std::size_t t = 0; t < s.tokens.size(); ++t)
    if (s.loss_mask[t]) return s.advantages[t];
  return 0;
}

}  // namespace

std::string transcripts(const StepRecord& record, int groups) {
  std::string out;
  std::size_t next = 0;  // samples are the kept groups' in the same order, without those no reward spoke on
  for (std::size_t g = 0; g < record.groups.size() && (groups == 0 || g < static_cast<std::size_t>(groups)); ++g) {
    const ScoredGroup& group = record.groups[g];
    for (std::size_t i = 0; i < group.scores.size(); ++i) {
      Json j = {{"step", record.step}, {"rollout", record.rollout}, {"sample", i}};
      j.update(sample_json(group.group.prompt, group.group.completions[i], group.scores[i]));
      j["advantage"] = nullptr;
      if ((record.kept.empty() || record.kept[g]) && next < record.samples.size() &&
          record.samples[next].name == message(group.group.prompt.id, "/", i))
        j["advantage"] = advantage_of(record.samples[next++]);
      out += dump(j);
    }
  }
  return out;
}

RunRecorder::RunRecorder(MetricsWriter* metrics, Options options)
    : metrics_(metrics), options_(std::move(options)), next_samples_(options_.first_step) {}

void RunRecorder::on_step(const StepRecord& record) {
  if (metrics_) metrics_->write(record.step, as_pairs(record.metrics));
  if (options_.samples_every <= 0 || !options_.samples_file || record.groups.empty() || record.step < next_samples_)
    return;
  write_file_atomic(options_.samples_file(record.step), transcripts(record, options_.sample_groups));
  next_samples_ = (record.step / options_.samples_every + 1) * options_.samples_every;
}

void RunRecorder::on_evaluation(std::int64_t step, const EvalReport& report) {
  if (metrics_) metrics_->write(step, as_pairs(report.metrics()));
  if (options_.eval_items.empty()) return;
  std::string out;
  for (const EvalItem& item : report.items) {
    Json j = {{"step", step},
              {"id", item.id},
              {"prompt", item.group.prompt.text},
              {"reference", item.group.prompt.reference}};
    if (item.greedy_correct) j["greedy_correct"] = *item.greedy_correct;
    j["samples"] = item.samples;
    j["correct"] = item.correct;
    j["completions"] = Json::array();
    for (std::size_t i = 0; i < item.scores.size(); ++i)
      j["completions"].push_back({{"text", item.group.completions[i].text},
                                  {"tokens", item.group.completions[i].tokens.size()},
                                  {"stop", to_string(item.group.completions[i].stop)},
                                  {"verdict", to_string(item.scores[i].verdict)},
                                  {"detail", item.scores[i].detail},
                                  {"reward", item.scores[i].value}});
    out += dump(j);
  }
  make_directories(options_.eval_items);
  char name[40];
  std::snprintf(name, sizeof name, "step_%06lld.jsonl", static_cast<long long>(step));
  write_file_atomic(options_.eval_items / name, out);
}

void RunRecorder::on_validation(std::int64_t step, const std::map<std::string, double>& metrics) {
  if (metrics_) metrics_->write(step, as_pairs(metrics));
}

void RunRecorder::on_checkpoint(std::int64_t, const std::filesystem::path&) {
  if (metrics_) metrics_->sync();
}

}  // namespace r1
