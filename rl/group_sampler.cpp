#include "rl/group_sampler.h"

#include <atomic>
#include <chrono>
#include <future>
#include <unordered_map>

#include "core/error.h"
#include "core/signals.h"

namespace r1 {
namespace {
using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
}  // namespace

struct GroupSampler::Work {
  std::vector<std::uint64_t> indices;
  std::vector<ScoredGroup> groups;
  std::vector<int> missing;  // samples still running, by item
  struct Place { std::size_t item = 0; int first_sample = 0; };
  std::unordered_map<RequestId, Place> places;
  std::vector<std::future<double>> scoring;  // seconds of each call
  RolloutProgress progress;
};

GroupSampler::GroupSampler(RolloutEngine& engine, Scorer scorer, RolloutJournal& journal, const Options& options)
    : engine_(engine),
      scorer_(std::move(scorer)),
      journal_(journal),
      options_(options),
      pool_(options.reward_threads, 4096, "r1-reward") {}

void GroupSampler::group_finished(Work& work, std::size_t item) {
  ScoredGroup& group = work.groups[item];
  if (!group.scores.empty()) return;  // the journal had them
  const std::uint64_t index = work.indices[item];
  work.scoring.push_back(pool_.submit([this, &group, index] {
    const auto start = Clock::now();
    std::vector<Score> scores = scorer_(group.group);
    R1_CHECK(scores.size() == group.group.completions.size(), "prompt ", group.group.prompt.id, ": ", scores.size(),
             " scores for ", group.group.completions.size(), " completions");
    journal_.append_scores(index, scores);
    group.scores = std::move(scores);
    return seconds_since(start);
  }));
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
      work.progress.completions += 1;
      work.progress.tokens += static_cast<std::int64_t>(completion.tokens.size());
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

std::vector<ScoredGroup> GroupSampler::sample(std::vector<Item> items, std::uint64_t rollout,
                                              RolloutJournal::Contents& known,
                                              const std::function<void(const RolloutProgress&)>& progress) {
  Work work;
  work.groups.resize(items.size());
  work.missing.resize(items.size());
  work.progress.total = static_cast<std::int64_t>(items.size()) * options_.samples_per_prompt;
  for (std::size_t i = 0; i < items.size(); ++i) {
    work.indices.push_back(items[i].index);
    work.groups[i].group.prompt = std::move(items[i].prompt);
  }
  const auto start = Clock::now();
  // Whatever happens, no scoring task may outlive `work`.
  struct WaitForScoring {
    std::vector<std::future<double>>& tasks;
    ~WaitForScoring() {
      for (auto& t : tasks)
        if (t.valid()) t.wait();
    }
  } guard{work.scoring};

  try {
    submit_missing(work, rollout, known);
  } catch (...) {  // one prompt is refused: take the others back
    for (const auto& [id, place] : work.places) engine_.cancel(id);
    engine_.wait([](RolloutEvent&&) {});
    throw;
  }
  for (std::size_t i = 0; i < work.groups.size(); ++i)
    if (work.missing[i] == 0) group_finished(work, i);
  engine_.wait([&](RolloutEvent&& event) {
    if (event.kind != RolloutEvent::Kind::kFinished) return;
    const auto place = work.places.find(event.request);
    if (place == work.places.end()) return;
    const auto [item, first] = place->second;
    const int sample = first + event.sample;
    if (event.completion.stop != StopReason::kAborted)
      journal_.append_completion(work.indices[item], sample, event.completion);
    work.progress.completions += 1;
    work.progress.tokens += static_cast<std::int64_t>(event.completion.tokens.size());
    work.progress.seconds = seconds_since(start);
    work.groups[item].group.completions[static_cast<std::size_t>(sample)] = std::move(event.completion);
    if (progress) progress(work.progress);
    if (--work.missing[item] == 0) group_finished(work, item);
    throw_if_stopped();  // the engine drops what is unfinished
  });
  times_.generate_s += seconds_since(start);
  const auto scoring = Clock::now();
  for (auto& task : work.scoring) times_.reward_cpu_s += task.get();
  times_.reward_wait_s += seconds_since(scoring);
  throw_if_stopped();
  return std::move(work.groups);
}

}  // namespace r1
