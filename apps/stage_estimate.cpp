#include "apps/stage_estimate.h"

#include <memory>

#include "apps/runtime.h"
#include "core/error.h"
#include "core/format.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"

namespace r1 {
namespace {

// The model that a setting of the stage names in the end: a reference to a stage's checkpoint is that stage's model. "" = none.
std::string model_behind(const PipelineState& state, const StageState& stage, const std::string& key) {
  const std::string text = stage.stage->recipe.peek(key).value_or("");
  const std::size_t open = text.find("${"), dot = text.find('.', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || dot == std::string::npos) return text;
  const StageState& from = state.at(text.substr(open + 2, dot - open - 2));
  return model_behind(state, from, "model.path");
}

struct Opened {
  std::optional<ModelSize> size;
  std::shared_ptr<const Tokenizer> tokenizer;  // null = not here
  std::vector<TokenId> stops;
};

Opened open_sizes(const std::string& name) {
  Opened out;
  try {
    const std::filesystem::path path = resolve_model(name);
    const ModelConfig config = is_gguf(path) ? GgufModel(path).config() : ModelConfig::load(path);
    out.size = size_of(config, name);
    out.stops = config.eos_token_ids;
    out.tokenizer = load_tokenizer(path);
  } catch (const Error&) {  // not here, or of a family that this program does not compute
    if (!out.size) out.size = known_model_size(name);
  }
  return out;
}

}  // namespace

StageEstimate estimate_stage(const PipelineState& state, const StageState& stage, const std::map<std::string, double>& expect, const DeviceRates& rates) {
  StageEstimate out;
  std::string name = model_behind(state, stage, "model.path");
  if (name.empty()) name = model_behind(state, stage, "engines.0.model");
  const Opened model = open_sizes(name);
  std::optional<DataSize> data;
  if (stage.load.data && model.tokenizer) try {
      data = stage.load.data(model.tokenizer, model.stops);
    } catch (const Error&) {
      data.reset();  // made by another stage, or not there: --dry-run names it
    }
  std::map<std::string, double> all = stage.stage->expect;
  for (const auto& [key, value] : expect) all[key] = value;
  out.sizes = stage_sizes(stage.load, all, data);
  if (stage.load.model.empty()) return out;  // computes nothing here
  if (!model.size) {
    out.why_not = message("no estimate: ", name, " is not here, and its size is not known");
    return out;
  }
  std::optional<ModelSize> teacher;
  if (!stage.load.teacher.empty()) teacher = open_sizes(model_behind(state, stage, "distill.teacher")).size;
  out.cost = stage_cost(stage.load, out.sizes, *model.size, teacher, rates);
  return out;
}

std::vector<std::string> estimate_lines(const StageEstimate& e, const StageState& stage) {
  std::vector<std::string> lines;
  if (!e.why_not.empty()) return {e.why_not};
  std::string sizes;
  for (const std::string& said : e.sizes.said) sizes += (sizes.empty() ? "" : ", ") + said;
  if (!sizes.empty()) lines.push_back("sizes   " + sizes);
  for (const std::string& line : e.cost.memory) lines.push_back("memory  " + line);
  std::string time = message("time    about ", human_duration(e.cost.seconds()));
  if (e.cost.sample > 0) time += message("; sampling ", human_duration(e.cost.sample), " (", human_count(e.cost.tokens_drawn), " tokens)");
  if (e.cost.train > 0) time += message("; learning ", human_duration(e.cost.train), " (", human_count(e.cost.tokens_trained), " tokens, ", e.cost.updates, " updates)");
  if (e.cost.other > 0) time += message("; other ", human_duration(e.cost.other));
  if (stage.record) time += message("; it took ", human_duration(stage.record->seconds));
  lines.push_back(time);
  return lines;
}

std::string total_line(const PipelineState& state, const std::vector<StageEstimate>& estimates, const DeviceRates& rates) {
  double all = 0, of_finished = 0, took = 0;
  std::size_t unknown = 0, finished = 0;
  for (std::size_t i = 0; i < estimates.size(); ++i) {
    const StageState& s = state.stages()[i];
    unknown += !estimates[i].why_not.empty();
    all += estimates[i].cost.seconds();
    if (s.record) ++finished, of_finished += estimates[i].cost.seconds(), took += s.record->seconds;
  }
  std::string out = message("in all about ", human_duration(all), " on ", rates.name);
  if (unknown > 0) out += message(", without ", unknown, " stages of unknown models");
  if (finished > 0) out += message("; ", finished, " finished stages: ", human_duration(of_finished), " estimated, ", human_duration(took), " measured");
  return out;
}

}  // namespace r1
