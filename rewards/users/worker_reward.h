// What rewards in worker processes have in common: the options beside their key, and a batch from group to results.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/config.h"
#include "rewards/reward.h"
#include "rewards/users/user_reply.h"
#include "rewards/users/worker_pool.h"

namespace r1 {

enum class OnError { kStop, kAbstain };

// on_error: stop (default: a failure of the reward ends the run) or abstain (the group's completions get no value, the
// verdict "timeout" or "error", and the log a warning).
OnError read_on_error(ConfigReader& options);

// Asks and checks. What either throws becomes, with kAbstain, abstentions of the whole group and a warning in the log.
void score_batch(OnError on_error, std::string_view name, std::span<RewardResult> out,
                 const std::function<UserReply()>& ask);

// Reads workers, timeout and start_timeout into pool options.
void read_worker_options(ConfigReader& options, double start_timeout_s, WorkerPool::Options& out);

// A reward whose workers answer write_request() with what parse_reply() reads.
class WorkerReward : public RewardFunction {
 public:
  WorkerReward(std::string name, WorkerPool::Options options, OnError on_error);
  std::string_view name() const override { return name_; }
  void score(const SampleGroup& group, std::span<RewardResult> out) const override;
  int concurrency() const override { return workers_; }

 private:
  std::string name_, what_;
  int workers_;
  OnError on_error_;
  std::unique_ptr<WorkerPool> pool_;
  mutable std::atomic<std::uint64_t> next_id_{1};  // 0 is the hello's
};

}  // namespace r1
