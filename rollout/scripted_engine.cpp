#include "rollout/scripted_engine.h"

#include <utility>

#include "core/error.h"

namespace r1 {

ScriptedEngine::ScriptedEngine(Script script) : script_(std::move(script)) {}

RequestId ScriptedEngine::submit(RolloutRequest request) {
  if (request.samples < 1) throw ConfigError(message("prompt ", request.prompt.id, ": samples is ", request.samples, ", must be at least 1"));
  queue_.push_back({next_id_, std::move(request)});
  return next_id_++;
}

void ScriptedEngine::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  cancelled_.insert(id);
}

Completion ScriptedEngine::make(const Pending& pending, int sample) {
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_.contains(pending.id)) return {};  // kAborted, without tokens
  }
  Completion c = script_(pending.request, sample);
  if (c.logprobs.empty()) c.logprobs.assign(c.tokens.size(), 0.f);
  R1_CHECK(c.logprobs.size() == c.tokens.size(), "the script gave ", c.tokens.size(), " tokens and ", c.logprobs.size(), " logprobs");
  if (c.version_runs.empty() && !c.tokens.empty()) c.version_runs.push_back({0, version_, {}});
  return c;
}

void ScriptedEngine::wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) {
  std::vector<Pending> work;
  try {
    while (!(work = std::exchange(queue_, {})).empty()) {  // a callback may submit more
      for (const Pending& p : work) {
        stats_.prompt_tokens += static_cast<std::int64_t>(p.request.prompt.tokens.size());
        for (int sample = 0; sample < p.request.samples; ++sample) {
          RolloutEvent event;
          event.request = p.id;
          event.sample = sample;
          event.completion = make(p, sample);
          stats_.generated_tokens += static_cast<std::int64_t>(event.completion.tokens.size());
          if (stream && !event.completion.tokens.empty())
            on_event({RolloutEvent::Kind::kTokens, p.id, sample, event.completion.tokens, event.completion.text, {}, event.completion.logprobs});
          on_event(std::move(event));
        }
      }
    }
  } catch (...) {
    queue_.clear();
    throw;
  }
  const std::lock_guard lock(mutex_);
  cancelled_.clear();
}

void ScriptedEngine::load_weights(const WeightSnapshot& snapshot) {
  const std::lock_guard lock(mutex_);
  version_ = snapshot.version;
  loaded_.push_back(snapshot.version);
}

}  // namespace r1
