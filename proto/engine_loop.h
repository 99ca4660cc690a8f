// Many clients, one engine: a thread of its own submits and waits, so that all calls share the engine's batch. What a slow
// client has not fetched is merged, hence no larger than its completions.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "rollout/engine.h"

namespace r1 {

struct EngineLoopCounts {  // since the start
  std::int64_t accepted = 0, full = 0, refused = 0, finished = 0, cancelled = 0, failed = 0;  // calls
  int active = 0;
  static constexpr std::array<double, 10> kBounds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};  // seconds
  std::array<std::int64_t, kBounds.size() + 1> first_token{};  // calls by the time until their first event, the last: longer
  double first_token_s = 0;                                    // their sum
};

class EngineLoop {
 public:
  struct Event {
    std::size_t request = 0;  // of the call
    RolloutEvent event;
    std::string failure;      // not empty: the call has ended without a result
    bool refused = false;     // with failure: the engine cannot take the request, now or later
  };

  // One client's requests. Destroying it cancels what has not ended. One thread at a time.
  class Call {
   public:
    ~Call();
    // Nothing once `wait` is over. After a failure, and after the last kFinished, there are no more events.
    std::optional<Event> next(std::chrono::milliseconds wait);
    int unfinished() const { return unfinished_; }  // samples whose kFinished has not been fetched
    // Ends what runs; the samples finish as kAborted, with the tokens they have. Any thread.
    void cancel();

   private:
    friend class EngineLoop;
    struct State;
    Call(EngineLoop& loop, std::shared_ptr<State> state, int samples) : loop_(loop), state_(std::move(state)), unfinished_(samples) {}
    EngineLoop& loop_;
    std::shared_ptr<State> state_;
    int unfinished_;
  };

  // The engine outlives the loop; nobody else submits to it or waits for it.
  EngineLoop(RolloutEngine& engine, int max_calls);
  ~EngineLoop();  // calls are destroyed before
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  // Null if max_calls are running, or after close(). `stream`: kTokens events too. `notify` is called on the engine's thread after events
  // came, possibly once after the call is destroyed: it owns what it touches, and must not wait. Thread-safe.
  std::unique_ptr<Call> submit(std::vector<RolloutRequest> requests, bool stream, std::function<void()> notify = {});
  void close();  // no new calls. Thread-safe
  bool closed() const { return closed_; }
  int max_calls() const { return max_calls_; }
  EngineLoopCounts counts() const;
  // The engine's, at most 100 ms old while it works: asking the engine itself would wait for its step, and lose to the next one.
  EngineStats engine_stats() const;
  WeightVersion weight_version() const { return engine_.weight_version(); }

 private:
  struct Target {
    std::shared_ptr<Call::State> call;
    std::size_t request = 0;
    int samples = 0;  // that have not ended
  };
  void run();
  void take_inbox();
  void start(const std::shared_ptr<Call::State>& call);
  void deliver(RolloutEvent&& event);
  void fail_all(const std::string& why);
  void refresh_stats();

  RolloutEngine& engine_;
  const int max_calls_;
  mutable std::mutex mutex_;  // inbox_, counts_, stats_, ended_
  std::condition_variable come_;
  std::deque<std::shared_ptr<Call::State>> inbox_;
  std::atomic<bool> inbox_filled_{false}, closed_{false};
  EngineLoopCounts counts_;
  EngineStats stats_;
  bool ended_ = false;
  std::chrono::steady_clock::time_point stats_time_{};  // of the thread alone, as what follows
  std::unordered_map<RequestId, Target> running_;
  std::thread thread_;                             // last: it uses the rest
};

}  // namespace r1
