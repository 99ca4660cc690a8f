// r1 eval: accuracy of a model on a file of problems, with intervals.
#include <cmath>
#include <cstdio>
#include <fstream>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/data_options.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "core/signals.h"
#include "rl/evaluator.h"

namespace r1 {

namespace {

void print_part(const char* name, const EvalPart& part, double accuracy, const Interval& interval) {
  std::printf("%-14s %6.2f %%   95 %% [%.2f, %.2f]   %lld items   mean length %.1f   truncated %.1f %%\n", name, 100 * accuracy,
              100 * interval.low, 100 * interval.high, static_cast<long long>(part.items), part.mean_length, 100 * part.truncated);
}

}  // namespace

void add_eval(CLI::App& app, const Globals& globals, int&) {
  struct Args { std::string model, out, dtype = "bfloat16", device = "auto"; bool json = false, no_greedy = false; EvalOptions eval; DataOptions data; SamplingFlags sampling; };
  auto args = std::make_shared<Args>();
  args->eval.samples = 0;
  CLI::App* cmd = app.add_subcommand("eval", "accuracy on a file of problems: greedy, pass@1, pass@k, with 95 % intervals");
  cmd->add_option("--model,-m", args->model, "model directory, GGUF file or hub name")->required();
  cmd->add_option("--samples,-n", args->eval.samples, "samples a problem for pass@k, beside greedy (default 0)")->check(CLI::Range(0, 1 << 16));
  cmd->add_option("--k", args->eval.pass_k, "k of pass@k (default: --samples)")->delimiter(',');
  cmd->add_flag("--no-greedy", args->no_greedy, "samples only");
  cmd->add_option("--out,-o", args->out, "per-item results, JSON lines");
  cmd->add_option("--dtype", args->dtype, "bfloat16 (default) or float32");
  cmd->add_option("--device", args->device, "auto (default: the GPU if there is one), cpu or cuda");
  cmd->add_flag("--json", args->json, "print one JSON object");
  args->data.add_to(*cmd);
  args->sampling.add_to(*cmd, 1.f);
  cmd->footer("Example: r1 eval -m runs/quickstart/checkpoints/latest -d test.jsonl -n 8");
  cmd->callback([args, &globals] {
    install_stop_signals();
    if (args->no_greedy && args->eval.samples == 0) throw ConfigError("--no-greedy without --samples leaves nothing to evaluate; add --samples 8");
    Runtime run = open_model(args->model, parse_dtype(args->dtype), globals.threads, args->device);
    const Rubric rubric = args->data.rubric(args->sampling.options.max_new_tokens);
    const std::vector<Prompt> prompts = args->data.load(run.tokenizer, rubric, true);
    const BackendParts parts = run.backend->make(device_default(), run.tokenizer);
    RolloutEngine& engine = *parts.engine;
    args->eval.greedy = !args->no_greedy;
    args->eval.sampling = args->sampling.options;
    args->eval.seed = args->sampling.seed;
    const EvalReport report = evaluate(engine, prompts, [&](const SampleGroup& g) { return rubric.score(g); }, args->eval);
    if (!args->out.empty()) {
      std::ofstream out(args->out, std::ios::binary);
      for (const EvalItem& item : report.items) {
        nlohmann::json row = {{"id", item.id}, {"samples", item.samples}, {"correct", item.correct}, {"reference", item.group.prompt.reference}};
        if (item.greedy_correct) row["greedy_correct"] = *item.greedy_correct;
        row["completions"] = nlohmann::json::array();
        for (std::size_t i = 0; i < item.group.completions.size(); ++i)
          row["completions"].push_back({{"text", item.group.completions[i].text}, {"verdict", to_string(item.scores[i].verdict)}, {"reward", item.scores[i].value}});
        out << row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
      }
      if (!out.flush()) throw IoError(message(args->out, " cannot be written; check the folder, its permissions and the disk"));
    }
    if (args->json) {
      nlohmann::json all = nlohmann::json::object();
      for (const auto& [name, value] : report.metrics()) all[name] = std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
      std::printf("%s\n", all.dump().c_str());
      return;
    }
    if (report.greedy) print_part("greedy", *report.greedy, report.greedy->accuracy, report.greedy->interval);
    if (report.sampled) {
      print_part("pass@1", *report.sampled, report.sampled->accuracy, report.sampled->interval);
      for (const auto& [k, value] : report.pass_at)
        if (k > 1) print_part(message("pass@", k).c_str(), *report.sampled, value, report.pass_at_interval.at(k));
    }
  });
}

}  // namespace r1
