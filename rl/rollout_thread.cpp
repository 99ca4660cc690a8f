#include "rl/rollout_thread.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <pthread.h>

#include "core/error.h"
#include "core/log.h"
#include "core/signals.h"

namespace r1 {
namespace {

constexpr double kEnd = 10;  // seconds that a thread which was told to end gets at least, however short the patience
constexpr auto kGlance = std::chrono::milliseconds(100);  // how late a stop request or a screen may be

double since(std::chrono::steady_clock::time_point start) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }

}  // namespace

RolloutThread::RolloutThread(RolloutEngine& engine, RolloutCollector& collector, const Options& options, Start start)
    : engine_(engine), collector_(collector), options_(options), begin_(start.step), next_(start.rollout), cursor_(start.cursor),
      ready_(std::move(start.ready)), active_(Clock::now()), learner_seen_(active_) {
  R1_CHECK(options.updates_per_rollout > 0 && options.max_staleness > 0, "updates ", options.updates_per_rollout, ", staleness ", options.max_staleness);
  thread_ = std::thread([this] { run(); });
}

RolloutThread::~RolloutThread() {
  std::unique_lock lock(mutex_);
  stop_ = true;
  changed_.notify_all();
  const bool gone = ended_;
  lock.unlock();
  if (!gone) collector_.abandon();
  lock.lock();
  const double patience = std::max(options_.patience_s, kEnd);
  if (!changed_.wait_for(lock, std::chrono::duration<double>(patience), [&] { return ended_; })) {
    // It uses what is about to be destroyed, and nothing that a program may do ends a thread.
    const std::string text = message("the rollout thread did not end within ", patience, " s (", where(), "): the process ends");
    log_error("rollout.stuck", {{"text", text}});
    std::fprintf(stderr, "error: %s\n", text.c_str());
    std::_Exit(1);
  }
  lock.unlock();
  thread_.join();
}

std::int64_t RolloutThread::weights_of(std::uint64_t rollout) const {
  return std::max(first_update(rollout) - options_.max_staleness, begin_);
}

// By a rollout that is not sampled yet.
bool RolloutThread::needed(std::int64_t step) const {
  for (std::uint64_t r = next_; first_update(r) < options_.steps && weights_of(r) <= step; ++r)
    if (weights_of(r) == step) return true;
  return false;
}

bool RolloutThread::startable() const {
  if (first_update(next_) >= options_.steps) return false;
  const std::int64_t wanted = weights_of(next_);
  if (options_.free_running) return offered_ >= wanted;
  return (loaded_ && loaded_->step == wanted) || staged_.contains(wanted);
}

std::string RolloutThread::where() const {
  if (sampling_) return message("it samples rollout ", next_, ", ", progress_.completions, " of ", progress_.total, " completions have ended");
  return message("it waits for the weights of update ", weights_of(next_), " for rollout ", next_);
}

void RolloutThread::throw_if_failed() const {
  if (!error_) return;
  throw_if_aborted();  // another rank ended the run: the cause, as everywhere
  try {
    std::rethrow_exception(error_);
  } catch (const CommError&) {
    throw;
  } catch (...) {
    with_context(message("rollout ", next_), [] { throw; });
  }
}

void RolloutThread::glance() const {
  if (options_.alone) throw_if_stopped();
  else throw_if_aborted();
}

// ---- the thread ----------------------------------------------------------------------------------------------------

void RolloutThread::run() {
  pthread_setname_np(pthread_self(), "r1-rollout");
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  if (!stop_) error_ = error;
  ended_ = true;
  changed_.notify_all();
}

void RolloutThread::work() {
  std::unique_lock lock(mutex_);
  Clock::time_point idle = Clock::now();
  while (!stop_ && first_update(next_) < options_.steps) {
    if (learner_has_engine_ || !startable()) {
      changed_.wait_for(lock, kGlance);
      if (!learner_has_engine_ && since(std::max(idle, learner_seen_)) > options_.patience_s)
        throw Error(message("no weights of update ", weights_of(next_), " came within ", options_.patience_s,
                            " s: the learner does not go on (rl.async.patience_s is the limit)"));
      continue;
    }
    sampling_ = true;
    const std::uint64_t number = next_, cursor = cursor_;
    const double waited = since(idle);
    std::optional<Staged> staged;
    RolloutWeights weights;
    if (const auto at = staged_.find(weights_of(number)); at != staged_.end()) {
      staged = std::move(at->second);
      staged_.erase(at);
      weights = staged->weights;
    } else {
      weights = *loaded_;
    }
    progress_ = {};
    active_ = Clock::now();
    lock.unlock();

    if (staged) engine_.load_weights(staged->copy);
    staged.reset();
    CollectedRollout rollout = collector_.collect(number, cursor, weights, [&](const RolloutProgress& p) {
      const std::lock_guard progress_lock(mutex_);
      progress_ = p;
      ++progress_number_;
      active_ = Clock::now();
    });
    rollout.waited_for_weights_s = waited;

    lock.lock();
    if (!options_.free_running) loaded_ = weights;
    cursor_ = rollout.cursor;
    ready_.push_back(std::move(rollout));
    ++next_;
    sampling_ = false;
    idle = active_ = Clock::now();
    changed_.notify_all();
  }
}

// ---- the learner's side ----------------------------------------------------------------------------------------------

WeightSnapshot RolloutThread::copy_of(WeightSnapshot weights) {
  std::size_t bytes = 0;
  for (const TensorView& t : weights.tensors) bytes += t.bytes();
  std::shared_ptr<std::vector<std::byte>> memory;
  for (const auto& copy : copies_)
    if (copy.use_count() == 1) memory = copy;
  std::atomic_thread_fence(std::memory_order_acquire);  // whoever let it go has read it
  if (!memory) memory = copies_.emplace_back(std::make_shared<std::vector<std::byte>>());
  memory->resize(bytes);
  std::size_t at = 0;
  for (TensorView& t : weights.tensors) {
    R1_CHECK(t.device < 0, "tensor ", t.name, " is not on the host");
    std::memcpy(memory->data() + at, t.data, t.bytes());
    t.data = memory->data() + at;
    at += t.bytes();
  }
  weights.owner = memory;
  return weights;
}

void RolloutThread::offer(std::int64_t step, const GrpoLearner& learner) {
  std::unique_lock lock(mutex_);
  learner_seen_ = Clock::now();
  throw_if_failed();
  if (offered_ == step) return;
  if (!options_.free_running && !needed(step)) {
    offered_ = step;
    return;
  }
  RolloutWeights weights{step, learner.version(), {}};
  if (!options_.free_running && (sampling_ || startable())) {
    lock.unlock();
    weights.digest = learner.digest();
    Staged staged{weights, copy_of(learner.weights_to_save())};
    lock.lock();
    staged_.emplace(step, std::move(staged));
  } else {
    // At rest, or free running: the engine takes weights between two of its steps.
    if (!options_.free_running) learner_has_engine_ = true;
    lock.unlock();
    if (!options_.free_running) weights.digest = learner.digest();
    engine_.load_weights(learner.publish());
    lock.lock();
    loaded_ = weights;
    learner_has_engine_ = false;
  }
  offered_ = step;
  learner_seen_ = Clock::now();
  changed_.notify_all();
}

void RolloutThread::wait_for_thread(std::unique_lock<std::mutex>& lock, const char* what) {
  learner_seen_ = Clock::now();
  throw_if_failed();
  if (since(active_) > options_.patience_s)
    throw Error(message("waiting for ", what, ": nothing has happened in the rollout thread for ", options_.patience_s, " s; ", where(),
                        " (rl.async.patience_s is the limit)"));
  changed_.wait_for(lock, kGlance);
}

CollectedRollout RolloutThread::take(const std::function<void(const RolloutProgress&)>& progress) {
  std::unique_lock lock(mutex_);
  throw_if_failed();
  active_ = std::max(active_, learner_seen_);  // while it only waited for the learner, it was the learner's time
  std::uint64_t told = progress_number_;
  while (ready_.empty()) {
    glance();
    wait_for_thread(lock, "the next rollout");
    if (progress_number_ == told) continue;
    told = progress_number_;
    const RolloutProgress now = progress_;
    lock.unlock();
    progress(now);
    lock.lock();
  }
  CollectedRollout rollout = std::move(ready_.front());
  ready_.pop_front();
  learner_seen_ = Clock::now();
  return rollout;
}

void RolloutThread::rest(std::unique_lock<std::mutex>& lock, bool interruptible) {
  throw_if_failed();
  active_ = std::max(active_, learner_seen_);
  while (sampling_ || startable()) {
    if (interruptible) glance();
    else throw_if_aborted();
    wait_for_thread(lock, "the rollout in progress");
  }
}

void RolloutThread::with_engine(const std::function<void()>& work) {
  struct GiveBack {
    RolloutThread& thread;
    ~GiveBack() {
      const std::lock_guard lock(thread.mutex_);
      thread.learner_has_engine_ = false;
      thread.learner_seen_ = Clock::now();
    }
  };
  std::unique_lock lock(mutex_);
  rest(lock, true);
  if (!options_.free_running) loaded_.reset();
  learner_has_engine_ = true;
  lock.unlock();
  const GiveBack guard{*this};
  work();
}

const std::deque<CollectedRollout>& RolloutThread::at_rest() {
  std::unique_lock lock(mutex_);
  rest(lock, false);
  return ready_;
}

}  // namespace r1
