#include "apps/eval_job.h"

#include <nlohmann/json.hpp>

#include "apps/reward_context.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/progress.h"
#include "core/terminal.h"
#include "rl/eval/forms.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

// Where a benchmark's rows are: NAME=FILE, else the first entry that has them, else . and ./data.
std::string data_of(const Benchmark& b, const std::vector<std::string>& entries) {
  std::vector<std::string> places;
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos || fs::exists(entry)) places.push_back(entry);
    else if (entry.substr(0, equals) == b.name) return find_benchmark_data(b, entry.substr(equals + 1)).string();
  }
  if (places.empty()) places.push_back(".");
  for (std::size_t i = 0;; ++i) try {
      return find_benchmark_data(b, places[i]).string();
    } catch (const DataError&) {
      if (i + 1 == places.size()) throw;
    }
}

// A file of problems as a benchmark: graded once, by the rewards of the command line.
Benchmark file_benchmark(const EvalJobOptions& job) {
  Benchmark b;
  const std::optional<GeneratedData>& made = job.data.section.generate;
  b.name = made ? message(made->task, "_", made->level) : fs::path(job.data.section.files.at(0)).stem().string();
  b.title = b.name;
  b.sampling = job.sampling.options;
  b.samples = job.samples;
  return b;
}

struct Prepared {
  BenchmarkRun run;
  std::unique_ptr<Grader> grader;
};

void apply_flags(const EvalJobOptions& job, BenchmarkRun& run) {
  const Benchmark& b = run.benchmark;
  const EvalParts parts = eval_parts(job, b.samples);
  run.greedy = parts.greedy != 0, run.samples = parts.samples;
  if (!run.greedy && run.samples == 0) throw ConfigError("nothing is left to evaluate: no greedy part, and --samples 0");
  run.sampling = b.sampling;
  const SamplingOptions& given = job.sampling.options;
  if (job.temperature_set) run.sampling.temperature = given.temperature;
  if (job.top_p_set) run.sampling.top_p = given.top_p;
  if (job.max_new_tokens_set) run.sampling.max_new_tokens = given.max_new_tokens;
  run.sampling.top_k = given.top_k;
  run.sampling.min_p = given.min_p;
  if (!given.stop_strings.empty()) run.sampling.stop_strings = given.stop_strings;
  if (run.samples > 0 && run.sampling.temperature <= 0)
    throw ConfigError("--temperature 0 makes all samples of an item equal; use --protocol greedy");
  run.pass_k = job.pass_k;
  if (run.pass_k.empty())
    for (const int k : b.pass_k)
      if (k <= run.samples) run.pass_k.push_back(k);
  for (const int k : run.pass_k)
    if (k < 1 || k > run.samples) throw ConfigError(message("--k ", k, " needs at least ", k, " samples an item; --samples is ", run.samples));
  run.seed = job.sampling.seed;
  run.grading_threads = job.grading_threads;
}

std::string settings_of(const Prepared& p, const EvalModel& model, const std::string& grading) {
  Hasher prompts;
  for (const Prompt& one : p.run.prompts)
    for (const std::string* field : {&one.id, &one.text, &one.reference}) prompts.update_field(*field);
  const SamplingOptions& s = p.run.sampling;
  Json j = {{"benchmark", p.run.benchmark.name},
            {"model", Json::parse(model.identity())},
            {"prompts", {{"count", p.run.prompts.size()}, {"digest", to_hex(prompts.digest())}}},
            {"greedy", p.run.greedy},
            {"samples", p.run.samples},
            {"seed", p.run.seed},
            {"sampling",
             {{"temperature", s.temperature},
              {"top_p", s.top_p},
              {"top_k", s.top_k},
              {"min_p", s.min_p},
              {"max_new_tokens", s.max_new_tokens},
              {"stop", s.stop_strings}}},
            {"grading", Json::parse(grading)}};
  return j.dump();
}

Prepared prepare(const EvalModel& model, const EvalJobOptions& job, const std::string& name, const fs::path& out) {
  Prepared p;
  std::string grading;
  if (!name.empty()) {
    if (job.rewards_set) throw ConfigError("--rewards has no effect with --benchmark; copy its YAML (--show) and change `strict`");
    Benchmark& b = p.run.benchmark = load_benchmark(name);
    apply_flags(job, p.run);
    std::vector<Row> rows = benchmark_rows(b, {data_of(b, job.data.section.files)}, job.data.section.limit, job.sampling.seed);
    if (job.shots > 0) put_examples_before(rows, b, job.shots_data, job.shots, job.sampling.seed);
    p.run.prompts = with_context(b.name, [&] { return model.prompts(rows, benchmark_row_options()); });
    b.sampling.max_new_tokens = p.run.sampling.max_new_tokens;
    p.grader = std::make_unique<Grader>(b, reward_context());
    grading = Json{{"strict", b.strict}, {"lenient", b.lenient}}.dump();
  } else {
    if (job.data.section.files.empty() && !job.data.section.generate) throw ConfigError("nothing to evaluate on: name a benchmark (-b, --list) or a file of problems (--data)");
    p.run.benchmark = file_benchmark(job);
    apply_flags(job, p.run);
    const DatasetOptions columns = dataset_options(job.data.section);
    const std::optional<GeneratedData>& made = job.data.section.generate;
    p.run.prompts = model.prompts(made ? generate_rows(*made, job.data.section.limit, "data") : read_rows(columns), columns);
    p.grader = std::make_unique<Grader>(job.data.rubric(p.run.sampling.max_new_tokens), job.data.rewards == std::vector<std::string>{"math"});
    grading = Json{{"rewards", job.data.rewards}}.dump();
  }
  const std::string& shown = p.run.benchmark.name;
  if (const PromptCheck check = p.grader->check_prompts(p.run.prompts); !check.problems.empty())
    throw DataError(message(shown, ": ", check.summary()));
  const int budget = model.budget(p.run.prompts, p.run.sampling.max_new_tokens);
  if (job.max_new_tokens_set && budget < p.run.sampling.max_new_tokens)
    throw ConfigError(message(shown, ": --max-new-tokens ", p.run.sampling.max_new_tokens, " and the longest prompt do not fit the context; at most ",
                              budget, " fit"));
  p.run.sampling.max_new_tokens = budget;
  p.run.out = out;
  p.run.settings_json = settings_of(p, model, grading);
  return p;
}

}  // namespace

EvalParts eval_parts(const EvalJobOptions& job, int benchmark_samples) {
  const bool named = !job.benchmarks.empty();
  const std::string protocol = !job.protocol.empty() ? job.protocol : named ? "r1" : job.samples == 0 ? "greedy" : job.no_greedy ? "r1" : "both";
  return {protocol != "r1" && !job.no_greedy,
          protocol == "greedy" && !(job.samples_set && job.samples > 0) ? 0 : job.samples_set ? job.samples : benchmark_samples};
}

void check_eval_job(const EvalJobOptions& job) {
  if ((job.shots > 0) != !job.shots_data.empty()) throw ConfigError("--shots N and --shots-data FILE go together: how many worked examples, and whose");
  if (job.shots > 0 && job.benchmarks.size() != 1) throw ConfigError("--shots takes one --benchmark: the examples are of its kind");
  for (const std::string& name : job.benchmarks) data_of(load_benchmark(name), job.data.section.files);
}

std::vector<BenchmarkResult> run_eval_job(EvalModel& model, const EvalJobOptions& job, const fs::path& out) {
  std::vector<Prepared> all;
  for (const std::string& name : job.benchmarks.empty() ? std::vector<std::string>{""} : job.benchmarks)
    all.push_back(prepare(model, job, name, out));
  Terminal::Options screen;
  screen.quiet = job.quiet;
  Terminal terminal(screen);
  std::vector<BenchmarkResult> results;
  for (Prepared& p : all) {
    const BenchmarkRun& run = p.run;
    terminal.print(message(run.benchmark.name, ": ", run.prompts.size(), " items", run.greedy ? ", greedy" : "",
                           run.samples > 0 ? message(", ", run.samples, " samples at temperature ", run.sampling.temperature) : "", ", at most ",
                           run.sampling.max_new_tokens, " tokens"));
    Progress progress(terminal, {});
    p.run.progress = [&](std::int64_t done, std::int64_t total) {
      progress.work(run.benchmark.name, done, total, "");
      // No bar where the output is no terminal: a line for each tenth.
      if (!terminal.interactive() && total >= 100 && done * 10 / total != (done - 1) * 10 / total)
        terminal.print(message(run.benchmark.name, ": ", done, " of ", total, " completions"));
    };
    results.push_back(run_benchmark(p.run, *p.grader, model.source()));
  }
  return results;
}

CompletionsResult grade_eval_completions(const EvalJobOptions& job, CompletionsOptions options) {
  if (job.benchmarks.size() > 1) throw ConfigError("--completions takes one --benchmark: a file holds the completions of one");
  if (!job.benchmarks.empty()) {
    const Benchmark b = load_benchmark(job.benchmarks[0]);
    if (!job.data.section.files.empty()) options.data = data_of(b, job.data.section.files);
    return grade_completions(b, Grader(b, reward_context()), options);
  }
  Benchmark b;
  b.name = b.title = fs::path(options.file).stem().string();
  b.question = job.data.section.prompt;
  b.answer = job.data.section.answer;
  b.prompt_template = "{question}";
  if (!job.data.section.files.empty()) options.data = job.data.section.files[0];
  return grade_completions(b, Grader(job.data.rubric(0), job.data.rewards == std::vector<std::string>{"math"}), options);
}

}  // namespace r1
