#include "rewards/users/worker_pool.h"

#include <future>
#include <utility>

#include "core/log.h"
#include "core/thread_pool.h"

namespace r1 {
namespace {

ChildProcess::Clock::time_point deadline_in(double seconds) {
  return ChildProcess::Clock::now() + std::chrono::duration_cast<ChildProcess::Clock::duration>(std::chrono::duration<double>(seconds));
}

std::string with_errors(const std::string& text, const ChildProcess& worker) {
  const std::string errors = worker.last_errors(20, "\n  ");
  return text + (errors.empty() ? "; it wrote nothing to stderr" : "; its last lines on stderr:\n  " + errors);
}

}  // namespace

struct WorkerPool::Spawner {
  ThreadPool thread{1, 16, "r1-spawner"};
};

WorkerPool::WorkerPool(Options options) : options_(std::move(options)), spawner_(std::make_unique<Spawner>()) {
  R1_CHECK(options_.workers > 0, "a pool of ", options_.workers, " workers");
  for (int i = 0; i < options_.workers; ++i) free_.push_back(spawn());  // they get ready side by side
  for (Worker& worker : free_) greet(*worker);
}

WorkerPool::~WorkerPool() {
  // Side by side: each gets a moment to tidy up.
  std::vector<std::future<void>> ends;
  for (Worker& worker : free_) ends.push_back(std::async(std::launch::async, [&worker] { worker.reset(); }));
}

WorkerPool::Worker WorkerPool::spawn() {
  return with_context(options_.what, [&] {
    return spawner_->thread.submit([this] { return std::make_unique<ChildProcess>(options_.argv); }).get();
  });
}

void WorkerPool::greet(ChildProcess& worker) {
  const ChildProcess::Reply reply = worker.exchange(options_.hello, deadline_in(options_.start_timeout_s));
  log_errors(worker);
  switch (reply.end) {
    case ChildProcess::End::kLine: break;
    case ChildProcess::End::kDied: throw Error(message(options_.what, " did not start: it ", ended(worker)));
    case ChildProcess::End::kTimeout:
      throw WorkerTimeout(with_errors(message(options_.what, " was not ready after ", options_.start_timeout_s,
                                              " s (start_timeout)"), worker));
    case ChildProcess::End::kTooLong: throw Error(message(options_.what, ": the first reply line is too long"));
  }
  with_context(options_.what, [&] { options_.check_hello(reply.line); });
}

WorkerPool::Worker WorkerPool::take() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [&] { return !free_.empty(); });
  Worker worker = std::move(free_.back());
  free_.pop_back();
  return worker;
}

void WorkerPool::give_back(Worker worker) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(worker));
  }
  freed_.notify_one();
}

void WorkerPool::log_errors(ChildProcess& worker) {
  for (const std::string& line : worker.take_errors())
    log_info("reward.output", {{"text", options_.what + ": " + line}});
}

std::string WorkerPool::ended(ChildProcess& worker) {
  const std::string how = worker.stop();
  log_errors(worker);
  return with_errors(how, worker);
}

std::string WorkerPool::call(const std::string& request) {
  struct Lease {
    WorkerPool& pool;
    Worker worker;
    ~Lease() { pool.give_back(std::move(worker)); }  // also a place without a worker goes back
  } lease{*this, take()};

  for (int attempt = 0;; ++attempt) {
    if (!lease.worker) {
      Worker fresh = spawn();
      greet(*fresh);
      lease.worker = std::move(fresh);
    }
    ChildProcess& worker = *lease.worker;
    if (const std::string& unasked = worker.unasked(); !unasked.empty()) {
      const std::string text = unasked.substr(0, 200);
      lease.worker.reset();
      throw Error(message(options_.what, " wrote to stdout without being asked: '", text,
                          "'; one reply line a request, anything else to stderr"));
    }
    ChildProcess::Reply reply = worker.exchange(request, deadline_in(options_.timeout_s));
    log_errors(worker);
    switch (reply.end) {
      case ChildProcess::End::kLine: return std::move(reply.line);
      case ChildProcess::End::kTimeout: {
        const std::string text = with_errors(
            message(options_.what, " gave no answer within ", options_.timeout_s,
                    " s; raise `timeout`, or make it faster"), worker);
        worker.stop();
        lease.worker.reset();
        throw WorkerTimeout(text);
      }
      case ChildProcess::End::kTooLong:
        worker.stop();
        lease.worker.reset();
        throw Error(message(options_.what, " wrote a line of more than 256 MiB"));
      case ChildProcess::End::kDied: {
        const std::string how = ended(worker);
        lease.worker.reset();
        if (attempt > 0) throw Error(message(options_.what, " ", how, "\n(it was restarted once for this batch and died again)"));
        log_warning("reward.restart", {{"text", message(options_.what, " ", how, "\n(restarted; the batch is sent again)")}});
      }
    }
  }
}

}  // namespace r1
