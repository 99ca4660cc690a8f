#include "apps/stage_cost.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/format.h"

namespace r1 {
namespace {

constexpr double kPromptTokens = 100, kExampleTokens = 300, kExamples = 10'000;
// Seconds of a pass with its gradients for one without, of as many rows: 6 operations a weight against 2; a GPU's forward pass is the quicker half.
constexpr double kForwardCpu = 3.3, kForwardGpu = 4.5;
// LoRA on a GPU makes no gradient of the weights themselves; on the CPU it is made and projected on the pairs, and the sum is packed anew.
constexpr double kLoraPassGpu = 2.0 / 3, kLoraUpdateGpu = 0.15, kLoraUpdateCpu = 2;
constexpr double kNone = 0.03;  // above what draw_some() says of sixteen groups and more without a signal
constexpr double kSyncs = 9;  // waits for the disk of a rollout: journal, samples, metrics (counted with strace)
constexpr double kTokenizerEntry = 2.5e-6;  // seconds to read one entry of a vocabulary and its merges
constexpr int kGpuRows = 1024, kCpuRows = 128;  // sequences that decode together, unless the recipe says it

double forward_share(const DeviceRates& r) { return 1 / (r.gpu ? kForwardGpu : kForwardCpu); }

// Rows of an example: the two answers of a pair share their prompt.
double example_rows(const StageLoad& load, const StageSizes& s) { return s.example_tokens + (load.sequences - 1) * s.answer; }

double times_of(const Drawing& d, const StageLoad& load, const StageSizes& s) {
  return static_cast<double>(d.times + (d.every > 0 ? (updates_of(load, s) + d.every - 1) / d.every : 0));
}

// Completions that decode at once, of `all`.
double rows_of(const StageLoad& load, const DeviceRates& r, double all) {
  return std::max(1.0, std::min(all, static_cast<double>(load.decode_rows > 0 ? load.decode_rows : r.gpu ? kGpuRows : kCpuRows)));
}

void draw(const Drawing& d, const StageLoad& load, const StageSizes& s, const DeviceRates& r, const ModelSpeeds& speed, StageCost& cost) {
  const double prompts = d.prompts > 0 ? static_cast<double>(d.prompts) : s.examples;
  const double all = prompts * static_cast<double>(d.samples);
  const double mean = std::min(s.new_tokens, static_cast<double>(d.max_new_tokens));
  // The longest of many runs to its end: twice and a half the mean, or the budget. With more than fit at once, places are filled again.
  const double longest = std::min(static_cast<double>(d.max_new_tokens), 2.5 * mean);
  const double steps = longest + (all / rows_of(load, r, all) - 1) * mean;
  const double block = r.gpu ? 64 : 16, common = std::floor(s.common / block) * block;  // whole blocks of keys and values are cached
  const double once = prompts * (s.prompt_tokens - common) * speed.prompt_token  // groups share their prompt
                      + steps * speed.step + all * mean * (speed.token + (s.prompt_tokens + mean / 2) * speed.position);
  const double times = times_of(d, load, s);
  cost.sample += times * once, cost.tokens_drawn += times * all * mean;
  if (load.keeps_samples) cost.other += times * all * r.sample;
}

void learn(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r,
           const ModelSpeeds& speed, StageCost& cost) {
  if (load.learns == StageLoad::Learns::kNothing) return;
  cost.updates = updates_of(load, s);
  // Rows with a backward pass, of all passes; rows of what was drawn or read, once; of those, what is learnt from. Predictors of the first two.
  double trained = 0, seen = 0, learnt = 0, predicted = 0, answered = 0, length = 0;
  if (load.learns == StageLoad::Learns::kCompletions) {
    const Drawing& d = load.drawings.at(0);
    const double answers = static_cast<double>(d.samples) * s.new_tokens, share = load.all_samples ? 1 : s.mixed;
    const auto groups = static_cast<double>(d.times * d.prompts);
    seen = groups * (s.prompt_tokens + answers), learnt = seen * share, trained = learnt * load.passes;
    answered = groups * answers, predicted = answered * share * load.passes, length = s.prompt_tokens + s.new_tokens;
  } else {
    const double examples = load.updates > 0 ? static_cast<double>(load.updates * load.per_update) : load.epochs * s.examples;
    seen = trained = examples * example_rows(load, s);
    predicted = answered = load.scores ? 0 : examples * load.sequences * s.answer, length = s.example_tokens;
  }
  cost.tokens_trained = trained;
  double learning = trained * (speed.train_row + length / 2 * speed.train_position) + predicted * speed.train_predictor;
  if (load.lora && r.gpu) learning *= kLoraPassGpu;
  if (load.critic) learning += trained * speed.train_row;
  const double forward = (seen * speed.train_row + answered * speed.train_predictor) * forward_share(r);
  const double others = load.forward_passes * (teacher ? teacher->active / m.active : 1) + (seen > 0 ? load.old_passes * learnt / seen : 0);
  const double updates = static_cast<double>(cost.updates) * speed.update * (load.lora ? (r.gpu ? kLoraUpdateGpu : kLoraUpdateCpu) : load.critic ? 2 : 1);
  cost.train += learning + others * forward + updates;
}

// Reward models read every completion with its prompt.
void score(const StageLoad& load, const StageSizes& s, const DeviceRates& r, const ModelSpeeds& speed, StageCost& cost) {
  if (load.scorers == 0 || load.learns != StageLoad::Learns::kCompletions) return;
  const Drawing& d = load.drawings.at(0);
  cost.sample += load.scorers * static_cast<double>(d.times * d.prompts * d.samples) * (s.prompt_tokens + s.new_tokens) * speed.train_row * forward_share(r);
}

// Opening, memory that is given for the first time, checkpoints.
double around(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r, const StageCost& cost) {
  double seconds = r.start + (r.gpu || !m.config ? 0 : kTokenizerEntry * static_cast<double>(m.config->vocab_size));
  // Other models are opened too: weights, and packed.
  const auto open = [&](const ModelSize& model) { seconds += r.start + (r.touch > 0 ? 4 * model.parameters / r.touch : 0); };
  for (int i = 0; i < load.scorers; ++i) open(m);
  if (teacher) open(*teacher);
  const bool trains = load.learns != StageLoad::Learns::kNothing;
  if (r.touch > 0) {
    double bytes = (trains ? 6 : 4) * m.parameters;  // weights, packed, and packed the other way round
    if (trains) bytes += (load.lora ? 4 : 16) * m.parameters + rows_at_once(load, s, load.tokens_per_micro_batch) * static_cast<double>(m.kept_bytes_per_token);
    seconds += bytes / r.touch;
  }
  if (!trains || r.disk <= 0) return seconds;
  // Weights, master and two moments.
  const double saves = load.save_every > 0 ? std::ceil(static_cast<double>(cost.updates) / static_cast<double>(load.save_every)) : 1;
  return seconds + saves * (load.lora ? 2 : 14) * m.parameters * (load.critic ? 2 : 1) / r.disk;
}

class Sizes {
 public:
  Sizes(const StageKnown& known, StageSizes& out) : known_(known), out_(out) {}
  // What is expected, else what was measured or read, else what is assumed and why.
  double operator()(const char* name, double measured, const char* from, double otherwise, const std::string& why) {
    const auto given = known_.expect.find(name);
    const bool expected = given != known_.expect.end();
    const double v = expected ? given->second : measured > 0 ? measured : otherwise;
    out_.said.push_back(message(name, " ", human_number(v, 3), " (", expected ? "expect" : measured > 0 ? from : why, ")"));
    return v;
  }

 private:
  const StageKnown& known_;
  StageSizes& out_;
};

}  // namespace

StageSizes stage_sizes(const StageLoad& load, const StageKnown& known) {
  StageSizes s;
  Sizes value(known, s);
  const StageMeasured measured = known.measured.value_or(StageMeasured{});
  const DataSize data = known.data.value_or(DataSize{});
  const char* from = known.data_is_made ? "from the stages before" : "data";
  const bool examples = load.learns == StageLoad::Learns::kExamples;
  if (examples) {
    s.examples = value("examples", static_cast<double>(data.rows), from, kExamples, "assumed");
    s.example_tokens = value("example_tokens", data.tokens, from, kExampleTokens, "assumed");
    s.answer = data.answer > 0 && data.tokens > 0 ? data.answer / data.tokens * s.example_tokens : s.example_tokens / 2;
    s.prompt_tokens = data.tokens > 0 ? s.example_tokens - s.answer : std::min(s.example_tokens, kPromptTokens);
  }
  if (load.yield && !load.yield->mixed.empty() && !known.mixes.empty()) s.makes = mixed_set(*load.yield, known.mixes);
  if (load.drawings.empty()) return s;
  const int budget = load.drawings.at(0).max_new_tokens;
  const Writing writing = known.writing.value_or(assumed_writing(budget));
  if (!examples) s.prompt_tokens = value("prompt_tokens", data.tokens, from, kPromptTokens, "assumed");
  if (!examples) s.common = std::min(static_cast<double>(data.common), s.prompt_tokens);
  const bool evaluated = examples && s.answer > 0 && data.answer > 0;  // what an evaluation meets writes as it was taught to
  s.new_tokens = value("new_tokens", measured.new_tokens, "measured", evaluated ? std::min(s.answer, static_cast<double>(budget)) : mean_written(writing, budget),
                       evaluated ? "as its examples" : writing.why);
  if (load.learns == StageLoad::Learns::kCompletions && !load.all_samples) {
    double mixed = expected_mixed(load.group, writing.right);
    std::string why = writing.right > 0 ? message("of ", human_number(100 * writing.right, 2), " % right, ", writing.why) : "assumed";
    if (load.scorers > 0) mixed = 1, why = "a reward model's scores differ";
    else if (known.signal && *known.signal < kNone) mixed = *known.signal, why = "none drawn just now";  // a model that finds nothing right does not begin to learn
    else if (known.signal) mixed = learnt_mixed(*known.signal, load.group, load.drawings.at(0).times), why = message(human_number(*known.signal, 2), " drawn just now, then as it learns");
    s.mixed = value("mixed", measured.mixed, "measured", mixed, why);
  }
  if (std::any_of(load.drawings.begin(), load.drawings.end(), [](const Drawing& d) { return d.prompts == 0; }) && !examples)
    s.examples = value("examples", static_cast<double>(data.rows), from, kExamples, "assumed");
  if (load.yield) {
    const auto given = known.expect.find("kept");
    const std::int64_t prompts = load.yield->prompts > 0 ? load.yield->prompts : static_cast<std::int64_t>(s.examples);
    const ExpectedSet set = expected_set(*load.yield, prompts, s.prompt_tokens, writing, budget, given == known.expect.end() ? std::nullopt : std::optional(given->second));
    s.makes = set.size;
    s.said.push_back(message("kept ", human_number(set.kept, 3), given != known.expect.end() ? " (expect)" : writing.right > 0 ? " (" + writing.why + ")" : " (assumed)", " = ",
                             set.size.rows, " records of ", human_number(set.size.tokens, 3), " tokens"));
  }
  return s;
}

std::int64_t updates_of(const StageLoad& load, const StageSizes& s) {
  if (load.updates > 0) return load.updates;
  return static_cast<std::int64_t>(std::ceil(load.epochs * s.examples / static_cast<double>(std::max<std::int64_t>(1, load.per_update))));
}

double rows_at_once(const StageLoad& load, const StageSizes& s, std::int64_t budget) {
  double rows = 0;
  if (load.learns == StageLoad::Learns::kCompletions) {
    const Drawing& d = load.drawings.at(0);
    // Of the updates one has so many more groups with a signal than the mean: two standard deviations.
    const double groups = static_cast<double>(d.prompts) / static_cast<double>(load.updates_per_rollout), share = load.all_samples ? 1 : std::clamp(s.mixed, 0.0, 1.0);
    const double most = std::min(1.0, share + 2 * std::sqrt(share * (1 - share) / std::max(1.0, groups)));
    rows = groups * most * (s.prompt_tokens + static_cast<double>(d.samples) * s.new_tokens);
  } else if (load.learns == StageLoad::Learns::kExamples) {
    rows = static_cast<double>(load.per_update) * example_rows(load, s);
  }
  return budget > 0 ? std::min(rows, static_cast<double>(budget)) : rows;
}

StageCost stage_cost(const StageLoad& load, const StageSizes& sizes, const ModelSize& model, const std::optional<ModelSize>& teacher, const DeviceRates& rates,
                     const ModelSpeeds& speeds) {
  StageCost cost;
  if (load.model.empty()) return cost;
  for (const Drawing& d : load.drawings) draw(d, load, sizes, rates, speeds, cost);
  score(load, sizes, rates, speeds, cost);
  learn(load, sizes, model, teacher, rates, speeds, cost);
  cost.other += around(load, sizes, model, teacher, rates, cost);
  if (rates.gpu) return cost;
  cost.processors = cost.seconds();
  cost.sample *= speeds.sample_clock, cost.train *= speeds.train_clock;
  cost.other *= std::max(1.0, rates.threads * speeds.train_clock);  // one thread's work: on a quiet machine that is its time
  if (load.learns == StageLoad::Learns::kCompletions) cost.other += kSyncs * static_cast<double>(load.drawings.at(0).times) * rates.sync;
  return cost;
}

}  // namespace r1
