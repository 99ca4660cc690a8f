// Threads for tasks of very different length (rewards, file writes). Exceptions reach whoever waits for the future.
// Idle threads sleep. For numeric loops there is ComputePool.
#pragma once

#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/bounded_queue.h"

namespace r1 {

class ThreadPool {
 public:
  // `max_queued` tasks may wait; submit() then waits for room. `name` (at most 15 characters) shows in ps and debuggers.
  explicit ThreadPool(int threads, std::size_t max_queued = 1024, const std::string& name = "r1-task");
  // Runs what is queued, then ends.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()); }

  // Thread-safe. A call from one of the pool's own tasks never waits for room: it runs the task itself if the queue is
  // full. (A task that waits for another task of the same pool can still wait forever: do not.)
  template <class F>
  std::future<std::invoke_result_t<std::decay_t<F>>> submit(F&& function) {
    using Result = std::invoke_result_t<std::decay_t<F>>;
    auto task = std::make_shared<std::packaged_task<Result()>>(std::forward<F>(function));
    std::future<Result> future = task->get_future();
    enqueue([task = std::move(task)] { (*task)(); });
    return future;
  }

 private:
  void enqueue(std::function<void()> task);
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace r1
