#include "apps/stage_estimate.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <tuple>

#include "apps/cpu_probe.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "core/format.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"

namespace r1 {
namespace {

constexpr std::int64_t kEvaluated = 500;  // problems of an evaluation whose file is not there
constexpr double kMostDrawn = 250e6;      // parameters of a model that completions are drawn of

struct Opened {
  std::optional<ModelSize> size;
  std::shared_ptr<const Tokenizer> tokenizer;  // null = not here
  std::vector<TokenId> stops;
};

// What a checkpoint carries on beside its weights.
double side_bytes(const std::filesystem::path& dir) {
  double sum = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string end = entry.path().extension().string();
    if (entry.is_regular_file() && (end == ".json" || end == ".jinja" || end == ".txt" || end == ".model")) sum += static_cast<double>(entry.file_size());
  }
  return sum;
}

Opened open_sizes(const std::string& name) {
  Opened out;
  try {
    const std::filesystem::path path = resolve_model(name);
    const ModelConfig config = is_gguf(path) ? GgufModel(path).config() : ModelConfig::load(path);
    out.size = size_of(config, name);
    if (std::filesystem::is_directory(path)) out.size->side_bytes = side_bytes(path);
    out.stops = config.eos_token_ids;
    out.tokenizer = load_tokenizer(path);
  } catch (const Error&) {  // not here, or of a family that this program does not compute
    if (!out.size) out.size = known_model_size(name);
  }
  return out;
}

// The setting that names the stage's model, as it is written: a path, or a reference. "" = none.
std::string model_of(const StageState& s) {
  const auto path = s.stage->recipe.peek("model.path");
  return path && !path->empty() ? *path : s.stage->recipe.peek("engines.0.model").value_or("");
}

// The stage that a reference names; null = it is none.
const StageState* referred(const PipelineState& state, const std::string& text) {
  const std::size_t open = text.find("${"), dot = text.find('.', open == std::string::npos ? 0 : open);
  return open == std::string::npos || dot == std::string::npos ? nullptr : &state.at(text.substr(open + 2, dot - open - 2));
}

// Along the stages, with what is known so far.
class Estimator {
 public:
  Estimator(const PipelineState& state, const std::map<std::string, double>& expect, const DeviceRates& rates, double draw_seconds)
      : state_(state), expect_(expect), rates_(rates), draw_seconds_(draw_seconds) {
    for (const StageState& s : state.stages()) look(s);
  }

  std::vector<StageEstimate> all() {
    std::vector<StageEstimate> out;
    for (std::size_t i = 0; i < state_.stages().size(); ++i) out.push_back(estimate(i));
    correct(out);
    return out;
  }

 private:
  // What is read of each stage before any is estimated: its load, and, once it has run, how long completions were.
  void look(const StageState& s) {
    loads_.push_back(with_context("stage " + s.stage->name, [&] { return plan_stage(state_.plannable(s)).load; }));
    for (int i = 0; s.stage->recipe.peek(message("rewards.", i, ".weight")) || s.stage->recipe.peek(message("rewards.", i, ".name")); ++i)
      loads_.back().scorers += s.stage->recipe.peek(message("rewards.", i, ".model")) && !s.stage->recipe.peek(message("rewards.", i, ".name"));
    measured_.emplace_back();
    if (s.is != StageState::Is::kFinished) return;
    measured_.back() = measured_of(s.kind->work, s.kind->work == StageWork::kTrain ? s.dir / "run" : state_.place(s, "output"));
    const StageMeasured& m = *measured_.back();
    const StageLoad& load = loads_.back();
    if (load.drawings.empty()) return;
    const int budget = load.drawings.at(0).max_new_tokens;
    const double first = m.first_new_tokens > 0 ? m.first_new_tokens : m.new_tokens;
    if (first > 0) writings_.emplace(model_of(s), measured_writing(first, budget, m.right, "measured in " + s.stage->name));
    if (m.last_new_tokens > 0) ended_.emplace(s.stage->name, measured_writing(m.last_new_tokens, budget, m.last_right, "measured in " + s.stage->name));
  }

  // How the model that a setting names writes: measured, or as it was trained to, or as the model before it.
  std::optional<Writing> writing_of(const std::string& model) const {
    if (const auto it = writings_.find(model); it != writings_.end()) return it->second;
    const StageState* from = referred(state_, model);
    if (from == nullptr) return std::nullopt;
    if (const auto it = ended_.find(from->stage->name); it != ended_.end()) return it->second;
    if (const auto it = taught_.find(from->stage->name); it != taught_.end()) return it->second;
    return writing_of(model_of(*from));
  }

  // The model that a setting names in the end: a stage's is of the shape of the one that it began with.
  std::string first_model(const std::string& model) const {
    const StageState* from = referred(state_, model);
    return from == nullptr ? model : first_model(model_of(*from));
  }

  const Opened& opened(const std::string& name) {
    const std::string model = first_model(name);
    const auto it = opened_.find(model);
    return it != opened_.end() ? it->second : opened_.emplace(model, open_sizes(model)).first->second;
  }

  const ModelSpeeds& speeds(const ModelSize& model, DType dtype) {
    const auto key = std::make_tuple(model.name, static_cast<int>(dtype));
    if (const auto it = speeds_.find(key); it != speeds_.end()) return it->second;
    const auto probed = rates_.gpu ? std::nullopt : probe_cpu(model, dtype, rates_);
    return speeds_.emplace(key, probed ? *probed : speeds_of(model, rates_)).first->second;
  }

  // The set behind a file's name, where a stage will make it.
  std::optional<DataSize> made(const std::string& path) const {
    for (const auto& [stage, size] : sets_)
      if (path == PipelineState::stand_in(stage)) return size;
    return std::nullopt;
  }

  // What the model that stage i begins with writes, drawn for a moment: once a model, where it is here, small, and asked what is here.
  void draw(std::size_t i, const std::string& name, const Opened& model) {
    const StageLoad& load = loads_[i];
    const bool known = measured_[i] || writings_.contains(name) || state_.stages()[i].stage->expect.contains("new_tokens") || expect_.contains("new_tokens");
    if (rates_.gpu || draw_seconds_ <= 0 || known || !load.asking || !model.tokenizer || !model.size || model.size->parameters > kMostDrawn ||
        name.find("${") != std::string::npos)
      return;
    const auto begin = std::chrono::steady_clock::now();
    const auto drawn = draw_some(*load.asking, name, load.dtype, speeds(*model.size, load.dtype), rates_.threads, draw_seconds_);
    draw_seconds_ -= std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!drawn) return;
    const auto smooth = [](double share, double n) { return (share * n + 0.5) / (n + 1); };  // none of a few does not say never
    const auto groups = static_cast<double>(drawn->groups);
    Writing w = measured_writing(drawn->tokens, drawn->max_new_tokens, drawn->right ? smooth(*drawn->right, groups * load.asking->group) : 0,
                                 message(drawn->groups * static_cast<std::size_t>(load.asking->group), " drawn just now"));
    writings_.emplace(name, std::move(w));
    if (drawn->mixed) signals_.emplace(name, smooth(*drawn->mixed, groups));
  }

  StageEstimate estimate(std::size_t i) {
    const StageState& s = state_.stages()[i];
    StageLoad& load = loads_[i];
    StageEstimate out;
    const std::string name = model_of(s);
    const Opened model = name.empty() ? Opened{} : opened(name);
    StageKnown known;
    known.expect = s.stage->expect;
    for (const auto& [key, value] : expect_) known.expect[key] = value;
    draw(i, name, model);
    known.measured = measured_[i], known.writing = writing_of(name);
    if (const auto it = signals_.find(name); it != signals_.end()) known.signal = it->second;
    if (load.data && model.tokenizer) try {
        known.data = load.data(model.tokenizer, model.stops, [&](const std::string& path) {
          const auto size = made(path);
          known.data_is_made = known.data_is_made || size.has_value();
          return size;
        });
      } catch (const Error&) {
        known.data.reset();  // not there: --dry-run names it
      }
    for (Drawing& d : load.drawings)
      if (d.prompts == 0 && d.rows) try {
          d.prompts = d.rows([&](const std::string& path) { return made(path); });
        } catch (const Error&) {
          d.prompts = kEvaluated;
        }
    if (load.yield)
      for (const auto& [path, weight] : load.yield->mixed)
        if (const auto size = made(path)) known.mixes.push_back(*size);
    if (load.yield && known.mixes.size() != load.yield->mixed.size()) known.mixes.clear();
    out.sizes = stage_sizes(load, known);
    if (out.sizes.makes && s.is != StageState::Is::kFinished) sets_[i] = *out.sizes.makes;
    if (load.learns == StageLoad::Learns::kExamples && !load.scores && load.sequences == 1)
      taught_[s.stage->name] = {std::max(1.0, out.sizes.answer), false, 0, "as the examples of " + s.stage->name};
    if (load.model.empty()) return out;  // computes nothing here
    if (!model.size) {
      out.why_not = message("no estimate: ", first_model(name), " is not here, and its size is not known");
      return out;
    }
    std::optional<ModelSize> teacher;
    if (!load.teacher.empty()) teacher = opened(s.stage->recipe.peek("distill.teacher").value_or("")).size;
    out.cost = stage_cost(load, out.sizes, *model.size, teacher, rates_, speeds(*model.size, load.dtype));
    out.data_assumed = load.data != nullptr && !known.data;
    out.memory = stage_memory(load, out.sizes, *model.size, teacher, rates_);
    out.disk = stage_disk(load, out.sizes, *model.size, state_.keeps_weights_alone());
    return out;
  }

  // The processors' time of finished stages, against the estimate: what is left is held to that measure too.
  double processors_factor(const std::vector<StageEstimate>& out) const {
    double took = 0, said = 0;
    for (std::size_t i = 0; i < out.size(); ++i)
      if (const auto& record = state_.stages()[i].record; measured_[i] && record && record->cpu_seconds > 0) took += record->cpu_seconds, said += out[i].cost.processors;
    return took > 0 && said > 0 ? took / said : 1;
  }

  // Stages that ran on this machine say how fast it is better than a short look: what is left is held to the same measure.
  void correct(std::vector<StageEstimate>& out) const {
    double sampled = 0, sampling = 0, learnt = 0, learning = 0;  // measured, and estimated
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!measured_[i]) continue;
      if (state_.stages()[i].kind->work == StageWork::kTrain) {
        learnt += measured_[i]->learning_s, learning += out[i].cost.train;
        sampled += measured_[i]->sampling_s, sampling += measured_[i]->sampling_s > 0 ? out[i].cost.sample : 0;
      } else if (out[i].cost.sample > 0) {
        sampled += std::max(0.0, state_.stages()[i].record->seconds - out[i].cost.other), sampling += out[i].cost.sample;
      }
    }
    const double processors = processors_factor(out);
    for (StageEstimate& e : out) {
      e.cost.processors *= processors;
      if (sampled > 0 && sampling > 0) e.cost.sample *= sampled / sampling;
      if (learnt > 0 && learning > 0) e.cost.train *= learnt / learning;
    }
  }

  const PipelineState& state_;
  const std::map<std::string, double>& expect_;
  const DeviceRates& rates_;
  double draw_seconds_;                      // what is left of it
  std::map<std::string, double> signals_;    // by the setting that names the model: share of groups with a signal
  std::vector<StageLoad> loads_;
  std::vector<std::optional<StageMeasured>> measured_;  // none = it has not run
  std::map<std::string, Writing> writings_;  // by the setting that names the model
  std::map<std::string, Writing> ended_, taught_;  // by stage: as it was at its end; as its examples are
  std::map<std::size_t, DataSize> sets_;     // that stages will make, by stage
  std::map<std::string, Opened> opened_;
  std::map<std::tuple<std::string, int>, ModelSpeeds> speeds_;
};

}  // namespace

std::vector<StageEstimate> estimate_stages(const PipelineState& state, const std::map<std::string, double>& expect, const DeviceRates& rates, double draw_seconds) {
  return Estimator(state, expect, rates, draw_seconds).all();
}

std::vector<std::string> estimate_lines(const StageEstimate& e, const StageState& stage) {
  std::vector<std::string> lines;
  if (!e.why_not.empty()) return {e.why_not};
  std::string sizes;
  for (const std::string& said : e.sizes.said) sizes += (sizes.empty() ? "" : ", ") + said;
  if (!sizes.empty()) lines.push_back("sizes   " + sizes);
  for (const std::string& line : e.memory.lines) lines.push_back("memory  " + line);
  const auto bytes = [](double n) { return human_bytes(static_cast<std::uint64_t>(n)); };
  if (e.disk.kept > 0) lines.push_back(message("disk    ", bytes(e.disk.kept), e.disk.running > 1.01 * e.disk.kept ? message("; ", bytes(e.disk.running), " while it runs") : ""));
  std::string time = message("time    about ", human_duration(e.cost.seconds()));
  if (e.cost.processors > 0) time += message(", processors ", human_duration(e.cost.processors));
  if (e.cost.sample > 0) time += message("; sampling ", human_duration(e.cost.sample), " (", human_count(e.cost.tokens_drawn), " tokens)");
  if (e.cost.train > 0) time += message("; learning ", human_duration(e.cost.train), " (", human_count(e.cost.tokens_trained), " tokens, ", e.cost.updates, " updates)");
  if (e.cost.other > 0) time += message("; other ", human_duration(e.cost.other));
  if (stage.record) time += message("; it took ", human_duration(stage.record->seconds));
  lines.push_back(time);
  return lines;
}

std::string total_line(const PipelineState& state, const std::vector<StageEstimate>& estimates, const DeviceRates& rates) {
  double all = 0, of_finished = 0, took = 0, disk = 0, most = 0, memory = 0;
  std::size_t unknown = 0, finished = 0, assumed = 0;
  for (std::size_t i = 0; i < estimates.size(); ++i) {
    const StageState& s = state.stages()[i];
    const StageEstimate& e = estimates[i];
    unknown += !e.why_not.empty(), assumed += e.data_assumed;
    all += e.cost.seconds();
    memory = std::max(memory, e.memory.peak), most = std::max(most, disk + e.disk.running), disk += e.disk.kept;
    if (s.record) ++finished, of_finished += e.cost.seconds(), took += s.record->seconds;
  }
  std::string out = message("in all about ", human_duration(all), " on ", rates.name);
  if (unknown > 0) out += message(", without ", unknown, " stages of unknown models");
  if (assumed > 0) out += message("; the data of ", assumed, assumed == 1 ? " stage is" : " stages are", " not there, their sizes are assumed");
  const auto bytes = [](double n) { return human_bytes(static_cast<std::uint64_t>(n)); };
  if (memory > 0) out += message("; at most ", bytes(memory), " of memory, ", bytes(most), " of disk, ", bytes(disk), " in the end");
  if (finished > 0)
    out += message("; ", finished, " finished stages: ", human_duration(of_finished), " estimated, ", human_duration(took), " measured; the others about ",
                   human_duration(all - of_finished));
  return out;
}

}  // namespace r1
