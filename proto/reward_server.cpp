#include "proto/reward_server.h"

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <semaphore>
#include <thread>

#include "core/error.h"
#include "core/suggest.h"
#include "core/version.h"
#include "proto/wire.h"

namespace r1 {
namespace {

// Replies by request id, so that a repeated request runs nothing twice. Bounded by count and bytes, oldest first.
class RecentReplies {
 public:
  using Reply = std::shared_ptr<const wire::ScoreReply>;
  // The earlier reply, or one that is being made; or a promise for the caller to keep.
  std::shared_future<Reply> find_or_begin(const std::string& id, std::shared_ptr<std::promise<Reply>>& mine) {
    const std::lock_guard lock(mutex_);
    if (const auto found = replies_.find(id); found != replies_.end()) return found->second.reply;
    mine = std::make_shared<std::promise<Reply>>();
    Entry& entry = replies_[id];
    entry.reply = mine->get_future().share();
    return entry.reply;
  }
  void keep(const std::string& id, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    replies_[id].bytes = bytes;
    bytes_ += bytes;
    order_.push_back(id);
    while (order_.size() > 1 && (order_.size() > 4096 || bytes_ > (std::size_t{64} << 20))) {
      const auto oldest = replies_.find(order_.front());
      bytes_ -= oldest->second.bytes;
      replies_.erase(oldest);
      order_.pop_front();
    }
  }
  void forget(const std::string& id) {
    const std::lock_guard lock(mutex_);
    replies_.erase(id);
  }

 private:
  struct Entry {
    std::shared_future<Reply> reply;
    std::size_t bytes = 0;
  };
  std::mutex mutex_;
  std::map<std::string, Entry> replies_;
  std::deque<std::string> order_;
  std::size_t bytes_ = 0;
};

class Service final : public wire::RewardService::Service {
 public:
  Service(const RewardServerOptions& options, std::vector<ServedReward> rewards)
      : rewards_(std::move(rewards)), slots_(options.concurrency > 0 ? options.concurrency : std::max(1u, std::thread::hardware_concurrency())) {}

  grpc::Status Describe(grpc::ServerContext*, const wire::DescribeRequest*, wire::DescribeReply* reply) override {
    reply->set_protocol(kRewardProtocol);
    reply->set_server(std::string("r1 ") + version());
    for (const ServedReward& r : rewards_) {
      wire::RewardInfo& info = *reply->add_rewards();
      info.set_name(r.name);
      info.set_summary(r.summary);
      info.set_judges_answer(r.reward->judges_answer());
      info.set_checks_prompts(true);
      info.set_concurrency(static_cast<std::uint32_t>(std::max(0, r.reward->concurrency())));
    }
    return grpc::Status::OK;
  }

  grpc::Status CheckPrompt(grpc::ServerContext*, const wire::CheckPromptRequest* request, wire::CheckPromptReply* reply) override {
    const ServedReward* served = find(request->reward());
    if (!served) return unknown(request->reward());
    try {
      reply->set_problem(valid_utf8(served->reward->check_prompt(from_wire(request->prompt()))));
    } catch (const std::exception& e) {
      return {grpc::StatusCode::INTERNAL, valid_utf8(e.what())};
    }
    return grpc::Status::OK;
  }

  grpc::Status Score(grpc::ServerContext* context, const wire::ScoreRequest* request, wire::ScoreReply* reply) override {
    const ServedReward* served = find(request->reward());
    if (!served) return unknown(request->reward());
    ++calls_;
    if (request->request_id().empty()) {  // cannot be repeated
      const InUse slot(slots_);
      score(*served, *request, *reply);
      return grpc::Status::OK;
    }
    std::shared_ptr<std::promise<RecentReplies::Reply>> mine;
    const std::string id = served->name + "\n" + request->request_id();
    const auto future = recent_.find_or_begin(id, mine);
    if (mine) {
      const InUse slot(slots_);
      // Nobody waits any more: the time in the queue was too long.
      if (context->IsCancelled()) {
        recent_.forget(id);
        mine->set_value(nullptr);
        return {grpc::StatusCode::CANCELLED, "the client has gone"};
      }
      auto made = std::make_shared<wire::ScoreReply>();
      score(*served, *request, *made);
      recent_.keep(id, made->ByteSizeLong());
      mine->set_value(made);
    } else {
      ++repeated_;
    }
    const RecentReplies::Reply made = future.get();
    if (!made) return {grpc::StatusCode::UNAVAILABLE, "the first request of this id was cancelled"};
    *reply = *made;
    return grpc::Status::OK;
  }

  RewardServer::Counts counts() const { return {calls_, failed_, repeated_}; }
  int running() const { return running_; }

 private:
  class InUse {
   public:
    explicit InUse(std::counting_semaphore<>& slots) : slots_(slots) { slots_.acquire(); }
    ~InUse() { slots_.release(); }

   private:
    std::counting_semaphore<>& slots_;
  };

  const ServedReward* find(const std::string& name) const {
    const auto r = std::find_if(rewards_.begin(), rewards_.end(), [&](const ServedReward& s) { return s.name == name; });
    return r == rewards_.end() ? nullptr : &*r;
  }
  grpc::Status unknown(const std::string& name) const {
    std::vector<std::string> names;
    for (const ServedReward& r : rewards_) names.push_back(r.name);
    return {grpc::StatusCode::NOT_FOUND, valid_utf8(message("there is no reward '", name, "'; served: ", join_names(names)))};
  }

  void score(const ServedReward& served, const wire::ScoreRequest& request, wire::ScoreReply& reply) {
    ++running_;
    reply.set_request_id(request.request_id());
    try {
      const SampleGroup group = from_wire(request);
      std::vector<RewardResult> results(group.completions.size());
      served.reward->score(group, results);
      to_wire(results, reply);
    } catch (const std::exception& e) {
      ++failed_;
      reply.clear_results();
      reply.set_error(valid_utf8(message(served.name, ": ", e.what())));
    }
    --running_;
  }

  std::vector<ServedReward> rewards_;
  std::counting_semaphore<> slots_;
  RecentReplies recent_;
  std::atomic<long> calls_{0}, failed_{0}, repeated_{0};
  std::atomic<int> running_{0};
};

}  // namespace

struct RewardServer::Impl {
  Impl(const RewardServerOptions& options, std::vector<ServedReward> rewards) : service(options, std::move(rewards)) {}
  Service service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  bool drained = false;
};

RewardServer::RewardServer(RewardServerOptions options, std::vector<ServedReward> rewards) {
  if (rewards.empty()) throw ConfigError("no reward to serve");
  for (std::size_t i = 0; i < rewards.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (rewards[i].name == rewards[k].name) throw ConfigError(message("two rewards are called '", rewards[i].name, "'; give one another name with `as: NAME`"));
  impl_ = std::make_unique<Impl>(options, std::move(rewards));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  const GrpcListen listen{options.listen, options.tls_cert, options.tls_key, options.tls_client_ca};
  configure(builder, listen, "--listen", options.max_message_mb, 60, &impl_->port);
  builder.RegisterService(&impl_->service);
  impl_->server = builder.BuildAndStart();
  if (!impl_->server || impl_->port == 0) fail_to_listen(listen);
}

RewardServer::~RewardServer() {
  if (impl_ && impl_->server && !impl_->drained) drain(std::chrono::milliseconds(0));
}

int RewardServer::port() const { return impl_->port; }

int RewardServer::drain(std::chrono::milliseconds limit) {
  impl_->drained = true;
  if (auto* health = impl_->server->GetHealthCheckService()) health->SetServingStatus(false);
  // A watched connection is told before it is closed.
  std::this_thread::sleep_for(std::min(limit, std::chrono::milliseconds(50)));
  int cut = 0;
  std::thread watch([&] {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (impl_->service.running() > 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    cut = impl_->service.running();
  });
  impl_->server->Shutdown(std::chrono::system_clock::now() + limit);
  watch.join();
  return cut;
}

RewardServer::Counts RewardServer::counts() const { return impl_->service.counts(); }

}  // namespace r1
