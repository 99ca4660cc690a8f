#include "rewards/users/worker_reward.h"

#include <array>

#include "core/error.h"
#include "core/log.h"

namespace r1 {

OnError read_on_error(ConfigReader& options) {
  return options.get_choice("on_error", "stop", std::array<std::string, 2>{"stop", "abstain"}) == "stop" ? OnError::kStop : OnError::kAbstain;
}

void read_worker_options(ConfigReader& options, double start_timeout_s, WorkerPool::Options& out) {
  out.workers = options.get_in<int>("workers", 1, 1, 256);
  out.timeout_s = options.get_in<double>("timeout", 60, 0.001, 86'400);
  out.start_timeout_s = options.get_in<double>("start_timeout", start_timeout_s, 0.001, 86'400);
}

void score_batch(OnError on_error, std::string_view name, std::span<RewardResult> out,
                 const std::function<UserReply()>& ask) {
  const auto abstain = [&](Verdict verdict, const char* what) {
    abstain_all(out, verdict, what);
    log_warning("reward.abstained", {{"text", message("reward ", name, " abstains for ", out.size(), " completions (on_error: abstain): ", what)}});
  };
  try {
    fill_results(ask(), out);
  } catch (const Interrupted&) { throw;
  } catch (const WorkerTimeout& e) {
    if (on_error == OnError::kStop) throw;
    abstain(Verdict::kTimeout, e.what());
  } catch (const Error& e) {
    if (on_error == OnError::kStop) throw;
    abstain(Verdict::kError, e.what());
  }
}

WorkerReward::WorkerReward(std::string name, WorkerPool::Options options, OnError on_error)
    : name_(std::move(name)), what_(options.what), workers_(options.workers), on_error_(on_error),
      pool_(std::make_unique<WorkerPool>(std::move(options))) {}

void WorkerReward::score(const SampleGroup& group, std::span<RewardResult> out) const {
  const std::uint64_t id = next_id_.fetch_add(1);
  score_batch(on_error_, name_, out, [&] {
    const std::string reply = pool_->call(write_request(id, group));
    return with_context(what_, [&] { return parse_reply(reply, id); });
  });
}

}  // namespace r1
