// r1 eval: benchmarks, intervals and comparisons, of local models, of models behind a URL, and of completions made elsewhere.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>

#include "apps/command.h"
#include "apps/data_options.h"
#include "apps/eval_job.h"
#include "apps/eval_model.h"
#include "apps/eval_recipe.h"
#include "core/error.h"
#include "core/signals.h"
#include "rl/eval/report.h"

namespace r1 {
namespace {

void print(const std::string& text) { std::printf("%s", text.c_str()); }

void list_benchmarks() {
  for (const auto& [name, yaml] : built_in_benchmarks()) {
    const Benchmark b = load_benchmark(name);
    std::printf("%-16s %s; %lld rows; k %d\n", name.c_str(), b.title.c_str(), static_cast<long long>(b.rows), b.samples);
  }
}

void show_benchmark(const std::string& wanted) {
  load_benchmark(wanted);  // for its error
  for (const auto& [name, yaml] : built_in_benchmarks())
    if (name == wanted) print(yaml);
}

struct Args {
  EvalModelOptions model;
  EvalJobOptions job;
  std::string compare, compare_served, completions, column, elo, show, api = "chat";
  std::vector<std::string> words;  // a recipe, key=value
  bool json = false, list = false;
};

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Results that `name` holds, a folder of --out or --completions; none where it is a model. Throws ConfigError for a folder whose results are
// others than wanted, or in folders of their own; DataError for an evaluation that has not ended.
std::vector<BenchmarkResult> results_in_folder(const std::string& name, const EvalJobOptions& job) {
  std::error_code none;
  if (is_url(name) || !std::filesystem::is_directory(name, none)) return {};
  const std::vector<std::string> there = results_in(name);
  std::vector<std::string> wanted;
  for (const std::string& b : job.benchmarks) wanted.push_back(load_benchmark(b).name);
  std::vector<BenchmarkResult> results;
  for (const std::string& found : there)
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), found) != wanted.end()) results.push_back(load_result(name, found));
  if (results.empty() && !there.empty())
    throw ConfigError(message(name, " holds results of ", listed(there), ", none of ", listed(wanted), "; leave --benchmark out, or evaluate them"));
  if (!there.empty() || std::filesystem::exists(std::filesystem::path(name) / "config.json")) return results;
  std::vector<std::string> below;
  for (const auto& entry : std::filesystem::directory_iterator(name))
    if (entry.is_directory() && !results_in(entry.path()).empty()) below.push_back(entry.path().string());
  std::sort(below.begin(), below.end());
  if (!below.empty()) throw ConfigError(message(name, " holds results in folders of their own; name one of them: ", listed(below)));
  return results;
}

std::vector<BenchmarkResult> evaluate_model(const EvalModelOptions& options, const EvalJobOptions& job, const std::filesystem::path& out) {
  std::unique_ptr<EvalModel> opened;
  try {
    opened = open_eval_model(options);
  } catch (const CheckpointError& e) {
    std::error_code none;
    if (!std::filesystem::is_directory(options.name, none)) throw;
    throw ConfigError(message(e.what(), "; and there are no results of r1 eval in it"));
  }
  return run_eval_job(*opened, job, out);
}

void grade_file(const Args& a) {
  CompletionsOptions o;
  o.file = a.completions;
  o.column = a.column;
  o.limit = a.job.data.section.limit;
  o.seed = a.job.sampling.seed;
  o.pass_k = a.job.pass_k;
  o.threads = a.job.grading_threads;
  const CompletionsResult r = grade_eval_completions(a.job, o);
  if (!a.job.out.empty()) keep_result(a.job.out, r.result, r.samples, r.counting);
  if (a.json) return print(results_json({&r.result, 1}) + "\n" + (r.agreements.empty() ? "" : agreement_json(r.agreements) + "\n"));
  print(results_table({&r.result, 1}));
  if (!r.agreements.empty()) print("\n" + agreement_table(r.agreements));
}

void run(Args& a) {
  if (a.list) return list_benchmarks();
  if (!a.show.empty()) return show_benchmark(a.show);
  if (!a.elo.empty()) {
    const EloRating rating = elo_rating(read_contests(a.elo), a.job.sampling.seed);
    return print(a.json ? elo_json(rating) + "\n" : elo_text(rating));
  }
  if (!a.completions.empty()) return grade_file(a);
  if (a.model.name.empty())
    throw ConfigError("--model is missing: a directory, a GGUF file, a hub name, a URL, or a folder of results; or use --completions, --elo, --list");
  const std::filesystem::path out = a.job.out;
  const bool two = !a.compare.empty();
  std::vector<BenchmarkResult> first = results_in_folder(a.model.name, a.job), second;
  if (two) second = results_in_folder(a.compare, a.job);
  const bool asks_first = first.empty(), asks_second = two && second.empty();
  if (asks_first || asks_second) check_eval_job(a.job);
  // Folders of their own only where both are evaluated now: what is kept is then found again by the name it was given.
  const bool both = asks_first && asks_second && !out.empty();
  if (asks_first) first = evaluate_model(a.model, a.job, both ? out / "a" : out);
  if (!two) return print(a.json ? results_json(first) + "\n" : results_table(first));
  if (asks_second) {
    EvalModelOptions other = a.model;
    other.name = a.compare;
    if (!a.compare_served.empty()) other.served_model = a.compare_served;
    if (!is_url(other.name))
      other.served_model.clear(), other.completions_api = false, other.api_key_env.clear(), other.ca_file.clear(), other.extra_json.clear();
    second = evaluate_model(other, a.job, both ? out / "b" : out);
  }
  const std::vector<ComparisonRow> rows = compare_results(first, second, a.job.sampling.seed);
  if (a.json) return print(comparison_json(rows, a.model.name, a.compare) + "\n");
  print("A: " + a.model.name + "\n" + results_table(first) + "\nB: " + a.compare + "\n" + results_table(second) + "\n");
  print(comparison_table(rows, a.model.name, a.compare));
}

}  // namespace

void run_eval_recipe(EvalRecipe recipe, int threads, bool quiet, bool json) {
  recipe.model.threads = threads;
  recipe.job.quiet = quiet;
  recipe.job.grading_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  check_eval_job(recipe.job);
  const auto model = open_eval_model(recipe.model);
  const std::vector<BenchmarkResult> results = run_eval_job(*model, recipe.job, recipe.job.out);
  std::printf("%s", json ? (results_json(results) + "\n").c_str() : results_table(results).c_str());
  std::fflush(stdout);
}

void add_eval(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<Args>();
  Args& a = *args;
  CLI::App* cmd =
      app.add_subcommand("eval", "benchmarks with intervals: pass@1, pass@k, cons@k; comparison of two models; completions made elsewhere");
  cmd->add_option("recipe", a.words, "a recipe of kind: eval, and key=value; in place of the flags that say the same");
  cmd->add_option("--model,-m", a.model.name,
                  "model directory, GGUF file, hub name, OpenAI-compatible URL (http://HOST:PORT/v1), or a folder of results");
  cmd->add_option("--benchmark,-b", a.job.benchmarks, "names (--list) or YAML files, comma-separated; without it --data is a file of problems")
      ->delimiter(',');
  a.job.data.add_to(*cmd);
  cmd->get_option("--data")->required(false)->description(
      "with --benchmark: a file, a folder to search (default: . and ./data), or NAME=FILE for one of several; else JSON lines file(s)");
  cmd->get_option("--template")->description("chat, r1_zero, none, or file with --template-file (default: chat where the model has such a template)");
  cmd->add_option("--template-variables", a.model.template_variables, "JSON object for the chat template");
  cmd->add_flag("--think", a.model.think, "force the reply to open with <think>, as R1's protocol does");
  cmd->add_option("--protocol", a.job.protocol,
                  "r1: k samples at temperature 0.6, top-p 0.95 (default with --benchmark); greedy (default without); both")
      ->check(CLI::IsMember({"r1", "greedy", "both"}));
  cmd->add_option("--samples,-n", a.job.samples, "samples an item (default: the benchmark's)")->check(CLI::Range(0, 1 << 16));
  cmd->add_flag("--no-greedy", a.job.no_greedy, "samples only");
  cmd->add_option("--shots", a.job.shots, "worked examples before each question of --benchmark: the first rows of --shots-data")->check(CLI::Range(1, 1000));
  cmd->add_option("--shots-data", a.job.shots_data, "rows of the benchmark's form that are not evaluated, such as its training split");
  cmd->add_option("--k", a.job.pass_k, "k of pass@k and cons@k (default: the benchmark's, else --samples)")->delimiter(',');
  a.job.sampling.add_to(*cmd, 1.f);
  cmd->get_option("--temperature")->description("default 0.6 with --benchmark, else 1");
  cmd->get_option("--top-p")->description("default 0.95 with --benchmark, else 1");
  cmd->get_option("--max-new-tokens")->description("default: the benchmark's (32,768 for R1's), cut to the context; else 512");
  cmd->add_option("--out,-o", a.job.out, "folder for samples and items; an interrupted call goes on from what is there");
  cmd->add_option("--compare", a.compare, "a second model or folder of results: paired tests on the same items");
  cmd->add_option("--completions", a.completions,
                  "grade a file of completions: lm-evaluation-harness' samples, r1's own, or rows with a completion column");
  cmd->add_option("--completion", a.column, "with --completions: the column (default: the usual names)");
  cmd->add_option("--elo", a.elo, "rating from a file of contest results");
  cmd->add_flag("--list", a.list, "the benchmarks that are built in");
  cmd->add_option("--show", a.show, "print a benchmark's YAML, to copy and change");
  cmd->add_option("--dtype", a.model.dtype, "bfloat16 (default) or float32");
  cmd->add_option("--device", a.model.device, "auto (default: the GPU if there is one), cpu or cuda");
  cmd->add_option("--served-model", a.model.served_model, "URL: the model's name there");
  cmd->add_option("--compare-served-model", a.compare_served, "URL: the name of the one of --compare (default: the same)");
  cmd->add_option("--api", a.api, "URL: chat (default) or completions")->check(CLI::IsMember({"chat", "completions"}));
  cmd->add_option("--api-key-env", a.model.api_key_env, "URL: environment variable that holds the key");
  cmd->add_option("--ca-file", a.model.ca_file, "URL: roots to trust for https");
  cmd->add_option("--extra", a.model.extra_json, "URL: JSON object merged into each request; null takes a key out");
  cmd->add_option("--concurrency", a.model.concurrency, "URL: requests at a time (default 16)")->check(CLI::Range(1, 4096));
  cmd->add_option("--timeout", a.model.timeout_s, "URL: seconds for a completion with its retries (default 1800)")->check(CLI::Range(0.001, 86400.0));
  cmd->add_option("--retries", a.model.retries, "URL: after 408, 429, 5xx, lost connections (default 4)")->check(CLI::Range(0, 100));
  cmd->add_option("--grading-threads", a.job.grading_threads, "default: all cores")->check(CLI::Range(1, 4096));
  cmd->add_flag("--json", a.json, "print one JSON object");
  cmd->footer("Example: r1 eval -m runs/zero/checkpoints/latest -b gsm8k,math500 -d data -o evals/zero\n"
              "         r1 eval -m http://127.0.0.1:8000/v1 --served-model m -b aime2024 --think\n"
              "         r1 eval -m evals/old --compare evals/new\n"
              "         r1 eval --completions samples_gsm8k.jsonl -b gsm8k");
  cmd->callback([args, cmd, &globals] {
    install_stop_signals();
    Args& a = *args;
    if (!a.words.empty()) {
      if (!a.model.name.empty() || !a.job.benchmarks.empty())
        throw ConfigError("a recipe and --model or --benchmark are both given; write model.path=..., benchmarks=[...] behind the recipe");
      const std::vector<std::string> overrides(a.words.begin() + 1, a.words.end());
      run_eval_recipe(load_eval_recipe(Config::load(a.words[0], overrides)), globals.threads, globals.quiet, a.json);
      return;
    }
    a.model.threads = globals.threads;
    a.model.completions_api = a.api == "completions";
    a.model.prompt_template = cmd->count("--template") ? a.job.data.section.format : "";
    a.model.template_file = a.job.data.section.template_file;
    a.model.system_prompt = a.job.data.section.system_prompt;
    a.job.quiet = globals.quiet;
    a.job.samples_set = cmd->count("--samples") > 0;
    a.job.temperature_set = cmd->count("--temperature") > 0;
    a.job.top_p_set = cmd->count("--top-p") > 0;
    a.job.max_new_tokens_set = cmd->count("--max-new-tokens") > 0;
    a.job.rewards_set = cmd->count("--rewards") > 0;
    if (a.job.grading_threads == 0) a.job.grading_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    run(a);
  });
}

}  // namespace r1
