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

// The wanted groups of those that are whole, in order.
void keep_wanted(std::vector<ScoredGroup>& groups, std::size_t wanted, EarlyStopCounts& counts) {
  std::vector<EarlyStop::Key> keys;
  std::vector<std::int64_t> tokens;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].group.completions.empty()) continue;
    keys.emplace_back(0, i), tokens.push_back(0);
    for (const Completion& c : groups[i].group.completions) {
      const auto length = static_cast<std::int64_t>(c.tokens.size());
      keys.back().first = std::max(keys.back().first, length);
      tokens.back() += length;
    }
  }
  std::vector<ScoredGroup> kept;
  std::vector<std::uint8_t> chosen(keys.size(), 0);
  for (const std::size_t k : shortest(keys, wanted)) chosen[k] = 1;
  for (std::size_t k = 0; k < keys.size(); ++k) {
    ScoredGroup& group = groups[keys[k].second];
    if (chosen[k]) kept.push_back(std::move(group));
    else counts.drop(static_cast<std::int64_t>(group.group.completions.size()), tokens[k]);
  }
  groups = std::move(kept);
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
      // Ranks that run one model together end the same groups at the same step, so news may not come to one of them first.
      news_(options.early_stop.enabled && !ranks_.alone() && !ranks_.parallel().tensor ? std::optional<EarlyStopNews>(std::in_place, *ranks_.session()) : std::nullopt),
      sampler_(engine, ranks_.speaks() ? std::move(scoring) : no_scoring(), journal_,
               {options.samples_per_prompt, options.sampling, options.seed, options.reward_threads, options.async.max_staleness == 0, &ranks_, news_ ? &*news_ : nullptr}) {}

void RolloutCollector::abandon() {
  sampler_.abandon();
  if (!ranks_.alone()) ranks_.session()->give_up();
}

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
  if (options_.async.free_running) {
    // Newer weights came to one rank before it began and to another after: what drew the rollout is at least the oldest of these.
    for (const std::string& bytes : ranks_.gather(bytes_of(std::span<const RolloutWeights>(&weights, 1)), "the rollout's weights"))
      if (const RolloutWeights other = values_of<RolloutWeights>(bytes)[0]; other.step < out.weights.step) out.weights = other;
    keep_versions(known, out.weights.version, trusted_);
  }
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

std::vector<ScoredGroup> RolloutCollector::sample(std::vector<GroupSampler::Item> items, CollectedRollout& rollout, RolloutJournal::Contents& known,
                                                  const std::function<void(const RolloutProgress&)>& progress, std::optional<std::size_t> wanted) {
  const std::size_t total = items.size(), samplers = static_cast<std::size_t>(ranks_.samplers());
  std::vector<GroupSampler::Item> share;
  for (auto i = static_cast<std::size_t>(ranks_.sampler()); i < total; i += samplers) share.push_back(std::move(items[i]));
  ranks_.phase(message("rollout ", rollout.number, ": ", share.size(), " groups"));
  std::vector<ScoredGroup> groups;
  ranks_.agree("the rollout", [&] { groups = sampler_.sample(std::move(share), rollout.number, known, progress, wanted); });
  EarlyStopCounts counts = sampler_.early_stop();
  if (!ranks_.alone()) groups = gather(groups, total, counts);
  if (!wanted) return groups;
  keep_wanted(groups, *wanted, counts);
  counts.report(rollout.metrics, options_.samples_per_prompt);
  return groups;
}

// Every rank's groups in the order of the prompts; what all counted.
std::vector<ScoredGroup> RolloutCollector::gather(std::span<const ScoredGroup> mine, std::size_t total, EarlyStopCounts& counts) const {
  std::string bytes;
  if (ranks_.speaks()) {
    append_record(bytes, bytes_of(std::span<const EarlyStopCounts>(&counts, 1)));
    for (const ScoredGroup& g : mine) append_record(bytes, to_bytes(g));
  }
  const std::vector<std::string> all = ranks_.gather(bytes, "the rollout's groups");
  const auto samplers = static_cast<std::size_t>(ranks_.samplers());
  std::vector<ScoredGroup> out(total);
  counts = {};
  for (std::size_t s = 0; s < samplers; ++s) {
    std::string_view rest = all[static_cast<std::size_t>(ranks_.first_rank(static_cast<int>(s)))];
    counts.add(values_of<EarlyStopCounts>(take_record(rest))[0]);
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
    const bool early = options_.early_stop.enabled && wanted < prompts;
    std::vector<ScoredGroup> groups = sample(std::move(items), out, known, progress, early ? std::optional(wanted) : std::nullopt);
    for (ScoredGroup& g : groups) {
      // In prompt order, so that which groups are kept does not depend on which ended first.
      const bool keep = kept < wanted && (!dynamic.enabled || keeps_group(g));
      kept += keep;
      out.kept.push_back(keep);
      out.groups.push_back(std::move(g));
    }
    ++round;
  } while (dynamic.enabled && kept < wanted && round < dynamic.max_rounds);
  if (!dynamic.enabled) return;
  out.metrics["dynamic_sampling/rounds"] = round;
  out.metrics["dynamic_sampling/kept"] = static_cast<double>(kept);
  out.metrics["dynamic_sampling/sampled"] = static_cast<double>(out.groups.size());
  if (kept < wanted)
    out.messages.push_back(message("rollout ", out.number, ": only ", kept, " of ", wanted, " groups are mixed after ", round,
                                   " rounds (", out.groups.size(), " sampled)"));
}

}  // namespace r1
