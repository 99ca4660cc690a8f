#include "apps/stage_load.h"

#include <algorithm>

#include "apps/runtime.h"
#include "core/error.h"
#include "rl/eval/benchmark.h"

namespace r1 {
namespace {

constexpr std::int64_t kSome = 200;            // rows whose tokens are counted
constexpr std::int64_t kCountedRows = 2'000'000;  // a longer file's rows are not counted to the end

// Rows of files: all are counted, `tokens_of` the first.
DataSize size_of_files(const DatasetOptions& options, const std::function<double(const Row&)>& tokens_of) {
  DataSize out;
  RowReader reader(options);
  double tokens = 0;
  for (Row row; out.rows < kCountedRows && reader.next(row); ++out.rows)
    if (out.rows < kSome) tokens += tokens_of(row);
  out.tokens = out.rows == 0 ? 0 : tokens / static_cast<double>(std::min(out.rows, kSome));
  return out;
}

DataSize size_of_prompts(const DataSection& data, const std::shared_ptr<const Tokenizer>& tokenizer) {
  if (data.generate) {
    DatasetOptions options = dataset_options(data);
    options.prompt_column = "prompt";
    const PromptMaker maker(options, tokenizer);
    double tokens = 0;
    const auto rows = generate_rows(*data.generate, kSome, "data");
    for (const Row& row : rows) tokens += static_cast<double>(maker.make_prompt(row, row.line).tokens.size());
    return {data.limit > 0 ? std::min(data.limit, data.generate->rows) : data.generate->rows, tokens / static_cast<double>(rows.size())};
  }
  const PromptMaker maker(dataset_options(data), tokenizer);
  return size_of_files(dataset_options(data), [&](const Row& row) { return static_cast<double>(maker.make_prompt(row, row.line).tokens.size()); });
}

// Of several sources: their examples with their weights.
DataSize size_of_sources(const std::vector<SftSource>& sources, const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<TokenId>& stops) {
  double rows = 0, tokens = 0;
  for (const SftSource& source : sources) {
    SftRowOptions options = source.rows;
    options.max_length = 0;  // what is too long is counted whole: what becomes of it is data.overlong's
    const SftExampleMaker maker(options, tokenizer, stops);
    const auto tokens_of = [&](const Row& row) {
      SftRows made;
      maker.add(row, made);
      double sum = 0;
      for (const SftExample& e : made.examples) sum += static_cast<double>(e.tokens.size());
      return sum;
    };
    DataSize size;
    if (source.generate) {
      const auto some = generate_rows(*source.generate, kSome, "data");
      for (const Row& row : some) size.tokens += tokens_of(row) / static_cast<double>(some.size());
      size.rows = source.generate->rows;
    } else {
      size = size_of_files(options.dataset, tokens_of);
    }
    rows += static_cast<double>(size.rows) * source.weight, tokens += static_cast<double>(size.rows) * source.weight * size.tokens;
  }
  return {static_cast<std::int64_t>(rows), rows > 0 ? tokens / rows : 0};
}

// An evaluation inside a training run.
void add_evaluation(StageLoad& load, const std::optional<DataSection>& data, const EvalOptions& eval, std::int64_t every, bool at_start, std::int64_t updates) {
  if (!data || (every == 0 && !at_start)) return;
  Drawing d{"evaluation", data->limit, eval.samples + eval.greedy, at_start, eval.sampling.max_new_tokens};
  if (data->generate) d.prompts = data->limit > 0 ? std::min(data->limit, data->generate->rows) : data->generate->rows;
  if (every > 0 && updates > 0) d.times += (updates + every - 1) / every;
  load.drawings.push_back(d);
}

void read_model(StageLoad& load, const ModelSection& model, const TrainSection& train, const OutputSection& output, bool lora) {
  load.model = model.path, load.dtype = model.dtype, load.device = model.device, load.lora = lora;
  load.tokens_per_micro_batch = train.tokens_per_micro_batch.value_or(0);
  load.optimizer = train.optimizer;
  load.save_every = output.save_every;
}

}  // namespace

StageLoad load_of(const Recipe& r) {
  StageLoad load;
  read_model(load, r.model, r.train, r.output, r.lora.has_value());
  load.teacher = r.teacher;
  const TrainerOptions& t = r.trainer;
  const std::int64_t per_rollout = std::max<std::int64_t>(1, std::int64_t{r.learner.updates_per_rollout} * r.learner.passes_per_rollout);
  load.drawings.push_back({"rollouts", t.prompts_per_rollout, t.samples_per_prompt, (t.steps + per_rollout - 1) / per_rollout, t.sampling.max_new_tokens});
  load.learns = StageLoad::Learns::kCompletions;
  load.updates = t.steps, load.passes = r.learner.passes_per_rollout;
  load.reference = r.learner.needs_reference(), load.critic = r.learner.critic.has_value();
  load.all_samples = r.learner.needs_every_sample() || !r.teacher.empty();
  // One update a rollout has no old policy but itself.
  load.forward_passes = (load.reference ? 1 : 0) + (load.critic ? 1 : 0) + (r.teacher.empty() ? 0 : 1) + (per_rollout > 1 ? 1 : 0);
  add_evaluation(load, r.eval_data, t.eval, t.eval_every, t.eval_at_start, t.steps);
  load.data = [data = r.data](const auto& tokenizer, const auto&) { return size_of_prompts(data, tokenizer); };
  return load;
}

StageLoad load_of(const SftRecipe& r) {
  StageLoad load;
  read_model(load, r.model, r.train, r.output, r.lora.has_value());
  load.learns = StageLoad::Learns::kExamples;
  load.updates = r.steps.value_or(0), load.per_update = r.trainer.examples_per_update, load.epochs = r.trainer.epochs;
  add_evaluation(load, r.eval_data, r.trainer.eval, r.trainer.loop.eval_every, r.trainer.loop.eval_at_start, load.updates);
  load.data = [sources = r.data.sources](const auto& tokenizer, const auto& stops) { return size_of_sources(sources, tokenizer, stops); };
  return load;
}

StageLoad load_of(const DistillRecipe& r) {
  StageLoad load = load_of(r.base);
  load.teacher = r.teacher;
  load.forward_passes = r.top_k > 0 ? 1.0 / std::max(1.0, r.base.trainer.epochs) : 1;  // a store is made once
  // In mode gkd the student writes the answers of a share of the updates.
  if (r.sampling.max_new_tokens > 0 && r.options.student_share > 0)
    load.drawings.push_back({"the student's answers", std::max<std::int64_t>(1, static_cast<std::int64_t>(r.options.student_share * static_cast<double>(load.per_update))), 1,
                             load.updates, r.sampling.max_new_tokens});
  return load;
}

StageLoad load_of(const PreferenceRecipe& r) {
  StageLoad load;
  read_model(load, r.model, r.train, r.output, false);
  load.learns = StageLoad::Learns::kExamples;
  load.per_update = r.trainer.examples_per_update, load.epochs = r.trainer.epochs;
  load.sequences = r.data.rows.pairs ? 2 : 1;
  load.reference = false;  // DPO's is asked once, before the first update, and then leaves the memory
  load.forward_passes = r.reward_model ? 0 : 1 / std::max(1.0, r.trainer.epochs);
  load.data = [options = r.data.rows](const auto& tokenizer, const auto& stops) {
    PreferenceRowOptions some = options;
    const DataSize rows = size_of_files(some.sft.dataset, [](const Row&) { return 0.0; });
    some.sft.dataset.limit = kSome;
    if (some.sft.max_length == 0) some.sft.max_length = 1 << 24;
    const PreferenceRows loaded = load_preference_rows(some, tokenizer, stops);
    double tokens = 0;
    for (const TrainSample& s : loaded.set.samples) tokens += static_cast<double>(s.tokens.size());
    return DataSize{rows.rows, loaded.set.samples.empty() ? 0 : tokens / static_cast<double>(loaded.set.samples.size())};
  };
  return load;
}

StageLoad load_of(const GenerateRecipe& r) {
  StageLoad load;
  if (r.mix || !r.from.empty()) return load;
  load.keeps_samples = true;
  std::vector<std::string> models;
  for (const EngineSection& e : r.engines) {
    if (std::find(models.begin(), models.end(), e.model) != models.end()) continue;
    models.push_back(e.model);
    if (!e.url.empty()) continue;  // somebody else's time
    load.model = e.model, load.dtype = e.dtype, load.device = e.device;
    Drawing d{"samples", r.data.limit, e.samples, 1, e.sampling.max_new_tokens};
    if (r.data.generate) d.prompts = r.data.limit > 0 ? std::min(r.data.limit, r.data.generate->rows) : r.data.generate->rows;
    load.drawings.push_back(d);
  }
  load.data = [data = r.data](const auto& tokenizer, const auto&) { return size_of_prompts(data, tokenizer); };
  return load;
}

StageLoad load_of(const EvalRecipe& r) {
  StageLoad load;
  if (is_url(r.model.name)) return load;
  load.model = r.model.name, load.dtype = parse_dtype(r.model.dtype), load.device = r.model.device;
  const EvalJobOptions& job = r.job;
  const DataSection& data = job.data.section;
  const auto add = [&](const std::string& name, std::int64_t prompts, int samples, int max_new_tokens) {
    const EvalParts parts = eval_parts(job, samples);
    load.drawings.push_back({name, prompts, parts.greedy + parts.samples, 1, job.max_new_tokens_set ? job.sampling.options.max_new_tokens : max_new_tokens});
  };
  for (const std::string& name : job.benchmarks) {
    Benchmark b;
    try {
      b = load_benchmark(name);
    } catch (const Error&) {  // its file is not there: counted as nothing, and named by the plan
      b.name = name, b.sampling.max_new_tokens = job.sampling.options.max_new_tokens;
    }
    add(b.name, data.limit > 0 && b.rows > 0 ? std::min(data.limit, b.rows) : std::max(data.limit, b.rows), b.samples, b.sampling.max_new_tokens);
  }
  if (!job.benchmarks.empty()) return load;
  add("problems", data.generate ? (data.limit > 0 ? std::min(data.limit, data.generate->rows) : data.generate->rows) : data.limit, job.samples,
      job.sampling.options.max_new_tokens);
  load.data = [data](const auto& tokenizer, const auto&) { return size_of_prompts(data, tokenizer); };
  return load;
}

}  // namespace r1
