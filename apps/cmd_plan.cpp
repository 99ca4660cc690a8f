// r1 plan: what a recipe means and takes, before anything is spent: batch arithmetic, memory, time, and every setting with its origin.
#include <algorithm>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/pipeline_state.h"
#include "apps/stage_estimate.h"
#include "core/error.h"

namespace r1 {
namespace {

struct Args {
  std::string recipe, device, stage;
  std::vector<std::string> overrides, expect;
  double draw = kDrawSeconds;
  bool brief = false, json = false;
};

// A recipe of another kind is a pipeline of one stage.
PipelineRecipe plannable(const Config& config) {
  if (config.peek("kind") == "pipeline") return make_pipeline(config);
  PipelineRecipe out;
  out.name = std::filesystem::path(config.name()).stem().string();
  out.dir = "/dev/null/planned";  // has no results
  out.keep = PipelineRecipe::Keep::kAll;
  PipelineStage stage{out.name, config, {}, {}, {}};
  ConfigValue root = config.root();
  for_each_value(root, [&](const std::string& path, ConfigValue& v) { stage.origins[path] = v.origin.text; });
  out.stages.push_back(std::move(stage));
  return out;
}

// Where a resolved setting comes from: its own line, or that of the list or section that it stands in.
std::string origin_of(const PipelineStage& stage, const ResolvedConfig::Line& line) {
  if (line.origin.kind == Origin::Kind::kDefault || line.origin.kind == Origin::Kind::kPreset) return line.origin.text;
  for (std::string path = line.key;;) {
    if (const auto it = stage.origins.find(path); it != stage.origins.end()) return it->second;
    if (const auto under = stage.origins.lower_bound(path + "."); under != stage.origins.end() && under->first.starts_with(path + ".")) return under->second;
    const std::size_t dot = path.rfind('.');
    if (dot == std::string::npos) return line.origin.text;
    path.resize(dot);
  }
}

struct Setting {
  std::string key, value, origin;
};

// As the user knows it: while a recipe is read for a plan, other names stand for references, for missing files and for where results go.
Setting shown(const StageState& s, const ResolvedConfig::Line& line, bool pipeline) {
  Setting out{line.key, line.value, origin_of(*s.stage, line)};
  const auto written = s.stage->recipe.peek(line.key);
  const bool missing = std::any_of(s.missing.begin(), s.missing.end(), [&](const auto& m) { return m.first == line.key; });
  if (written && (missing || written->find("${") != std::string::npos)) out.value = *written;
  if (line.key != "output.dir" && line.key != "output.path") return out;
  if (pipeline) return {line.key, (s.dir / std::filesystem::path(line.value).filename()).string(), "of the pipeline"};
  if (written) return {line.key, *written, out.origin};
  return {line.key, (std::filesystem::path("runs") / s.stage->name).string(), "default"};
}

void print_settings(const StageState& s, bool pipeline) {
  std::size_t key = 0, value = 0;
  std::vector<Setting> settings;
  for (const auto& line : s.resolved->lines()) settings.push_back(shown(s, line, pipeline));
  for (const Setting& x : settings) key = std::max(key, x.key.size()), value = std::max(value, std::min<std::size_t>(x.value.size(), 60));
  std::printf("settings of %s\n", s.stage->name.c_str());
  for (const Setting& x : settings)
    std::printf("  %-*s  %-*s  # %s\n", static_cast<int>(key), x.key.c_str(), static_cast<int>(value), x.value.c_str(), x.origin.c_str());
}

std::string json_line(const StageState& s, const StageEstimate& e) {
  if (!e.why_not.empty()) return nlohmann::json{{"stage", s.stage->name}, {"kind", s.kind->name}, {"why_not", e.why_not}}.dump();
  const StageCost& c = e.cost;
  return nlohmann::json{{"stage", s.stage->name}, {"kind", s.kind->name}, {"seconds", c.seconds()}, {"sampling_s", c.sample}, {"learning_s", c.train}, {"other_s", c.other},
                        {"processor_seconds", c.processors}, {"updates", c.updates}, {"tokens_drawn", c.tokens_drawn}, {"tokens_trained", c.tokens_trained},
                        {"new_tokens", e.sizes.new_tokens}, {"mixed", e.sizes.mixed}, {"memory_bytes", e.memory.peak}, {"disk_bytes", e.disk.kept},
                        {"disk_running_bytes", e.disk.running}, {"sizes", e.sizes.said}}.dump();
}

void run_plan(const Args& a, const Globals& globals) {
  const Config config = Config::load(a.recipe, a.overrides);
  const PipelineRecipe pipeline = plannable(config);
  std::map<std::string, double> expect;
  for (const std::string& text : a.expect) {
    const std::size_t equals = text.find('=');
    const std::string key = text.substr(0, equals);
    expect[key] = read_expectation(key, equals == std::string::npos ? "" : text.substr(equals + 1), "--expect " + text);
  }
  const PipelineState state(pipeline);
  if (!a.stage.empty()) state.at(a.stage);  // an unknown name is an error before any measuring
  const DeviceRates rates = device_rates(a.device, globals.threads);
  const std::vector<StageEstimate> estimates = estimate_stages(state, expect, rates, a.draw);
  if (a.json) {
    for (std::size_t i = 0; i < state.stages().size(); ++i)
      if (a.stage.empty() || state.stages()[i].stage->name == a.stage) std::printf("%s\n", json_line(state.stages()[i], estimates[i]).c_str());
    return;
  }
  for (std::size_t i = 0; i < state.stages().size(); ++i) {
    const StageState& s = state.stages()[i];
    if (!a.stage.empty() && s.stage->name != a.stage) continue;
    std::printf("%2zu %s (%s)\n", i + 1, s.stage->name.c_str(), std::string(s.kind->name).c_str());
    for (const std::string& line : s.lines) std::printf("     %s\n", line.c_str());
    for (const std::string& line : estimate_lines(estimates[i], s)) std::printf("     %s\n", line.c_str());
    for (const auto& [key, name] : s.missing) std::printf("     not there: %s: %s\n", key.c_str(), name.c_str());
  }
  if (a.stage.empty()) std::printf("%s\n", total_line(state, estimates, rates).c_str());
  if (a.brief) return;
  if (a.stage.empty() && state.stages().size() > 1) {
    std::printf("--stage NAME shows every setting of a stage and where it was set\n");
    return;
  }
  print_settings(a.stage.empty() ? state.stages().front() : state.at(a.stage), config.peek("kind") == "pipeline");
}

}  // namespace

void add_plan(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("plan", "what a recipe means and takes: batch arithmetic, memory, time, every setting and where it was set");
  cmd->add_option("recipe", args->recipe, "YAML file of any kind, pipelines too")->required();
  cmd->add_option("overrides", args->overrides, "key=value, as for r1 train and r1 pipeline");
  cmd->add_option("--device", args->device, "estimate for cpu (this machine, measured), h100 or h200 (default: this machine's)");
  cmd->add_option("--expect", args->expect, "what cannot be known before: new_tokens=90, examples=3000, example_tokens, prompt_tokens, mixed=0.5, kept=0.4")->take_all()->allow_extra_args(false);
  cmd->add_option("--stage", args->stage, "of a pipeline: this stage alone, with every setting");
  cmd->add_option("--draw", args->draw, "seconds for a few completions of a small model that is here, to see how long and how often right they are; 0 = none")
      ->check(CLI::Range(0.0, 600.0))->capture_default_str();
  cmd->add_flag("--brief", args->brief, "without the settings");
  cmd->add_flag("--json", args->json, "one JSON line a stage: seconds, processor seconds, bytes");
  cmd->footer("Example: r1 plan recipes/quickstart.yaml rl.steps=40 --expect new_tokens=20\nNothing is trained or kept; of a model of at most 250 M parameters that is here some completions are drawn on the CPU (--draw 0: none).");
  cmd->callback([args, &globals] { run_plan(*args, globals); });
}

}  // namespace r1
