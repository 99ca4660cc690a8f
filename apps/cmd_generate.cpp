// r1 generate: samples completions for a file of prompts; goes on where an earlier call stopped.
#include <cstdio>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/data_options.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "core/signals.h"

namespace r1 {

namespace {

using nlohmann::json;

// Ids of prompts that `out` holds whole; a torn last line is cut off so that appending goes on behind whole lines.
std::set<std::string> finished_ids(const std::filesystem::path& out) {
  std::set<std::string> ids;
  std::ifstream in(out, std::ios::binary);
  if (!in) return ids;
  std::uintmax_t good = 0;
  for (std::string line; std::getline(in, line);) {
    if (in.eof()) break;  // no newline: torn
    const json row = json::parse(line, nullptr, false);
    if (row.is_discarded() || !row.contains("id")) throw DataError(message(out.string(), " holds a line that r1 generate did not write; choose another --out"));
    ids.insert(row["id"].get<std::string>());
    good += line.size() + 1;
  }
  in.close();
  if (std::filesystem::file_size(out) != good) std::filesystem::resize_file(out, good);
  return ids;
}

std::string to_line(const SampleGroup& group, const std::vector<Score>& scores, const SamplingFlags& sampling, const std::string& model) {
  json row = {{"id", group.prompt.id}, {"prompt", group.prompt.text}, {"reference", group.prompt.reference}, {"model", model},
              {"seed", sampling.seed}, {"temperature", sampling.options.temperature}};
  json messages = json::array();
  for (const Message& m : group.prompt.messages) messages.push_back({{"role", m.role}, {"content", m.content}});
  row["messages"] = messages;
  json completions = json::array();
  for (std::size_t i = 0; i < group.completions.size(); ++i) {
    const Completion& c = group.completions[i];
    double logprob = 0;
    for (float lp : c.logprobs) logprob += lp;
    json one = {{"text", c.text}, {"tokens", c.tokens.size()}, {"stop", to_string(c.stop)}, {"logprob", logprob}};
    if (!scores.empty()) {
      one["reward"] = scores[i].value;
      one["verdict"] = to_string(scores[i].verdict);
      one["rewards"] = scores[i].parts;
    }
    completions.push_back(std::move(one));
  }
  row["completions"] = std::move(completions);
  return row.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

void add_generate(CLI::App& app, const Globals& globals, int& exit_code) {
  struct Args { std::string model, out, dtype = "bfloat16", device = "auto"; int samples = 1; bool score = false; DataOptions data; SamplingFlags sampling; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("generate", "sample completions for a file of prompts; resumable");
  cmd->add_option("--model,-m", args->model, "model directory, GGUF file or hub name")->required();
  cmd->add_option("--out,-o", args->out, "JSON lines file; prompts that it holds already are skipped")->required();
  cmd->add_option("--samples,-n", args->samples, "completions a prompt (default 1)")->check(CLI::Range(1, 1 << 16));
  cmd->add_option("--dtype", args->dtype, "bfloat16 (default) or float32");
  cmd->add_option("--device", args->device, "auto (default: the GPU if there is one), cpu or cuda");
  cmd->add_flag("--score", args->score, "score each completion by --rewards");
  args->data.add_to(*cmd);
  args->sampling.add_to(*cmd, 1.f);
  cmd->footer("Example: r1 generate -m models/SmolLM2-135M-Instruct -d tasks.jsonl -o out.jsonl -n 4 --score");
  cmd->callback([args, &globals, &exit_code] {
    install_stop_signals();
    Runtime run = open_model(args->model, parse_dtype(args->dtype), globals.threads, args->device);
    const Rubric rubric = args->data.rubric(args->sampling.options.max_new_tokens);
    const std::vector<Prompt> prompts = args->data.load(run.tokenizer, rubric, args->score);
    const std::set<std::string> done = finished_ids(args->out);
    const BackendParts parts = run.backend->make(device_default(), run.tokenizer);
    RolloutEngine& engine = *parts.engine;
    Terminal::Options screen;
    screen.quiet = globals.quiet;
    Terminal terminal(screen);
    Progress progress(terminal, {});
    std::ofstream out(args->out, std::ios::binary | std::ios::app);
    if (!out) throw IoError(message(args->out, " cannot be written; check the folder and its permissions"));
    std::size_t finished = done.size();
    // A window of prompts at a time keeps the engine full and the memory bounded.
    constexpr std::size_t kWindow = 256;
    for (std::size_t begin = 0; begin < prompts.size() && !stop_requested(); begin += kWindow) {
      std::vector<RolloutRequest> requests;
      for (std::size_t i = begin; i < std::min(begin + kWindow, prompts.size()); ++i) {
        if (done.count(prompts[i].id)) continue;
        requests.push_back({prompts[i], args->samples, args->sampling.options, {args->sampling.seed, 0, i, 0}});
      }
      if (requests.empty()) continue;
      generate(engine, std::move(requests), [&](std::size_t, const SampleGroup& group) {
        out << to_line(group, args->score ? rubric.score(group) : std::vector<Score>{}, args->sampling, args->model) << std::flush;
        if (!out) throw IoError(message(args->out, ": writing failed (disk full?); what is written stays, call again to go on"));
        progress.work("generate", static_cast<std::int64_t>(++finished), static_cast<std::int64_t>(prompts.size()), "");
        throw_if_stopped();
      });
    }
    terminal.print(message(finished, " of ", prompts.size(), " prompts in ", args->out), true);
    exit_code = 0;
  });
}

}  // namespace r1
