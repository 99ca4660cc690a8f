#include "core/thread_pool.h"

#include <system_error>

#include <pthread.h>

#include "core/error.h"

namespace r1 {
namespace {
thread_local const ThreadPool* own_pool = nullptr;
}

ThreadPool::ThreadPool(int threads, std::size_t max_queued, const std::string& name) : queue_(max_queued) {
  if (threads < 1) throw ConfigError(message("a pool of ", threads, " threads: give 1 or more"));
  threads_.reserve(static_cast<std::size_t>(threads));
  try {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this, name] {
        own_pool = this;
        pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
        while (auto task = queue_.pop()) (*task)();
      });
    }
  } catch (const std::system_error& e) {
    const std::size_t started = threads_.size();
    queue_.close();
    for (auto& thread : threads_) thread.join();
    throw DeviceError(message("cannot start thread ", started + 1, " of ", threads, ": ", e.what(),
                              "; ask for fewer threads or raise the process limit (ulimit -u)"));
  }
}

ThreadPool::~ThreadPool() {
  queue_.close();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::enqueue(std::function<void()> task) {
  if (own_pool == this) {
    if (!queue_.try_push(task)) task();
    return;
  }
  R1_CHECK(queue_.push(std::move(task)), "a task was given to a pool that is being destroyed");
}

}  // namespace r1
