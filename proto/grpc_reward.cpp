// `grpc: host:port/name`: the client.
#include "proto/grpc_reward.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <semaphore>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "core/signals.h"
#include "core/suggest.h"
#include "proto/wire.h"
#include "rewards/users/worker_reward.h"

namespace r1 {
namespace {

using Clock = std::chrono::system_clock;  // gRPC's deadlines

struct Options {
  GrpcTarget target;
  GrpcTls tls;
  double timeout_s = 60, start_timeout_s = 60, retry_wait_s = 0.1;
  int retries = 8, concurrency = 16, max_message_bytes = 0;
  OnError on_error = OnError::kStop;
  std::string what() const { return "grpc " + target.address + "/" + target.reward; }
};

Clock::time_point deadline_in(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

std::string random_id() {
  std::random_device device;
  std::string out;
  for (int i = 0; i < 4; ++i) {
    const unsigned value = device();
    for (int shift = 28; shift >= 0; shift -= 4) out += "0123456789abcdef"[(value >> shift) & 15];
  }
  return out;
}

std::string explain(const grpc::Status& status, const Options& o) {
  std::string remedy;
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) remedy = "; is the service running and reachable?";
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) remedy = "; it serves no r1.rewards.v1.RewardService (proto/rewards.proto)";
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED)
    remedy = message("; a message is too long for one side: ours allows ", o.max_message_bytes >> 20, " MiB (max_message_mb), many servers 4 MiB unless told otherwise");
  return message("status ", static_cast<int>(status.error_code()), " (", status.error_message(), ")", remedy);
}

class GrpcReward final : public RewardFunction {
 public:
  explicit GrpcReward(Options options)
      : options_(std::move(options)), free_calls_(options_.concurrency), run_(random_id()) {
    stub_ = wire::RewardService::NewStub(open_channel(options_.target.address, options_.tls, options_.max_message_bytes));
    describe();
  }

  std::string_view name() const override { return options_.target.reward; }
  bool judges_answer() const override { return info_.judges_answer(); }
  int concurrency() const override {
    const int theirs = static_cast<int>(std::min<std::uint32_t>(info_.concurrency(), 1u << 20));
    return theirs > 0 ? std::min(theirs, options_.concurrency) : options_.concurrency;
  }

  std::string check_prompt(const Prompt& prompt) const override {
    for (const std::string& name : info_.required_columns()) {
      if (prompt.columns.contains(name)) continue;
      std::vector<std::string> columns;
      for (const auto& [column, value] : prompt.columns) columns.push_back(column);
      return message("the service needs the column '", name, "'; this row has: ", join_names(columns));
    }
    if (!info_.checks_prompts()) return {};
    wire::CheckPromptRequest request;
    request.set_reward(options_.target.reward);
    to_wire(prompt, *request.mutable_prompt());
    wire::CheckPromptReply reply;
    call("CheckPrompt", options_.timeout_s, [&](grpc::ClientContext& context) { return stub_->CheckPrompt(&context, request, &reply); });
    return reply.problem();
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    score_batch(options_.on_error, name(), out, [&] { return ask(group); });
  }

 private:
  UserReply ask(const SampleGroup& group) const {
    wire::ScoreRequest request;
    request.set_request_id(message(run_, "-", next_id_.fetch_add(1)));
    request.set_reward(options_.target.reward);
    to_wire(group, request);
    if (const std::size_t bytes = request.ByteSizeLong(); bytes > static_cast<std::size_t>(options_.max_message_bytes))
      throw Error(message(options_.what(), ": the group's ", group.completions.size(), " completions make a message of ", bytes, " bytes; the limit is ",
                          options_.max_message_bytes >> 20, " MiB, raise max_message_mb here and at the server"));
    wire::ScoreReply reply;
    {
      free_calls_.acquire();
      struct Release {
        std::counting_semaphore<>& calls;
        ~Release() { calls.release(); }
      } release{free_calls_};
      call("Score", options_.timeout_s, [&](grpc::ClientContext& context) { return stub_->Score(&context, request, &reply); });
    }
    return with_context(options_.what(), [&] { return from_wire(reply, request.request_id()); });
  }

  void describe() {
    wire::DescribeReply reply;
    call("Describe", options_.start_timeout_s, [&](grpc::ClientContext& context) {
      context.set_wait_for_ready(true);  // a service that is still starting
      return stub_->Describe(&context, {}, &reply);
    });
    if (reply.protocol() != kRewardProtocol)
      throw Error(message("the service speaks protocol ", reply.protocol(), ", this program ", kRewardProtocol, " (DescribeReply.protocol)"));
    std::vector<std::string> names;
    for (const wire::RewardInfo& info : reply.rewards()) {
      names.push_back(info.name());
      if (info.name() == options_.target.reward) info_ = info;
    }
    if (!info_.name().empty()) return;
    const std::string near = nearest_name(options_.target.reward, names);
    throw Error(message("the service has no reward '", options_.target.reward, "'", near.empty() ? "" : "; did you mean '" + near + "'?", " It has: ", join_names(names)));
  }

  // Tries again after UNAVAILABLE alone: then the service has not answered, and what it may have done it finds again
  // by the request's id. Throws WorkerTimeout, Error.
  void call(const char* method, double seconds, const std::function<grpc::Status(grpc::ClientContext&)>& once) const {
    const Clock::time_point deadline = deadline_in(seconds);
    double wait = options_.retry_wait_s;
    for (int attempt = 0;; ++attempt, wait = std::min(2 * wait, 5.0)) {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      const grpc::Status status = once(context);
      if (status.ok()) return;
      if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
        throw WorkerTimeout(message(options_.what(), " ", method, ": no answer within ", seconds, " s"));
      if (status.error_code() != grpc::StatusCode::UNAVAILABLE || attempt >= options_.retries)
        throw Error(message(options_.what(), " ", method, ": ", explain(status, options_), attempt > 0 ? message(" (after ", attempt, " retries)") : ""));
      const Clock::time_point until = deadline_in(wait);
      if (until >= deadline) throw WorkerTimeout(message(options_.what(), " ", method, ": no answer within ", seconds, " s; last ", explain(status, options_)));
      log_debug("reward.retry", {{"text", message(options_.what(), " ", method, ": ", explain(status, options_))}, {"attempt", attempt + 1}});
      while (Clock::now() < until) {
        throw_if_stopped();
        std::this_thread::sleep_for(std::min<Clock::duration>(until - Clock::now(), std::chrono::milliseconds(50)));
      }
    }
  }

  Options options_;
  mutable std::counting_semaphore<> free_calls_;
  std::string run_;  // makes request ids unique over all clients of a service
  mutable std::atomic<std::uint64_t> next_id_{1};
  std::unique_ptr<wire::RewardService::Stub> stub_;
  wire::RewardInfo info_;
};

}  // namespace

bool grpc_available() { return true; }

std::unique_ptr<RewardFunction> make_grpc_reward(ConfigReader& options) {
  Options o;
  const char* key = options.has("grpc") ? "grpc" : "name";
  try {
    o.target = parse_grpc_target(options.require<std::string>(key));
  } catch (const ConfigError& e) {
    options.fail(key, e.what());
  }
  o.tls = read_grpc_tls(options, o.target.address, o.target.loopback, key);
  o.timeout_s = options.get_in<double>("timeout", 60, 0.001, 86'400);
  o.start_timeout_s = options.get_in<double>("start_timeout", 60, 0.001, 86'400);
  o.retries = options.get_in<int>("retries", 8, 0, 1000);
  o.retry_wait_s = options.get_in<double>("retry_wait", 0.1, 0.001, 3600);
  o.concurrency = options.get_in<int>("concurrency", 16, 1, 1024);
  o.max_message_bytes = options.get_in<int>("max_message_mb", 64, 1, 1024) << 20;
  o.on_error = read_on_error(options);
  const std::string what = o.what();
  try {
    return std::make_unique<GrpcReward>(std::move(o));
  } catch (const Interrupted&) { throw;
  } catch (const Error& e) {
    options.fail(key, std::string(e.what()).starts_with(what) ? e.what() : message(what, ": ", e.what()));
  }
}

void add_grpc_rewards(RewardContext& context) { context.external["grpc"] = make_grpc_reward; }

}  // namespace r1
