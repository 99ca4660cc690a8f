#include "apps/stage_load.h"

#include <algorithm>

#include "apps/runtime.h"
#include "core/error.h"
#include "rl/eval/benchmark.h"
#include "rl/train_samples.h"

namespace r1 {
namespace {

constexpr std::int64_t kSome = 200;            // rows whose tokens are counted
constexpr std::int64_t kCountedRows = 2'000'000;  // a longer file's rows are not counted to the end

// Files that earlier stages make, all together; none = they are there, or nobody makes them.
std::optional<DataSize> size_of_made(const std::vector<std::string>& paths, const MadeSizes& made) {
  DataSize sum;
  for (const std::string& path : paths) {
    const std::optional<DataSize> one = made(path);
    if (!one) return std::nullopt;
    const auto rows = static_cast<double>(one->rows);
    sum.rows += one->rows, sum.tokens += rows * one->tokens, sum.answer += rows * one->answer;
  }
  if (sum.rows == 0) return std::nullopt;
  sum.tokens /= static_cast<double>(sum.rows), sum.answer /= static_cast<double>(sum.rows);
  return sum;
}

// Rows of files: all are counted, `add` gives the tokens of the first.
DataSize size_of_files(const DatasetOptions& options, const std::function<void(const Row&, DataSize&)>& add) {
  DataSize out;
  RowReader reader(options);
  for (Row row; out.rows < kCountedRows && reader.next(row); ++out.rows)
    if (out.rows < kSome) add(row, out);
  const auto some = static_cast<double>(std::max<std::int64_t>(1, std::min(out.rows, kSome)));
  out.tokens /= some, out.answer /= some;
  return out;
}

DataSize size_of_generated(const GeneratedData& generate, std::int64_t limit, const std::function<void(const Row&, DataSize&)>& add) {
  DataSize out;
  const auto some = generate_rows(generate, kSome, "data");
  for (const Row& row : some) add(row, out);
  out.tokens /= static_cast<double>(some.size()), out.answer /= static_cast<double>(some.size());
  out.rows = limit > 0 ? std::min(limit, generate.rows) : generate.rows;
  return out;
}

DataSize size_of_prompts(const DataSection& data, const std::shared_ptr<const Tokenizer>& tokenizer, const MadeSizes& made) {
  DatasetOptions options = dataset_options(data);
  if (auto size = data.generate ? std::nullopt : size_of_made(options.paths, made); size) {
    size->tokens -= size->answer;  // of these rows only the prompts are asked
    if (data.limit > 0) size->rows = std::min(data.limit, size->rows);
    return *size;
  }
  if (data.generate) options.prompt_column = "prompt";
  const PromptMaker maker(options, tokenizer);
  std::optional<std::vector<TokenId>> common;
  const auto add = [&](const Row& row, DataSize& size) {
    const std::vector<TokenId> tokens = maker.make_prompt(row, row.line).tokens;
    size.tokens += static_cast<double>(tokens.size());
    if (!common) common = tokens;
    const auto same = std::mismatch(common->begin(), common->end(), tokens.begin(), tokens.end()).first;
    common->erase(same, common->end());
  };
  DataSize size = data.generate ? size_of_generated(*data.generate, data.limit, add) : size_of_files(options, add);
  if (common && size.rows > 1) size.common = static_cast<std::int64_t>(common->size());
  return size;
}

// Of several sources: their examples with their weights.
DataSize size_of_sources(const std::vector<SftSource>& sources, const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<TokenId>& stops,
                         const MadeSizes& made) {
  double rows = 0, tokens = 0, answer = 0;
  for (const SftSource& source : sources) {
    SftRowOptions options = source.rows;
    options.max_length = 0;  // what is too long is counted whole: what becomes of it is data.overlong's
    const auto measure = [&] {
      const SftExampleMaker maker(options, tokenizer, stops);
      const auto add = [&](const Row& row, DataSize& size) {
        SftRows found;
        maker.add(row, found);
        for (const SftExample& e : found.examples) size.tokens += static_cast<double>(e.tokens.size()), size.answer += static_cast<double>(trained_tokens(e));
      };
      return source.generate ? size_of_generated(*source.generate, 0, add) : size_of_files(options.dataset, add);
    };
    const auto known = source.generate ? std::nullopt : size_of_made(options.dataset.paths, made);
    const DataSize size = known ? *known : measure();
    const double times = static_cast<double>(size.rows) * source.weight;
    rows += times, tokens += times * size.tokens, answer += times * size.answer;
  }
  return {static_cast<std::int64_t>(rows), rows > 0 ? tokens / rows : 0, rows > 0 ? answer / rows : 0};
}

// Pairs count as one row, with the tokens of one of their two answers.
DataSize size_of_preferences(const PreferenceDataSection& data, const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<TokenId>& stops) {
  PreferenceRowOptions options = data.rows;
  options.sft.max_length = 1 << 24;
  std::vector<Row> first;
  const auto add = [&](const Row& row, DataSize&) { first.push_back(row); };
  DataSize size = data.generate ? size_of_generated(*data.generate, options.sft.dataset.limit, add) : size_of_files(options.sft.dataset, add);
  const PreferenceRows made = make_preference_rows(first, options, tokenizer, stops);
  const double answers = std::max(1.0, static_cast<double>(made.set.samples.size()));
  for (const TrainSample& s : made.set.samples) size.tokens += static_cast<double>(s.tokens.size()) / answers, size.answer += static_cast<double>(trained_tokens(s)) / answers;
  return size;
}

// An evaluation inside a training run.
void add_evaluation(StageLoad& load, const std::optional<DataSection>& data, const EvalOptions& eval, std::int64_t every, bool at_start) {
  if (!data || (every == 0 && !at_start)) return;
  Drawing d{"evaluation", data->limit, eval.samples + eval.greedy, at_start, eval.sampling.max_new_tokens, every, {}};
  if (data->generate) d.prompts = data->limit > 0 ? std::min(data->limit, data->generate->rows) : data->generate->rows;
  else if (data->limit == 0) d.rows = [options = dataset_options(*data)](const MadeSizes& made) {
      const auto known = size_of_made(options.paths, made);
      return known ? known->rows : size_of_files(options, [](const Row&, DataSize&) {}).rows;
    };
  load.drawings.push_back(d);
}

void read_model(StageLoad& load, const ModelSection& model, const TrainSection& train, const OutputSection& output, const std::optional<LoraSection>& lora) {
  load.model = model.path, load.dtype = model.dtype, load.device = model.device;
  if (lora) load.lora = lora->options;
  load.tokens_per_micro_batch = train.tokens_per_micro_batch.value_or(0);
  load.optimizer = train.optimizer, load.recompute = train.recompute;
  load.save_every = output.save_every, load.keep = output.keep, load.samples_every = output.samples_every, load.tensorboard = output.tensorboard;
}

}  // namespace

StageLoad load_of(const Recipe& r) {
  StageLoad load;
  read_model(load, r.model, r.train, r.output, r.lora);
  load.teacher = r.teacher;
  const TrainerOptions& t = r.trainer;
  const std::int64_t per_rollout = std::max<std::int64_t>(1, std::int64_t{r.learner.updates_per_rollout} * r.learner.passes_per_rollout);
  load.drawings.push_back({"rollouts", t.prompts_per_rollout, t.samples_per_prompt, (t.steps + per_rollout - 1) / per_rollout, t.sampling.max_new_tokens});
  load.asking = Asking{r.data, t.sampling, t.samples_per_prompt, r.teacher.empty() ? r.rubric : nullptr};
  load.learns = StageLoad::Learns::kCompletions;
  load.decode_rows = r.engine.max_rows, load.group = t.samples_per_prompt, load.record_bytes = r.output.record_gb * 1073741824.0;
  load.updates = t.steps, load.passes = r.learner.passes_per_rollout, load.updates_per_rollout = std::max(1, r.learner.updates_per_rollout);
  load.reference = r.learner.needs_reference(), load.critic = r.learner.critic.has_value();
  load.all_samples = r.learner.needs_every_sample() || !r.teacher.empty();
  load.forward_passes = (load.reference ? 1 : 0) + (load.critic ? 1 : 0) + (r.teacher.empty() ? 0 : 1);
  load.old_passes = 1 - 1.0 / load.updates_per_rollout;  // a rollout's first update has no old policy but itself
  add_evaluation(load, r.eval_data, t.eval, t.eval_every, t.eval_at_start);
  load.data = [data = r.data](const auto& tokenizer, const auto&, const auto& made) { return size_of_prompts(data, tokenizer, made); };
  return load;
}

StageLoad load_of(const SftRecipe& r) {
  StageLoad load;
  read_model(load, r.model, r.train, r.output, r.lora);
  load.learns = StageLoad::Learns::kExamples;
  load.updates = r.steps.value_or(0), load.per_update = r.trainer.examples_per_update, load.epochs = r.trainer.epochs;
  add_evaluation(load, r.eval_data, r.trainer.eval, r.trainer.loop.eval_every, r.trainer.loop.eval_at_start);
  load.data = [sources = r.data.sources](const auto& tokenizer, const auto& stops, const auto& made) { return size_of_sources(sources, tokenizer, stops, made); };
  return load;
}

StageLoad load_of(const DistillRecipe& r) {
  StageLoad load = load_of(r.base);
  load.teacher = r.teacher;
  load.forward_passes = r.top_k > 0 ? 1.0 / std::max(1.0, r.base.trainer.epochs) : 1;  // a store is made once
  // In mode gkd the student writes the answers of a share of the updates.
  if (r.sampling.max_new_tokens > 0 && r.options.student_share > 0)
    load.drawings.push_back({"the student's answers", std::max<std::int64_t>(1, static_cast<std::int64_t>(r.options.student_share * static_cast<double>(load.per_update))), 1,
                             0, r.sampling.max_new_tokens, 1, {}});
  return load;
}

StageLoad load_of(const PreferenceRecipe& r) {
  StageLoad load;
  read_model(load, r.model, r.train, r.output, r.lora);
  load.learns = StageLoad::Learns::kExamples;
  load.per_update = r.trainer.examples_per_update, load.epochs = r.trainer.epochs;
  load.sequences = r.data.rows.pairs ? 2 : 1, load.scores = r.reward_model;
  load.reference = false;  // DPO's is asked once, before the first update, and then leaves the memory
  load.forward_passes = r.reward_model ? 0 : 1 / std::max(1.0, r.trainer.epochs);
  load.data = [data = r.data](const auto& tokenizer, const auto& stops, const auto&) { return size_of_preferences(data, tokenizer, stops); };
  return load;
}

StageLoad load_of(const GenerateRecipe& r) {
  StageLoad load;
  Yield& yield = load.yield.emplace();
  if (r.mix) {
    for (const MixSource& source : r.mix->sources) yield.mixed.emplace_back(source.path, source.weight);
    yield.mixed_rows = r.mix->rows;
    return load;
  }
  const FilterOptions& f = r.curate.filters;
  yield.scored = r.rubric != nullptr, yield.per_prompt = r.curate.per_prompt, yield.correct = f.correct, yield.finished = f.finished;
  yield.selective = f.format || f.language || f.length || f.no_code || r.curate.near || r.curate.min_pass_rate || r.curate.max_pass_rate;
  if (!r.from.empty()) return load;
  load.keeps_samples = true;
  std::vector<std::string> models;
  for (const EngineSection& e : r.engines) {
    if (std::find(models.begin(), models.end(), e.model) != models.end()) continue;
    models.push_back(e.model);
    yield.samples += e.samples;
    if (!e.url.empty()) continue;  // somebody else's time
    load.model = e.model, load.dtype = e.dtype, load.device = e.device;
    Drawing d{"samples", r.data.limit, e.samples, 1, e.sampling.max_new_tokens};
    if (r.data.generate) d.prompts = r.data.limit > 0 ? std::min(r.data.limit, r.data.generate->rows) : r.data.generate->rows;
    load.drawings.push_back(d);
    load.asking = Asking{r.data, e.sampling, e.samples, r.rubric};
    yield.prompts = d.prompts;
  }
  load.data = [data = r.data](const auto& tokenizer, const auto&, const auto& made) { return size_of_prompts(data, tokenizer, made); };
  return load;
}

StageLoad load_of(const EvalRecipe& r) {
  StageLoad load;
  if (is_url(r.model.name)) return load;
  load.evaluates = true;
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
  load.asking = Asking{data, job.sampling.options, 1, nullptr};
  if (eval_parts(job, job.samples).greedy > 0) load.asking->sampling.temperature = 0;
  load.data = [data](const auto& tokenizer, const auto&, const auto& made) { return size_of_prompts(data, tokenizer, made); };
  return load;
}

}  // namespace r1
