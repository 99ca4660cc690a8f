// r1 pipeline: a chain of recipes, each stage once for its settings and inputs.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include <sys/file.h>

#include "apps/eval_recipe.h"
#include "apps/generate_run.h"
#include "apps/hub_files.h"
#include "apps/pipeline_state.h"
#include "apps/reward_context.h"
#include "apps/stage_estimate.h"
#include "apps/train_kind.h"
#include "comm/launch.h"
#include "core/cpu_time.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/signals.h"
#include "core/terminal.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Is = StageState::Is;

struct Args {
  std::string recipe, from, until;
  std::vector<std::string> overrides;
  bool status = false, dry_run = false;
};

// Positions [first, last) of --from and --until.
std::pair<std::size_t, std::size_t> range_of(const PipelineState& state, const Args& a) {
  const auto index = [&](const std::string& name) { return static_cast<std::size_t>(&state.at(name) - state.stages().data()); };
  const std::pair<std::size_t, std::size_t> range{a.from.empty() ? 0 : index(a.from), a.until.empty() ? state.stages().size() : index(a.until) + 1};
  if (range.first >= range.second) throw ConfigError(message("--from ", a.from, " comes after --until ", a.until));
  return range;
}

std::string status_table(const PipelineState& state, bool disk) {
  Table table({"stage", "kind", "state", "key", "time", "cpu", "score", "disk"});
  std::uint64_t now = 0, old = 0;
  for (const StageState& s : state.stages()) {
    const std::uint64_t bytes = disk ? state.bytes_of(s, false) : 0;
    now += bytes, old += disk ? state.bytes_of(s, true) : 0;
    table.add_row({s.stage->name, std::string(s.kind->name), to_string(s.is), s.key, s.record ? human_duration(s.record->seconds) : "",
                   s.record && s.record->cpu_seconds > 0 ? human_duration(s.record->cpu_seconds) : "", s.record ? s.record->score : "", bytes > 0 ? human_bytes(bytes) : ""});
  }
  std::string out = table.str();
  if (disk) out += message("disk: ", human_bytes(now), ", and ", human_bytes(old), " of results under other settings\n");
  return out;
}

void print_plan(const PipelineState& state, std::pair<std::size_t, std::size_t> range, int threads) {
  const DeviceRates rates = device_rates("", threads);
  const std::vector<StageEstimate> estimates = estimate_stages(state, {}, rates, kDrawSeconds);
  for (std::size_t i = 0; i < state.stages().size(); ++i) {
    const StageState& s = state.stages()[i];
    const bool runs = i >= range.first && i < range.second && s.is != Is::kFinished;
    std::printf("%2zu %s (%s), key %s: %s%s\n", i + 1, s.stage->name.c_str(), std::string(s.kind->name).c_str(), s.key.c_str(), to_string(s.is),
                runs ? ", runs" : "");
    for (const std::string& line : s.lines) std::printf("     %s\n", line.c_str());
    if (!s.stage->needs.empty()) {
      std::string needs;
      for (const std::string& need : s.stage->needs) needs += (needs.empty() ? "" : ", ") + need;
      std::printf("     needs %s\n", needs.c_str());
    }
    for (const std::string& line : estimate_lines(estimates[i], s)) std::printf("     %s\n", line.c_str());
    for (const auto& [key, name] : s.missing) std::printf("     not there: %s: %s\n", key.c_str(), name.c_str());
  }
  std::printf("%s\n", total_line(state, estimates, rates).c_str());
}

// What would stop a stage is found before the first one runs.
void check_start(const PipelineState& state, std::pair<std::size_t, std::size_t> range) {
  for (std::size_t i = 0; i < range.first; ++i)
    if (state.stages()[i].is != Is::kFinished)
      throw ConfigError(message("--from ", state.stages()[range.first].stage->name, ": stage ", state.stages()[i].stage->name, " before it is not finished (",
                                to_string(state.stages()[i].is), "); start with it"));
  for (std::size_t i = range.first; i < range.second; ++i) {
    const StageState& s = state.stages()[i];
    if (s.is != Is::kFinished && !s.missing.empty()) throw ConfigError(message("stage ", s.stage->name, ": not there: ", s.missing.front().first, ": ", s.missing.front().second));
    state.runnable(s);  // references that its kind does not have
  }
}

int run_stage(const PipelineState& state, const StageState& s, const Globals& globals) {
  const Config config = state.runnable(s);
  if (s.is == Is::kChangedInput || s.is == Is::kDropped) fs::remove_all(s.dir);
  make_directories(s.dir);
  const fs::path file = s.dir / "recipe.yaml";
  write_file_atomic(file, write_yaml(config.root()));
  switch (s.kind->work) {
    case StageWork::kTrain: return train_by_kind({config, globals, false, false, "r1 train " + file.string()});
    case StageWork::kGenerate: run_generate(load_generate_recipe(config, reward_context()), globals); return 0;
    case StageWork::kEval: run_eval_recipe(load_eval_recipe(config), globals.threads, globals.quiet, false); return 0;
  }
  return 0;
}

int run_stages(PipelineState& state, std::pair<std::size_t, std::size_t> range, const Globals& globals) {
  Terminal::Options screen;
  screen.quiet = globals.quiet;
  Terminal terminal(screen);
  state.let_go();
  const std::size_t n = state.stages().size();
  for (std::size_t i = range.first; i < range.second; ++i) {
    const StageState& s = state.stages()[i];
    const std::string head = message("stage ", i + 1, "/", n, " ", s.stage->name, " (", s.kind->name, ", key ", s.key, ")");
    if (s.is == Is::kFinished) {
      terminal.print(head + ": finished" + (s.record->score.empty() ? "" : ", " + s.record->score));
      continue;
    }
    throw_if_stopped();
    terminal.print(terminal.paint(head, "1") + (s.is == Is::kToDo ? "" : message(": ", to_string(s.is))));
    const auto start = std::chrono::steady_clock::now();
    const double cpu = process_cpu_seconds();
    const int code = with_context("stage " + s.stage->name, [&] {
      try {
        return run_stage(state, s, globals);
      } catch (const Error&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception& e) {
        throw Error(e.what());
      }
    });
    if (code != 0) {
      terminal.print(message("stage ", s.stage->name, code == kExitInterrupted ? " was stopped" : " failed", "; the same command goes on with it"), true);
      return code;
    }
    state.finish(s, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), process_cpu_seconds() - cpu);
  }
  return 0;
}

// A stage's key holds the digests of what it reads, so what the hub has of it must be here before the first stage is planned. What cannot be
// had is reported as missing by check_start().
void fetch_inputs(const PipelineRecipe& pipeline) {
  for (const PipelineStage& stage : pipeline.stages) {
    fetch_hub_data(stage.recipe);
    for (const auto& [path, name] : named_inputs(stage.recipe)) {
      if (path != "model.path" && path != "distill.teacher") continue;
      try {
        find_model(name);
      } catch (const CheckpointError&) {
      }
    }
  }
}

int run_pipeline(const Args& a, const Globals& globals) {
  const PipelineRecipe pipeline = load_pipeline(a.recipe, a.overrides);
  std::optional<File> lock;
  if (!a.status && !a.dry_run) {
    make_directories(pipeline.dir);
    lock.emplace(pipeline.dir / ".lock", File::Mode::kAppend);
    if (::flock(lock->descriptor(), LOCK_EX | LOCK_NB) != 0)
      throw ConfigError(message("another r1 pipeline is using ", pipeline.dir.string(), "; wait until it ends or choose another output.dir"));
  }
  if (lock) fetch_inputs(pipeline);
  PipelineState state(pipeline);
  const auto range = range_of(state, a);
  if (a.dry_run) print_plan(state, range, globals.threads);
  if (a.status) std::printf("%s", status_table(state, true).c_str());
  if (a.dry_run || a.status) return 0;
  check_start(state, range);
  const int code = run_stages(state, range, globals);
  if (code == 0) std::printf("%s", status_table(state, true).c_str());
  return code;
}

}  // namespace

void add_pipeline(CLI::App& app, const Globals& globals, int& exit_code) {
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("pipeline", "run a chain of recipes; finished stages are skipped, an edit re-runs what follows from it");
  cmd->add_option("recipe", args->recipe, "YAML file with stages:")->required();
  cmd->add_option("overrides", args->overrides, "key=value, e.g. output.dir=runs/try vars.base=models/other");
  cmd->add_flag("--status", args->status, "print each stage's state, key, time, score and disk use; run nothing");
  cmd->add_flag("--dry-run", args->dry_run, "print what would run, with its batch arithmetic; run nothing");
  cmd->add_option("--from", args->from, "begin with this stage; those before it must be finished");
  cmd->add_option("--until", args->until, "end with this stage");
  cmd->footer("Example: r1 pipeline recipes/r1_cpu.yaml --until cold_start_sft\ndocs/pipeline.md says more.");
  cmd->callback([args, &globals, &exit_code] {
    install_stop_signals();
    if (const Launch launch = read_launch(); launch.world > 1)
      throw ConfigError(message("r1 pipeline runs in one process, this is rank ", launch.rank, " of ", launch.world, " (", launch.launcher, "); launch its training stages by r1 train"));
    exit_code = run_pipeline(*args, globals);
  });
}

}  // namespace r1
