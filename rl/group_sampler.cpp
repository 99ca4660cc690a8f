#include "rl/group_sampler.h"

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <unordered_map>

#include "core/error.h"
#include "core/signals.h"

namespace r1 {
namespace {
using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
}  // namespace

struct GroupSampler::Work {
  std::uint64_t rollout = 0;
  std::vector<std::uint64_t> indices;
  std::vector<ScoredGroup> groups;
  std::vector<int> missing;  // samples still running, by item
  struct Place { std::size_t item = 0; int first_sample = 0; };
  std::unordered_map<RequestId, Place> places;
  std::vector<std::vector<Score>> scores;         // by item, sample: of completions scored alone
  std::unique_ptr<std::atomic<int>[]> unscored;   // by item
  std::vector<std::future<double>> scoring;       // seconds of each call
  RolloutProgress progress;
  std::optional<EarlyStop> early;
  const std::function<void(const RolloutProgress&)>* told = nullptr;
  Clock::time_point start;
};

GroupSampler::GroupSampler(RolloutEngine& engine, Scoring scoring, RolloutJournal& journal, const Options& options)
    : engine_(engine),
      scoring_(std::move(scoring)),
      journal_(journal),
      options_(options),
      pool_(options.reward_threads, std::size_t{1} << 20, "r1-reward") {}

void GroupSampler::abandon() {
  abandoned_ = true;
  const std::lock_guard lock(requests_mutex_);
  for (const RequestId id : requests_) engine_.cancel(id);
}

void GroupSampler::throw_if_over() const {
  if (abandoned_) throw Interrupted("the rollout was given up");
  if (!options_.interruptible) return throw_if_aborted();
  if (options_.ranks) options_.ranks->throw_if_sampler_stopped();
  else throw_if_stopped();
}

void GroupSampler::group_scored(Work& work, std::size_t item, std::vector<Score> scores) {
  ScoredGroup& group = work.groups[item];
  R1_CHECK(scores.size() == group.group.completions.size(), "prompt ", group.group.prompt.id, ": ", scores.size(),
           " scores for ", group.group.completions.size(), " completions");
  if (scoring_.finish) scoring_.finish(group.group, scores);
  journal_.append_scores(work.indices[item], scores);
  group.scores = std::move(scores);
}

void GroupSampler::completion_finished(Work& work, std::size_t item, std::size_t sample) {
  if (!scoring_.alone || !work.groups[item].scores.empty()) return;
  work.scoring.push_back(pool_.submit([this, &work, item, sample] {
    const auto start = Clock::now();
    const SampleGroup& group = work.groups[item].group;
    std::vector<Score> one = scoring_.alone(SampleGroup{group.prompt, {group.completions[sample]}});
    R1_CHECK(one.size() == 1, "prompt ", group.prompt.id, ": ", one.size(), " scores for one completion");
    work.scores[item][sample] = std::move(one[0]);
    if (work.unscored[item].fetch_sub(1) == 1) group_scored(work, item, std::move(work.scores[item]));
    return seconds_since(start);
  }));
}

void GroupSampler::group_finished(Work& work, std::size_t item) {
  if (scoring_.alone || !work.groups[item].scores.empty()) return;  // the last completion's task does it; the journal had them
  work.scoring.push_back(pool_.submit([this, &work, item] {
    const auto start = Clock::now();
    group_scored(work, item, scoring_.group(work.groups[item].group));
    return seconds_since(start);
  }));
}

void GroupSampler::cancel_lost(Work& work) {
  if (!work.early) return;
  if (EarlyStopNews* news = options_.news) {
    for (const EarlyStop::Key& key : work.early->take_whole()) news->tell(work.rollout, key);
    for (const EarlyStop::Key& key : news->take(work.rollout)) work.early->whole_elsewhere(key);
  }
  for (const std::size_t lost : work.early->take_lost())
    for (const auto& [id, place] : work.places)
      if (place.item == lost) engine_.cancel(id);
}

void GroupSampler::submit_missing(Work& work, std::uint64_t rollout, RolloutJournal::Contents& known) {
  const int samples = options_.samples_per_prompt;
  for (std::size_t i = 0; i < work.groups.size(); ++i) {
    SampleGroup& group = work.groups[i].group;
    group.completions.resize(static_cast<std::size_t>(samples));
    auto& finished = known.completions[work.indices[i]];
    std::erase_if(finished, [&](const auto& entry) { return entry.first >= samples; });
    work.missing[i] = samples - static_cast<int>(finished.size());
    for (auto& [sample, completion] : finished) {
      const auto tokens = static_cast<std::int64_t>(completion.tokens.size());
      work.progress.completions += 1;
      work.progress.tokens += tokens;
      if (work.early) work.early->ended(i, sample, tokens);
      group.completions[static_cast<std::size_t>(sample)] = completion;
    }
    for (int first = 0; first < samples;) {  // runs of samples that are not there
      int end = first;
      while (end < samples && !finished.contains(end)) ++end;
      if (end > first) {
        RolloutRequest request{group.prompt,
                               end - first,
                               options_.sampling,
                               {options_.seed, rollout, work.indices[i], static_cast<std::uint32_t>(first)}};
        work.places.emplace(engine_.submit(std::move(request)), Work::Place{i, first});
      }
      first = end + 1;
    }
    if (const auto scores = known.scores.find(work.indices[i]); work.missing[i] == 0 && scores != known.scores.end())
      work.groups[i].scores = scores->second;
  }
}

void GroupSampler::on_event(Work& work, RolloutEvent&& event) {
  const auto place = work.places.find(event.request);
  if (place == work.places.end()) return;
  const auto [item, first] = place->second;
  const int sample = first + event.sample;
  if (work.early) {
    if (work.early->lost(item)) return;
    if (event.kind == RolloutEvent::Kind::kTokens) work.early->grew(item, sample, static_cast<std::int64_t>(event.tokens.size()));
  }
  if (event.kind == RolloutEvent::Kind::kFinished) {
    const auto tokens = static_cast<std::int64_t>(event.completion.tokens.size());
    if (event.completion.stop != StopReason::kAborted)
      journal_.append_completion(work.indices[item], sample, event.completion);
    work.progress.completions += 1;
    work.progress.tokens += tokens;
    work.progress.seconds = seconds_since(work.start);
    work.groups[item].group.completions[static_cast<std::size_t>(sample)] = std::move(event.completion);
    if (*work.told) (*work.told)(work.progress);
    completion_finished(work, item, static_cast<std::size_t>(sample));
    if (--work.missing[item] == 0) group_finished(work, item);
    if (work.early) work.early->ended(item, sample, tokens);
    throw_if_over();  // the engine drops what is unfinished
  }
  cancel_lost(work);
}

std::vector<ScoredGroup> GroupSampler::sample(std::vector<Item> items, std::uint64_t rollout,
                                              RolloutJournal::Contents& known,
                                              const std::function<void(const RolloutProgress&)>& progress, std::optional<std::size_t> wanted) {
  Work work;
  const auto samples = static_cast<std::size_t>(options_.samples_per_prompt);
  early_stop_ = {};
  work.rollout = rollout;
  work.groups.resize(items.size());
  work.missing.resize(items.size());
  work.scores.assign(items.size(), std::vector<Score>(samples));
  work.unscored = std::make_unique<std::atomic<int>[]>(items.size());
  work.progress.total = static_cast<std::int64_t>(items.size() * samples);
  work.told = &progress;
  for (std::size_t i = 0; i < items.size(); ++i) {
    work.indices.push_back(items[i].index);
    work.groups[i].group.prompt = std::move(items[i].prompt);
    work.unscored[i] = options_.samples_per_prompt;
  }
  if (wanted) work.early.emplace(work.indices, options_.samples_per_prompt, *wanted);
  work.start = Clock::now();
  // Whatever happens, no scoring task may outlive `work`, and nobody cancels requests of the past.
  struct AtEnd {
    GroupSampler& sampler;
    std::vector<std::future<double>>& tasks;
    ~AtEnd() {
      for (auto& t : tasks)
        if (t.valid()) t.wait();
      const std::lock_guard lock(sampler.requests_mutex_);
      sampler.requests_.clear();
    }
  } guard{*this, work.scoring};

  try {
    submit_missing(work, rollout, known);
  } catch (...) {  // one prompt is refused: take the others back
    for (const auto& [id, place] : work.places) engine_.cancel(id);
    engine_.wait([](RolloutEvent&&) {});
    throw;
  }
  {
    const std::lock_guard lock(requests_mutex_);
    for (const auto& [id, place] : work.places) requests_.push_back(id);
    if (abandoned_)
      for (const RequestId id : requests_) engine_.cancel(id);
  }
  for (std::size_t i = 0; i < work.groups.size(); ++i) {
    for (const auto& [sample, completion] : known.completions[work.indices[i]]) completion_finished(work, i, static_cast<std::size_t>(sample));
    if (work.missing[i] == 0) group_finished(work, i);
  }
  cancel_lost(work);
  engine_.wait([&](RolloutEvent&& event) { on_event(work, std::move(event)); }, work.early.has_value());
  times_.generate_s += seconds_since(work.start);
  const auto scoring = Clock::now();
  for (auto& task : work.scoring) times_.reward_cpu_s += task.get();
  times_.reward_wait_s += seconds_since(scoring);
  throw_if_over();
  if (!work.early) return std::move(work.groups);
  early_stop_ = work.early->counts();
  for (std::size_t i = 0; i < work.groups.size(); ++i)
    if (work.early->lost(i)) work.groups[i].group.completions.clear(), work.groups[i].scores.clear();
  return std::move(work.groups);
}

}  // namespace r1
