#include "apps/pipeline_state.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "apps/stage_score.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "core/suggest.h"
#include "distill/write_set.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Is = StageState::Is;

constexpr const char* kNothing = "/dev/null";  // stands for what does not exist yet while a recipe is read
constexpr std::size_t kKeyDigits = 16;

std::optional<StageRecord> read_record(const fs::path& dir, const std::string& key) {
  const fs::path file = dir / "stage.json";
  if (!fs::exists(file)) return std::nullopt;
  const Json json = Json::parse(read_file(file), nullptr, false);
  StageRecord r;
  try {
    r.key = json.at("key").get<std::string>();
    r.output = json.at("output").get<std::string>();
    r.inputs = json.at("inputs").get<std::map<std::string, std::string>>();
    r.seconds = json.at("seconds").get<double>();
    r.cpu_seconds = json.value("cpu_seconds", 0.0);
    r.score = json.at("score").get<std::string>();
  } catch (const Json::exception& e) {
    throw DataError(message(file.string(), ": is no stage's record (", e.what(), "); delete it, and the stage runs again"));
  }
  return r.key == key ? std::optional(r) : std::nullopt;
}

void write_record(const fs::path& dir, const std::string& stage, const StageRecord& r) {
  const Json json = {{"stage", stage}, {"key", r.key}, {"output", r.output}, {"inputs", r.inputs}, {"seconds", r.seconds}, {"cpu_seconds", r.cpu_seconds},
                     {"score", r.score}};
  write_file_atomic(dir / "stage.json", json.dump(2) + "\n");
}

std::uint64_t bytes_below(const fs::path& dir) {
  std::uint64_t sum = 0;
  std::error_code none;
  for (const auto& entry : fs::recursive_directory_iterator(dir, none))
    if (entry.is_regular_file(none) && !entry.is_symlink(none)) sum += entry.file_size(none);
  return sum;
}

// Folders of other keys, newest first.
std::vector<fs::path> older(const fs::path& dir) {
  std::vector<fs::path> out;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(dir.parent_path(), none))
    if (entry.is_directory() && entry.path().filename() != dir.filename()) out.push_back(entry.path());
  std::sort(out.begin(), out.end(), [](const fs::path& a, const fs::path& b) { return fs::last_write_time(a) > fs::last_write_time(b); });
  return out;
}

// Keeps the newest checkpoint's model, without what resuming would need.
void drop_resume_state(const fs::path& run) {
  const fs::path checkpoints = run / "checkpoints";
  std::error_code none;
  const fs::path latest = fs::read_symlink(checkpoints / "latest", none).filename();
  if (latest.empty()) return;
  for (const auto& entry : fs::directory_iterator(checkpoints, none))
    if (entry.is_directory() && !entry.is_symlink() && entry.path().filename() != latest) fs::remove_all(entry.path());
  fs::remove_all(checkpoints / latest / "state");
  for (const char* part : {"journal", "cache"}) fs::remove_all(run / part);
}

std::string digest_of_output(const StageKind& kind, const fs::path& place) {
  std::vector<fs::path> files;
  if (kind.work == StageWork::kGenerate) files.push_back(place);
  else
    for (const auto& entry : fs::directory_iterator(place)) {
      const std::string name = entry.path().filename().string();
      if (kind.work == StageWork::kTrain ? name.ends_with(".safetensors") : name.ends_with(".items.jsonl")) files.push_back(entry.path());
    }
  if (files.empty()) throw Error(message(place.string(), " holds no result, though the stage ended without an error"));
  std::sort(files.begin(), files.end());
  Hasher hasher;
  for (const fs::path& file : files) hasher.update_field(file.filename().string()), hasher.update_field(to_hex(digest_of_file(file)));
  return to_hex(hasher.digest());
}

// Where a stage's results go, below its folder.
void set_output(ConfigValue& root, const StageKind& kind, const fs::path& dir) {
  const bool set = kind.work == StageWork::kGenerate;
  const fs::path place = dir / (set ? "set" : kind.work == StageWork::kEval ? "eval" : "run");
  apply_override(root, message(set ? "output.path=" : "output.dir=", json_quote(place.string())));
}

// The recipe as its kind can read it before anything ran: `place` says what stands for a reference; inputs that are not there are empty files.
Config readable(const StageState& s, const std::function<std::string(const std::string& stage, const std::string& what)>& place) {
  const Config filled = with_references(s.stage->recipe, place);
  ConfigValue root = filled.root();
  for_each_value(root, [&](const std::string& path, ConfigValue& v) {
    if (std::any_of(s.missing.begin(), s.missing.end(), [&](const auto& m) { return m.first == path; })) v.text = kNothing;
  });
  set_output(root, *s.kind, "planned");
  return config_of(root, filled.name());
}

}  // namespace

const char* to_string(Is is) {
  constexpr std::array kNames = {"finished", "unfinished", "input changed", "dropped", "to do"};
  return kNames[static_cast<std::size_t>(is)];
}

PipelineState::PipelineState(const PipelineRecipe& pipeline) : pipeline_(pipeline) {
  InputDigests digests(pipeline.dir / "inputs.json");
  for (const PipelineStage& stage : pipeline.stages) {
    StageState s;
    s.stage = &stage;
    with_context("stage " + stage.name, [&] { plan(s, digests); });
    s.dir = pipeline.dir / "stages" / stage.name / s.key;
    stages_.push_back(std::move(s));
  }
  if (fs::exists(pipeline.dir)) digests.save();
  refresh();
}

// The key: the part of the program and its version; every setting that decides something; what the files that it names hold; the keys of the
// stages it needs, at the settings that refer to them.
void PipelineState::plan(StageState& s, InputDigests& digests) const {
  const PipelineStage& stage = *s.stage;
  s.kind = &stage_kind(stage.recipe);
  std::set<std::string> parts;  // sorted: the order of lines in a recipe decides nothing
  for (const auto& [path, name] : named_inputs(stage.recipe)) {
    const std::size_t equals = name.find('=');  // NAME=FILE of a benchmark
    const std::string digest = digests.of(equals == std::string::npos || fs::exists(name) ? name : name.substr(equals + 1));
    parts.insert(path + "=" + digest);
    const bool maybe_no_file = path.ends_with(".model") || path.ends_with(".python");  // a server's name for its model, a Python module
    if (!digest.empty() || maybe_no_file) continue;
    s.missing.emplace_back(path, name);
  }
  for (const std::string& need : stage.needs) parts.insert("needs " + at(need).key);
  ConfigValue root = stage.recipe.root();
  for_each_value(root, [&](const std::string& path, ConfigValue& v) {
    if (v.text.find("${") == std::string::npos) return;
    ConfigValue one = ConfigValue::map(v.origin);
    one.entries.emplace_back("value", v);
    const Config keyed = with_references(config_of(one, stage.recipe.name()),
                                         [&](const std::string& name, const std::string& what) { return at(name).key + "." + what; });
    parts.insert(path + "=" + keyed.root().find("value")->text);
  });
  const StagePlan planned = plan_stage(readable(s, [](const std::string&, const std::string&) { return std::string(kNothing); }));
  s.lines = planned.lines, s.resolved = planned.resolved;
  Hasher hasher;
  hasher.update_field(message("stage 1 ", s.kind->name, " ", s.kind->version));
  hasher.update_field(to_hex(planned.resolved.digest(keys_without_effect(s.kind->work))));
  for (const std::string& part : parts) hasher.update_field(part);
  s.key = to_hex(hasher.digest()).substr(0, kKeyDigits);
}

const StageState& PipelineState::at(const std::string& name) const {
  const auto it = std::find_if(stages_.begin(), stages_.end(), [&](const StageState& s) { return s.stage->name == name; });
  if (it == stages_.end()) {
    std::vector<std::string> names;
    for (const PipelineStage& s : pipeline_.stages) names.push_back(s.name);
    throw ConfigError(message("no stage is named '", name, "'; there are ", join_names(names)));
  }
  return *it;
}

void PipelineState::refresh() {
  for (StageState& s : stages_) {
    s.record = read_record(s.dir, s.key);
    s.is = s.record ? Is::kFinished : fs::exists(s.dir) ? Is::kUnfinished : Is::kToDo;
    for (const std::string& need : s.stage->needs) {
      if (!s.record) break;
      const StageState& from = at(need);
      if (from.is != Is::kFinished || s.record->inputs[need] != from.record->output) s.is = Is::kChangedInput;
    }
  }
  // What was dropped is made again where a stage that has to run refers to it.
  for (std::size_t i = stages_.size(); i-- > 0;) {
    if (stages_[i].is == Is::kFinished) continue;
    for (StageState& from : stages_)
      if (refers(stages_[i], from) && from.is == Is::kFinished && !fs::exists(place(from, from.kind->work == StageWork::kTrain ? "checkpoint" : "output")))
        from.is = Is::kDropped;
  }
}

bool PipelineState::refers(const StageState& stage, const StageState& to) {
  return std::find(stage.stage->needs.begin(), stage.stage->needs.end(), to.stage->name) != stage.stage->needs.end();
}

fs::path PipelineState::place(const StageState& s, const std::string& what) const {
  if (s.kind->work == StageWork::kEval || s.kind->work == StageWork::kGenerate) {
    if (what != "output") throw ConfigError(message("stage ", s.stage->name, " is of kind ", s.kind->name, ": it has an output, no ", what));
    if (s.kind->work == StageWork::kEval) return s.dir / "eval";
    return set_paths(s.dir / "set", s.stage->recipe.peek("output.format").value_or("")).data;
  }
  return what == "checkpoint" ? s.dir / "run/checkpoints/latest" : s.dir / "run";
}

std::string PipelineState::stand_in(std::size_t stage) {
  std::string out = "/dev/";
  for (std::size_t i = 0; i <= stage; ++i) out += "./";
  return out + "null";
}

Config PipelineState::plannable(const StageState& s) const {
  return readable(s, [&](const std::string& name, const std::string& what) {
    const StageState& from = at(name);
    if (from.is == Is::kFinished)
      if (const fs::path there = place(from, what); fs::exists(there)) return there.string();
    return stand_in(static_cast<std::size_t>(&from - stages_.data()));
  });
}

Config PipelineState::runnable(const StageState& s) const {
  const Config filled = with_references(s.stage->recipe, [&](const std::string& name, const std::string& what) { return place(at(name), what).string(); });
  ConfigValue root = filled.root();
  set_output(root, *s.kind, s.dir);
  return config_of(root, filled.name());
}

void PipelineState::finish(const StageState& s, double seconds, double cpu_seconds) {
  StageRecord r;
  r.key = s.key;
  const fs::path result = place(s, s.kind->work == StageWork::kTrain ? "checkpoint" : "output");
  r.output = digest_of_output(*s.kind, result);
  for (const std::string& need : s.stage->needs) r.inputs[need] = at(need).record.value().output;
  r.seconds = seconds, r.cpu_seconds = cpu_seconds;
  r.score = stage_score(s.kind->work, s.kind->work == StageWork::kTrain ? s.dir / "run" : result);
  write_record(s.dir, s.stage->name, r);
  refresh();
  let_go();
}

void PipelineState::let_go() {
  for (const StageState& s : stages_) {
    if (s.is != Is::kFinished) continue;
    if (pipeline_.keep != PipelineRecipe::Keep::kAll && s.kind->work == StageWork::kTrain) drop_resume_state(s.dir / "run");
    const std::vector<fs::path> old = older(s.dir);
    for (std::size_t i = static_cast<std::size_t>(pipeline_.keep_old); i < old.size(); ++i) fs::remove_all(old[i]);
  }
  if (pipeline_.keep == PipelineRecipe::Keep::kNeeded) drop_unneeded();
}

// Weights that stages below refer to, once all of those are finished. The last stages' own stay: nobody refers to them.
void PipelineState::drop_unneeded() {
  for (const StageState& s : stages_) {
    if (s.is != Is::kFinished || s.kind->work != StageWork::kTrain) continue;
    bool used = false, all_done = true;
    for (const StageState& other : stages_)
      if (refers(other, s)) used = true, all_done = all_done && other.is == Is::kFinished;
    if (used && all_done) fs::remove_all(s.dir / "run/checkpoints");
  }
}

std::uint64_t PipelineState::bytes_of(const StageState& s, bool old) const {
  if (!old) return bytes_below(s.dir);
  std::uint64_t sum = 0;
  for (const fs::path& dir : older(s.dir)) sum += bytes_below(dir);
  return sum;
}

}  // namespace r1
