#include "rollout/engine.h"

#include <unordered_map>
#include <utility>

#include "core/error.h"

namespace r1 {

std::vector<SampleGroup> generate(RolloutEngine& engine, std::vector<RolloutRequest> requests,
                                  const std::function<void(std::size_t, const SampleGroup&)>& on_group) {
  std::vector<SampleGroup> groups(requests.size());
  std::vector<int> missing(requests.size());
  std::unordered_map<RequestId, std::size_t> index;
  std::vector<RequestId> submitted;
  try {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      missing[i] = requests[i].samples;
      groups[i].prompt = requests[i].prompt;
      const RequestId id = engine.submit(std::move(requests[i]));
      submitted.push_back(id);
      index.emplace(id, i);
      groups[i].completions.resize(static_cast<std::size_t>(missing[i]));
    }
  } catch (...) {
    // One request is refused: the others must not stay behind for the next caller's wait().
    for (const RequestId id : submitted) engine.cancel(id);
    engine.wait([](RolloutEvent&&) {});
    throw;
  }
  engine.wait([&](RolloutEvent&& event) {
    if (event.kind != RolloutEvent::Kind::kFinished) return;
    const auto it = index.find(event.request);
    if (it == index.end()) return;  // submitted by somebody else before
    const std::size_t i = it->second;
    groups[i].completions.at(static_cast<std::size_t>(event.sample)) = std::move(event.completion);
    if (--missing[i] == 0 && on_group) on_group(i, groups[i]);
  });
  for (std::size_t i = 0; i < groups.size(); ++i)
    R1_CHECK(missing[i] == 0, "prompt ", groups[i].prompt.id, " misses ", missing[i], " completions");
  return groups;
}

}  // namespace r1
