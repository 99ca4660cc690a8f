// Several copies of one line-answering program, each busy with one request at a time.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.h"
#include "rewards/users/child_process.h"

namespace r1 {

// No answer within the time that a request has.
class WorkerTimeout : public Error { public: using Error::Error; };

class WorkerPool {
 public:
  struct Options {
    std::vector<std::string> argv;
    std::string what;             // "command ./score": stands in errors and in the log
    int workers = 1;
    double start_timeout_s = 60;  // from the start to the answer to `hello`
    double timeout_s = 60;        // for each request, once a worker has it
    std::string hello;            // the first line each worker gets
    std::function<void(const std::string& reply)> check_hello;  // throws for an answer that will not do
  };

  // Starts all workers and waits until each has said hello; throws Error for the first that does not.
  explicit WorkerPool(Options options);
  ~WorkerPool();

  // The reply to one request; waits for a free worker first. Thread-safe. A worker that dies is started anew and asked
  // once more (a warning in the log); if that one dies too, Error with how it ended and its last stderr lines. A worker
  // that is late is killed: WorkerTimeout. What workers write to stderr goes to the log, event "reward.output".
  std::string call(const std::string& request);

 private:
  struct Spawner;  // the thread that makes the processes: the kernel ends them with it
  using Worker = std::unique_ptr<ChildProcess>;
  Worker take();
  void give_back(Worker worker);
  Worker spawn();
  void greet(ChildProcess& worker);
  void log_errors(ChildProcess& worker);
  std::string ended(ChildProcess& worker);

  Options options_;
  std::unique_ptr<Spawner> spawner_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Worker> free_;  // null = to be started when needed
};

}  // namespace r1
