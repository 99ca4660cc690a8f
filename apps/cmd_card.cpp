// r1 card and r1 push: a model card from a run's records, and a model folder onto the Hugging Face hub.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

#include "apps/command.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/hub_name.h"
#include "core/signals.h"
#include "core/terminal.h"
#include "core/version.h"
#include "hub/hub_push.h"
#include "recipes/presets.h"
#include "report/model_card.h"
#include "report/pipeline_folder.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct CardArgs {
  std::string run, checkpoint = "latest", out, name, base_model, license;
  std::vector<std::string> datasets, evaluations;
};

struct Card {
  fs::path model;  // the checkpoint's folder
  std::string text;
};

std::string setting(const report::RunData& run, const char* key) {
  const auto line = std::find_if(run.config.begin(), run.config.end(), [&](const report::ConfigLine& l) { return l.key == key; });
  return line == run.config.end() ? "" : line->value;
}

Card make_card(const CardArgs& args) {
  const report::RunData run = report::load_run(args.run);
  if (run.config.empty()) throw ConfigError(message(args.run, " holds no run: ", run.problems.empty() ? "no config.yaml" : run.problems.front()));
  const fs::path link = fs::path(args.run) / "checkpoints" / args.checkpoint;
  if (!fs::exists(link / "config.json")) throw ConfigError(message(link.string(), " is no model folder; --checkpoint names one of ", (fs::path(args.run) / "checkpoints").string()));
  const fs::path model = fs::canonical(link);
  report::ModelCardInput in{run, args.name.empty() ? run.name : args.name, model.filename().string(), args.base_model, args.datasets, args.license, "", {}, ""};
  // Names of the hub are known as such where the recipe has them; a folder of the same form is a folder.
  const std::string start = setting(run, "model.path");
  if (in.base_model.empty() && start.find('/') != std::string::npos && !fs::exists(start) && !start.starts_with("models/") && !start.starts_with("runs/"))
    if (const auto name = parse_hub_model(start)) in.base_model = name->id;
  std::string data = setting(run, "data.path");
  for (std::size_t at = data.find("hf://"); in.datasets.empty() && at != std::string::npos; at = data.find("hf://", at + 1))
    if (const auto name = parse_hub_data(data.substr(at, data.find_first_of(",] \"'", at) - at))) in.datasets.push_back(name->id);
  if (const Preset* preset = find_preset(setting(run, "rl.preset"))) in.settings_source = preset->source;
  for (const std::string& dir : args.evaluations) {
    std::vector<std::string> problems;
    const auto scores = report::load_benchmarks(dir, problems);
    if (scores.empty()) throw ConfigError(message(dir, " holds no results of r1 eval --out"));
    in.benchmarks.insert(in.benchmarks.end(), scores.begin(), scores.end());
  }
  in.program = message("r1 ", version());
  return {model, report::model_card(in)};
}

bool is_run(const fs::path& dir) { return fs::exists(dir / "config.yaml") && fs::is_directory(dir / "checkpoints"); }

// What belongs to the model: not the training state, nor hidden and unfinished files.
std::vector<PushFile> model_files(const fs::path& model) {
  std::vector<PushFile> files;
  for (auto it = fs::recursive_directory_iterator(model, fs::directory_options::follow_directory_symlink); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().filename().string(), path = fs::relative(it->path().parent_path(), model) == "." ? name : (fs::relative(it->path().parent_path(), model) / name).generic_string();
    if (it->is_directory()) {
      if (path == "state" || name.starts_with(".")) it.disable_recursion_pending();
    } else if (it->is_regular_file() && !name.starts_with(".") && path != "manifest.json" && name.find(".tmp-") == std::string::npos) {
      files.push_back({path, it->path()});
    }
  }
  std::sort(files.begin(), files.end(), [](const PushFile& a, const PushFile& b) { return a.path < b.path; });
  return files;
}

struct PushArgs {
  std::string from, id;
  PushOptions options;
  CardArgs card;
};

void push(PushArgs args, const Globals& globals) {
  const auto name = parse_hub_model(args.id);
  if (!name || name->id.find('/') == std::string::npos || args.id.find('@') != std::string::npos) throw ConfigError(message("'", args.id, "' is no name to push to; write OWNER/NAME"));
  const HubOptions options = hub_options_from_environment();
  // Before any work.
  if (options.token.empty()) throw ConfigError(message("pushing to ", options.endpoint, " needs a token with the right to write: set HF_TOKEN"));
  fs::path model = args.from;
  if (is_run(model)) {
    args.card.run = args.from, args.card.name = name->id;
    const Card card = make_card(args.card);
    model = card.model;
    if (!fs::exists(model / "README.md")) write_file_atomic(model / "README.md", card.text);
  }
  if (!fs::exists(model / "config.json")) throw ConfigError(message(args.from, " is neither a run nor a model folder: there is no config.json"));
  Terminal::Options screen;
  screen.quiet = globals.quiet;
  Terminal terminal(screen);
  if (!fs::exists(model / "README.md")) terminal.print("warning: the folder has no README.md, so the model will have no card");
  const PushResult done = push_to_hub(options, name->id, model_files(model), args.options, [&](const HubProgress& p) {
    terminal.set_status(message(p.number, "/", p.files, "  ", p.file, "  ", human_bytes(p.bytes), " of ", human_bytes(p.total)));
  });
  terminal.set_status("");
  terminal.print(message(done.files, " files, ", human_bytes(done.bytes), "; ", done.sent, " large ones sent (", human_bytes(done.sent_bytes), ")", done.commit.empty() ? "" : ", commit " + done.commit));
  std::printf("%s\n", done.url.empty() ? message(options.endpoint, "/", name->id).c_str() : done.url.c_str());
}

void add_card_options(CLI::App& cmd, CardArgs& args) {
  cmd.add_option("--checkpoint", args.checkpoint, "folder in the run's checkpoints/ (latest)");
  cmd.add_option("--base-model", args.base_model, "hub name of the start weights (default: the recipe's, where it is one)");
  cmd.add_option("--dataset", args.datasets, "hub names of the training data (default: those of the recipe)")->delimiter(',');
  cmd.add_option("--license", args.license, "e.g. apache-2.0; none is assumed");
  cmd.add_option("--eval", args.evaluations, "folders that r1 eval --out wrote for this checkpoint");
}

}  // namespace

void add_card(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<CardArgs>();
  CLI::App* cmd = app.add_subcommand("card", "a model card (README.md) from a run's records: method, recipe, evaluation with intervals, digests, use, citation");
  cmd->add_option("run", args->run, "a run folder")->required();
  cmd->add_option("--out,-o", args->out, "the file, or a folder of an exported model (default: README.md in the checkpoint's folder)");
  cmd->add_option("--name", args->name, "of the model, OWNER/NAME on the hub (default: the run's)");
  add_card_options(*cmd, *args);
  cmd->footer("Example: r1 card runs/quickstart --name me/smol-adds --base-model HuggingFaceTB/SmolLM2-135M-Instruct --license apache-2.0");
  cmd->callback([args, &globals] {
    const Card card = make_card(*args);
    const fs::path out = args->out.empty() ? card.model / "README.md" : fs::is_directory(args->out) ? fs::path(args->out) / "README.md" : fs::path(args->out);
    if (out.has_parent_path()) make_directories(out.parent_path());
    write_file_atomic(out, card.text);
    if (!globals.quiet) std::printf("%s\n", out.string().c_str());
  });

  auto up = std::make_shared<PushArgs>();
  cmd = app.add_subcommand("push", "a run's model, or any model folder, onto the Hugging Face hub: one commit with its card");
  cmd->add_option("from", up->from, "a run folder (its checkpoint, with a card unless it has one) or a model folder")->required();
  cmd->add_option("name", up->id, "OWNER/NAME; made if it is not there")->required();
  cmd->add_flag("--private", up->options.make_private, "where it is made now");
  cmd->add_option("--revision", up->options.revision, "a branch that exists (main)");
  cmd->add_option("--message", up->options.message, "of the commit");
  add_card_options(*cmd, up->card);
  cmd->footer("Example: HF_TOKEN=hf_... r1 push runs/quickstart me/smol-adds --private\nHF_ENDPOINT names a mirror. The training state stays here; large files that the hub has are not sent again.");
  cmd->callback([up, &globals] {
    install_stop_signals();
    push(*up, globals);
  });
}

}  // namespace r1
