#include "proto/engine_loop.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"

namespace r1 {

using Clock = std::chrono::steady_clock;

struct EngineLoop::Call::State {
  std::mutex mutex;  // locked before the loop's where both are
  std::condition_variable come;
  std::vector<RolloutRequest> requests;  // until they are submitted
  std::vector<RequestId> ids;
  std::deque<Event> events;
  std::map<std::pair<std::size_t, int>, Event*> growing;  // unfetched kTokens event of a sample, which takes more tokens
  bool stream = false, gone = false, ended = false, seen = false, cancelled = false;
  std::function<void()> notify;  // set once, before the loop knows the call
  int unfinished = 0;
  Clock::time_point start = Clock::now();

  void tell() const {
    if (notify) notify();
  }

  // With mutex held.
  void push(Event&& event) {
    if (!event.failure.empty() || event.event.kind == RolloutEvent::Kind::kFinished) {
      events.push_back(std::move(event));
    } else {
      Event*& last = growing[{event.request, event.event.sample}];
      if (last == nullptr) {
        events.push_back(std::move(event));
        last = &events.back();  // a deque's elements stay where they are
      } else {
        RolloutEvent &into = last->event, &from = event.event;
        into.tokens.insert(into.tokens.end(), from.tokens.begin(), from.tokens.end());
        into.logprobs.insert(into.logprobs.end(), from.logprobs.begin(), from.logprobs.end());
        into.text += from.text;
      }
    }
    come.notify_one();
  }
};

std::optional<EngineLoop::Event> EngineLoop::Call::next(std::chrono::milliseconds wait) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.come.wait_for(lock, wait, [&] { return !s.events.empty(); });
  if (s.events.empty()) return std::nullopt;
  Event event = std::move(s.events.front());
  if (!event.failure.empty()) unfinished_ = 0;
  else if (event.event.kind == RolloutEvent::Kind::kFinished) --unfinished_;
  else s.growing.erase({event.request, event.event.sample});
  s.events.pop_front();
  return event;
}

void EngineLoop::Call::cancel() {
  const std::lock_guard lock(state_->mutex);
  state_->cancelled = true;  // requests that are still to be submitted end then
  for (const RequestId id : state_->ids) loop_.engine_.cancel(id);
}

EngineLoop::Call::~Call() {
  bool ended = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->gone = true;
    state_->events.clear();
    state_->growing.clear();
    ended = state_->ended;
    if (!ended)
      for (const RequestId id : state_->ids) loop_.engine_.cancel(id);
  }
  const std::lock_guard lock(loop_.mutex_);
  --loop_.counts_.active;
  if (!ended) ++loop_.counts_.cancelled;
}

EngineLoop::EngineLoop(RolloutEngine& engine, int max_calls) : engine_(engine), max_calls_(max_calls), thread_([this] { run(); }) {}

EngineLoop::~EngineLoop() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  come_.notify_all();
  thread_.join();
}

void EngineLoop::close() { closed_ = true; }

std::unique_ptr<EngineLoop::Call> EngineLoop::submit(std::vector<RolloutRequest> requests, bool stream, std::function<void()> notify) {
  auto state = std::make_shared<Call::State>();
  for (const RolloutRequest& r : requests) state->unfinished += r.samples;
  const int samples = state->unfinished;
  state->requests = std::move(requests);
  state->stream = stream;
  state->notify = std::move(notify);
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || counts_.active >= max_calls_) {
      ++counts_.full;
      return nullptr;
    }
    ++counts_.active;
    ++counts_.accepted;
    inbox_.push_back(state);
    inbox_filled_ = true;
  }
  come_.notify_all();
  return std::unique_ptr<Call>(new Call(*this, std::move(state), samples));
}

EngineLoopCounts EngineLoop::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

EngineStats EngineLoop::engine_stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void EngineLoop::refresh_stats() {
  const EngineStats stats = engine_.stats();
  stats_time_ = Clock::now();
  const std::lock_guard lock(mutex_);
  stats_ = stats;
}

void EngineLoop::run() {
  refresh_stats();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      come_.wait(lock, [&] { return ended_ || !inbox_.empty(); });
      if (inbox_.empty()) return;
    }
    try {
      take_inbox();
      engine_.wait(
          [&](RolloutEvent&& event) {
            deliver(std::move(event));
            if (inbox_filled_) take_inbox();  // new calls join the batch that runs
          },
          true);
    } catch (const std::exception& e) {
      fail_all(e.what());
    }
  }
}

void EngineLoop::take_inbox() {
  std::deque<std::shared_ptr<Call::State>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(inbox_);
    inbox_filled_ = false;
  }
  for (const auto& call : calls) start(call);
}

void EngineLoop::start(const std::shared_ptr<Call::State>& call) {
  std::vector<RolloutRequest> requests;
  {
    const std::lock_guard lock(call->mutex);
    if (call->gone) return;
    requests.swap(call->requests);
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Event refusal;
    try {
      const int samples = requests[i].samples;
      const RequestId id = engine_.submit(std::move(requests[i]));
      running_[id] = {call, i, samples};
      const std::lock_guard lock(call->mutex);
      call->ids.push_back(id);
      if (call->cancelled) engine_.cancel(id);
      if (!call->gone) continue;
      for (const RequestId known : call->ids) engine_.cancel(known);
      return;
    } catch (const ConfigError& e) {
      refusal.failure = e.what();
      refusal.refused = true;
    } catch (const std::exception& e) {
      refusal.failure = e.what();
    }
    {
      const std::lock_guard lock(call->mutex);
      for (const RequestId id : call->ids) engine_.cancel(id);
      if (call->gone) return;
      call->ended = true;
      const std::lock_guard counts_lock(mutex_);
      ++(refusal.refused ? counts_.refused : counts_.failed);
      call->push(std::move(refusal));
    }
    return call->tell();
  }
}

void EngineLoop::deliver(RolloutEvent&& event) {
  const auto found = running_.find(event.request);
  if (found == running_.end()) return;
  const std::shared_ptr<Call::State> call = found->second.call;
  const std::size_t request = found->second.request;
  const bool finished = event.kind == RolloutEvent::Kind::kFinished;
  if (finished || Clock::now() - stats_time_ > std::chrono::milliseconds(100)) refresh_stats();
  if (finished && --found->second.samples == 0) running_.erase(found);
  std::unique_lock lock(call->mutex);
  const bool last = finished && --call->unfinished == 0;
  if (call->gone || call->ended) return;
  call->ended = last;
  if (!call->seen || last) {  // counted before it can be fetched
    const std::lock_guard counts_lock(mutex_);
    counts_.finished += last ? 1 : 0;
    if (!std::exchange(call->seen, true)) {
      const double s = std::chrono::duration<double>(Clock::now() - call->start).count();
      ++counts_.first_token[static_cast<std::size_t>(std::lower_bound(counts_.kBounds.begin(), counts_.kBounds.end(), s) - counts_.kBounds.begin())];
      counts_.first_token_s += s;
    }
  }
  if (!finished && !call->stream) return;
  call->push({request, std::move(event), {}, false});
  lock.unlock();
  call->tell();
}

void EngineLoop::fail_all(const std::string& why) {
  for (auto& [id, target] : std::exchange(running_, {})) {
    {
      const std::lock_guard lock(target.call->mutex);
      if (target.call->gone || std::exchange(target.call->ended, true)) continue;
      const std::lock_guard counts_lock(mutex_);
      ++counts_.failed;
      target.call->push({0, {}, "the model failed: " + why, false});
    }
    target.call->tell();
  }
}

}  // namespace r1
