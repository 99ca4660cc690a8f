#include "rl/rollout_collector.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/serialize.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;

// Of a journal whose weights may have changed within a rollout: what weights of [oldest, newest] drew, and the scores of nothing else.
void keep_versions(RolloutJournal::Contents& known, WeightVersion oldest, WeightVersion newest) {
  for (auto& [prompt, completions] : known.completions) {
    const std::size_t before = completions.size();
    std::erase_if(completions, [&](const auto& entry) {
      const auto& runs = entry.second.version_runs;
      return !std::all_of(runs.begin(), runs.end(), [&](const VersionRun& r) { return r.version >= oldest && r.version <= newest; });
    });
    if (completions.size() != before) known.scores.erase(prompt);
  }
}

// Of a rank that samples with another, which scores for both.
Scoring no_scoring() {
  Scoring out;
  out.group = [](const SampleGroup& g) { return std::vector<Score>(g.completions.size()); };
  return out;
}

}  // namespace

RolloutCollector::RolloutCollector(RolloutEngine& engine, const PromptStream& prompts, Scoring scoring, const std::filesystem::path& journal,
                                   const TrainerOptions& options, const Ranks* ranks)
    : engine_(engine), prompts_(prompts), options_(options), ranks_(ranks ? *ranks : one_process_), journal_(journal, &ranks_),
      sampler_(engine, ranks_.speaks() ? std::move(scoring) : no_scoring(), journal_,
               {options.samples_per_prompt, options.sampling, options.seed, options.reward_threads, options.async.max_staleness == 0, &ranks_}) {}

Digest RolloutCollector::fingerprint(std::uint64_t number, std::uint64_t cursor, const WeightDigest& weights) const {
  Hasher h;
  h.update_field(options_.config_digest);
  h.update_field(options_.device);
  h.update(weights.data(), weights.size());
  h.update_field(message(options_.seed, " ", number, " ", cursor, " ", options_.samples_per_prompt));
  return h.digest();
}

CollectedRollout RolloutCollector::collect(std::uint64_t number, std::uint64_t cursor, const RolloutWeights& weights,
                                           const std::function<void(const RolloutProgress&)>& progress) {
  const auto start = Clock::now();
  CollectedRollout out;
  out.number = number, out.cursor = cursor, out.weights = weights;
  sampler_.reset_times();
  RolloutJournal::Contents known = journal_.open(number, fingerprint(number, cursor, weights.digest));
  if (options_.async.free_running) keep_versions(known, weights.version, trusted_);
  if (!known.scores.empty()) out.messages.push_back(message("rollout ", number, ": ", known.scores.size(), " scored groups found in the journal"));
  const EngineStats before = engine_.stats();
  sample_groups(out, std::move(known), progress);
  const EngineStats after = engine_.stats();
  if (const double drafted = ranks_.sum(static_cast<double>(after.drafted_tokens - before.drafted_tokens), "drafts"),
      accepted = ranks_.sum(static_cast<double>(after.accepted_tokens - before.accepted_tokens), "drafts"); drafted > 0)
    out.metrics["rollout/draft_acceptance"] = accepted / drafted;
  out.times = sampler_.times();
  out.times.generate_s = ranks_.largest(out.times.generate_s, "times");
  out.times.reward_wait_s = ranks_.largest(out.times.reward_wait_s, "times");
  out.times.reward_cpu_s = ranks_.sum(out.times.reward_cpu_s, "times");
  out.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return out;
}

std::vector<ScoredGroup> RolloutCollector::sample(std::vector<GroupSampler::Item> items, std::uint64_t number, RolloutJournal::Contents& known,
                                                  const std::function<void(const RolloutProgress&)>& progress) {
  const std::size_t total = items.size(), samplers = static_cast<std::size_t>(ranks_.samplers());
  std::vector<GroupSampler::Item> share;
  for (auto i = static_cast<std::size_t>(ranks_.sampler()); i < total; i += samplers) share.push_back(std::move(items[i]));
  ranks_.phase(message("rollout ", number, ": ", share.size(), " groups"));
  std::vector<ScoredGroup> mine;
  ranks_.agree("the rollout", [&] { mine = sampler_.sample(std::move(share), number, known, progress); });
  std::string bytes;
  for (const ScoredGroup& g : mine)
    if (ranks_.speaks()) append_record(bytes, to_bytes(g));
  const std::vector<std::string> all = ranks_.gather(bytes, "the rollout's groups");
  std::vector<ScoredGroup> out(total);
  for (std::size_t s = 0; s < samplers; ++s) {
    std::string_view rest = all[static_cast<std::size_t>(ranks_.first_rank(static_cast<int>(s)))];
    for (std::size_t i = s; i < total; i += samplers) out[i] = scored_group_from_bytes(take_record(rest));
  }
  return out;
}

void RolloutCollector::sample_groups(CollectedRollout& out, RolloutJournal::Contents known,
                                     const std::function<void(const RolloutProgress&)>& progress) {
  const DynamicSamplingOptions& dynamic = options_.dynamic;
  const auto wanted = static_cast<std::size_t>(options_.prompts_per_rollout);
  const double factor = dynamic.enabled ? dynamic.oversample : options_.early_stop.enabled ? options_.early_stop.oversample : 1.0;
  std::size_t kept = 0;
  int round = 0;
  do {
    const auto prompts = static_cast<std::size_t>(std::ceil(static_cast<double>(wanted - kept) * factor));
    std::vector<GroupSampler::Item> items;
    for (std::size_t i = 0; i < prompts; ++i, ++out.cursor) items.push_back({out.cursor, prompts_.at(out.cursor)});
    std::vector<ScoredGroup> groups = ranks_.alone() ? sampler_.sample(std::move(items), out.number, known, progress, options_.early_stop.enabled ? wanted : ~std::size_t{0})
                                                     : sample(std::move(items), out.number, known, progress);
    for (ScoredGroup& g : groups) {
      // In prompt order, so that which groups are kept does not depend on which ended first.
      const bool keep = kept < wanted && (!dynamic.enabled || keeps_group(g));
      kept += keep;
      out.kept.push_back(keep);
      out.groups.push_back(std::move(g));
    }
    ++round;
  } while (dynamic.enabled && kept < wanted && round < dynamic.max_rounds);
  out.metrics = sampler_.early_stop();
  if (!dynamic.enabled) return;
  out.metrics["dynamic_sampling/rounds"] = round;
  out.metrics["dynamic_sampling/kept"] = static_cast<double>(kept);
  out.metrics["dynamic_sampling/sampled"] = static_cast<double>(out.groups.size());
  if (kept < wanted)
    out.messages.push_back(message("rollout ", out.number, ": only ", kept, " of ", wanted, " groups are mixed after ", round,
                                   " rounds (", out.groups.size(), " sampled)"));
}

}  // namespace r1
