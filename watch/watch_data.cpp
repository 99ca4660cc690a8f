#include "watch/watch_data.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/run_folder.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/series.h"
#include "watch/sample_flags.h"

namespace r1::watch {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::uint64_t size_of(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  return error ? 0 : size;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c); });
  return text;
}

Json finite(float v) { return std::isfinite(v) ? Json(v) : Json(nullptr); }

// The step of the last whole line of metrics.jsonl, without reading all of it.
std::int64_t last_step(const fs::path& file) {
  std::error_code none;
  if (!fs::exists(file, none)) return 0;
  const std::string text = read_file(file);
  const std::size_t end = text.rfind('\n');
  if (end == std::string::npos) return 0;
  const std::size_t begin = end == 0 ? 0 : text.rfind('\n', end - 1) + 1;
  const Json j = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
  return j.is_object() && j.contains("step") && j["step"].is_number() ? j["step"].get<std::int64_t>() : 0;
}

Json scores_json(const Score& s) {
  Json j = {{"reward", finite(s.value)}, {"verdict", to_string(s.verdict)}, {"detail", s.detail}, {"rewards", Json::object()}, {"columns", Json::object()}};
  for (const auto& [name, value] : s.parts) j["rewards"][name] = finite(value);
  for (const auto& [name, value] : s.columns) j["columns"][name] = value;
  return j;
}

std::string tail(const std::string& text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  std::size_t from = text.size() - bytes;
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  return "…" + text.substr(from);
}

Json row_json(const RecordedGroup& g, std::size_t group, std::size_t i, const std::vector<std::string>& flags) {
  const Completion& c = g.scored.group.completions[i];
  Json j = {{"group", group}, {"sample", i}, {"prompt_id", g.scored.group.prompt.id}, {"reference", tail(g.scored.group.prompt.reference, 60)},
            {"tokens", c.tokens.size()}, {"stop", to_string(c.stop)}, {"end", tail(c.text, 160)}, {"flags", flags}, {"advantage", nullptr}};
  j.update(scores_json(g.scored.scores[i]));
  if (g.advantages.size() > i && g.advantages[i]) j["advantage"] = finite(*g.advantages[i]);
  return j;
}

}  // namespace

WatchData::WatchData(std::vector<fs::path> runs, std::function<std::shared_ptr<const Tokenizer>(const RecordedRun&)> tokenizer)
    : make_tokenizer_(std::move(tokenizer)) {
  for (fs::path& run : runs) runs_.emplace_back(std::move(run));
  tokenizers_.resize(runs_.size());
  asked_.resize(runs_.size());
}

std::string WatchData::state() const {
  Json out = {{"version", ""}, {"runs", Json::array()}};
  std::string version;
  for (const RecordedRun& run : runs_) {
    const fs::path& dir = run.path();
    std::error_code none;
    const bool finished = fs::exists(dir / "finished", none);
    const auto rollouts = run.rollouts();
    version += message(size_of(dir / "metrics.jsonl"), ".", rollouts.size(), ".", rollouts.empty() ? 0 : rollouts.back(), finished ? "f " : " ");
    const fs::path clean = fs::absolute(dir / ".").lexically_normal().parent_path();
    Json j = {{"name", clean.filename().string()}, {"path", dir.string()}, {"kind", ""}, {"finished", finished}, {"step", last_step(dir / "metrics.jsonl")},
              {"steps", 0}, {"rollouts", rollouts}};
    try {
      const Config config = run.config();
      j["kind"] = config.peek("kind").value_or("grpo");
      if (const auto steps = config.peek("rl.steps")) j["steps"] = std::stoll(*steps);
    } catch (const std::exception&) {  // being written, or of another version: the numbers are shown without it
    }
    out["runs"].push_back(std::move(j));
  }
  out["version"] = version;
  return dump(out);
}

std::string WatchData::curves() const {
  std::vector<fs::path> folders;
  for (const RecordedRun& run : runs_) folders.push_back(run.path());
  try {
    const report::PageInput input = report::load_page(folders);
    const auto groups = report::group_runs(input.runs);
    return report::summary_section(input) + report::curves_section(groups);
  } catch (const ConfigError&) {
    return "<p>No numbers yet: the first update is not done.</p>";
  }
}

std::int64_t WatchData::last_rollout(std::size_t run) const {
  const auto steps = runs_[run].rollouts();
  if (steps.empty()) throw ConfigError("this run has no recorded rollouts yet (output.record_gb: 0, or the first is not done)");
  return steps.back();
}

std::shared_ptr<const WatchData::Opened> WatchData::open(std::size_t run, std::int64_t step) const {
  if (run >= runs_.size()) throw ConfigError(message("run ", run, " of ", runs_.size()));
  if (step < 0) step = last_rollout(run);
  const std::lock_guard lock(mutex_);
  const std::uint64_t size = size_of(runs_[run].path() / "rollouts" / (step_name(step) + ".rollout")) + recorded_steps(runs_[run].path() / "rollouts", ".tokens").size();
  if (cached_ && cached_run_ == run && cached_step_ == step && cached_size_ == size) return cached_;
  auto opened = std::make_shared<Opened>();
  opened->rollout = runs_[run].rollout(step);
  opened->updates = runs_[run].updates(opened->rollout);
  cached_run_ = run, cached_step_ = step, cached_size_ = size, cached_ = opened;
  return opened;
}

std::string WatchData::samples(std::size_t run, std::int64_t step, const std::string& flag, const std::string& search, std::size_t offset, std::size_t limit) const {
  const auto opened = open(run, step);
  const std::string wanted = lower(search);
  Json out = {{"step", opened->rollout.step}, {"rollout", opened->rollout.rollout}, {"total", 0}, {"counts", Json::object()}, {"rows", Json::array()}};
  std::size_t matching = 0, all = 0;
  std::map<std::string, std::size_t> counts;
  for (std::size_t g = 0; g < opened->rollout.groups.size(); ++g) {
    const RecordedGroup& group = opened->rollout.groups[g];
    const Prompt& prompt = group.scored.group.prompt;
    for (std::size_t i = 0; i < group.scored.scores.size(); ++i) {
      const Completion& c = group.scored.group.completions[i];
      const auto flags = sample_flags(prompt, c, group.scored.scores[i]);
      ++all;
      for (const std::string& f : flags) ++counts[f];
      if (!flag.empty() && std::find(flags.begin(), flags.end(), flag) == flags.end()) continue;
      if (!wanted.empty() && lower(c.text).find(wanted) == std::string::npos && lower(prompt.text).find(wanted) == std::string::npos &&
          lower(prompt.reference).find(wanted) == std::string::npos && lower(prompt.id).find(wanted) == std::string::npos)
        continue;
      if (matching++ >= offset && out["rows"].size() < limit) out["rows"].push_back(row_json(group, g, i, flags));
    }
  }
  out["total"] = matching;
  out["all"] = all;
  for (const auto& [name, n] : counts) out["counts"][name] = n;
  return dump(out);
}

std::string WatchData::sample(std::size_t run, std::int64_t step, std::size_t group, std::size_t sample) const {
  const auto opened = open(run, step);
  if (group >= opened->rollout.groups.size() || sample >= opened->rollout.groups[group].scored.scores.size())
    throw ConfigError(message("no sample ", sample, " of group ", group, " in this rollout"));
  std::shared_ptr<const Tokenizer> tokenizer;
  {
    const std::lock_guard lock(mutex_);
    if (!asked_[run] && make_tokenizer_) tokenizers_[run] = make_tokenizer_(runs_[run]);
    asked_[run] = true;
    tokenizer = tokenizers_[run];
  }
  const RecordedGroup& g = opened->rollout.groups[group];
  const Completion& c = g.scored.group.completions[sample];
  Json out = row_json(g, group, sample, sample_flags(g.scored.group.prompt, c, g.scored.scores[sample]));
  out["step"] = opened->rollout.step;
  out["prompt"] = g.scored.group.prompt.text;
  out["gold"] = g.scored.group.prompt.reference;
  out["completion"] = c.text;
  out["kept"] = g.kept;
  out["others"] = Json::array();
  for (std::size_t i = 0; i < g.scored.scores.size(); ++i)
    out["others"].push_back({{"sample", i}, {"reward", finite(g.scored.scores[i].value)}, {"verdict", to_string(g.scored.scores[i].verdict)}});
  out["tokens_shown"] = Json::array();
  const auto updates = token_updates(opened->updates, g.samples.size() > sample ? g.samples[sample] : -1);
  for (std::size_t t = 0; t < c.tokens.size(); ++t) {
    const bool known = tokenizer && c.tokens[t] >= 0 && c.tokens[t] < tokenizer->vocab_size();
    Json token = {{"id", c.tokens[t]}, {"text", known ? tokenizer->token_bytes(c.tokens[t]) : message("[", c.tokens[t], "]")}};
    if (c.logprobs.size() > t) token["logp"] = finite(c.logprobs[t]);
    if (c.entropies.size() > t) token["entropy"] = finite(c.entropies[t]);
    if (const auto it = updates.find(static_cast<std::int32_t>(t)); it != updates.end()) {
      token["updates"] = Json::array();
      for (const TokenUpdate& u : it->second)
        token["updates"].push_back({{"step", u.step}, {"logp", finite(u.logprob)}, {"ratio", finite(std::exp(u.logprob - u.old_logprob))}, {"advantage", finite(u.advantage)},
                                    {"gradient", finite(u.gradient)}, {"kl", finite(u.kl)}, {"clipped", u.clipped}});
    }
    out["tokens_shown"].push_back(std::move(token));
  }
  return dump(out);
}

}  // namespace r1::watch
