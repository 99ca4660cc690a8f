#include "proto/rollout_server.h"

#include <map>
#include <random>
#include <thread>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include "core/error.h"
#include "core/version.h"
#include "proto/generate_stream.h"
#include "proto/grpc_token.h"
#include "proto/weight_service.h"
#include "rollout.grpc.pb.h"

namespace r1 {
namespace {

using grpc::StatusCode;

// Running calls by their request id.
class Registry {
 public:
  void add(const std::string& id, const std::shared_ptr<GenerateStream>& stream) {
    const std::lock_guard lock(mutex_);
    running_.emplace(id, stream);
  }
  void remove(const std::string& id, const GenerateStream* stream) {
    const std::lock_guard lock(mutex_);
    for (auto [it, end] = running_.equal_range(id); it != end;) it = it->second.get() == stream ? running_.erase(it) : std::next(it);
  }
  unsigned cancel(const std::string& id) {
    std::vector<std::shared_ptr<GenerateStream>> found;
    {
      const std::lock_guard lock(mutex_);
      for (auto [it, end] = running_.equal_range(id); it != end; ++it) found.push_back(it->second);
    }
    for (const auto& stream : found) stream->cancel();
    return static_cast<unsigned>(found.size());
  }

 private:
  std::mutex mutex_;
  std::multimap<std::string, std::shared_ptr<GenerateStream>> running_;
};

std::string random_instance() {
  std::random_device device;
  return message(std::hex, device(), device());
}

class Service final : public wire_rollout::RolloutService::CallbackService {
 public:
  Service(EngineLoop& loop, const WeightService& weights, ServedRollout served, std::string token)
      : loop_(loop), weights_(weights), served_(std::move(served)), token_(std::move(token)) {
    if (served_.model.tokenizer) tokenizer_ = tokenizer_digest(*served_.model.tokenizer);
  }

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const wire_rollout::DescribeRequest*, wire_rollout::DescribeReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    grpc::Status status = check_token(*context, token_);
    if (status.ok()) describe(*reply);
    reactor->Finish(std::move(status));
    return reactor;
  }

  grpc::ServerWriteReactor<wire_rollout::GenerateReply>* Generate(grpc::CallbackServerContext* context, const wire_rollout::GenerateRequest* wire) override {
    if (grpc::Status status = check_token(*context, token_); !status.ok()) return GenerateStream::refuse(std::move(status));
    if (grpc::Status status = refusal(*wire); !status.ok()) {
      ++refused_;
      return GenerateStream::refuse(std::move(status));
    }
    const std::string id = wire->request_id();
    const auto stream = GenerateStream::start(loop_, from_wire(*wire), wire->stream(), [this](Completion& c) { weights_.name_weights(c); }, [registry = registry_, id](const GenerateStream* ended) { registry->remove(id, ended); });
    if (!stream) {
      ++refused_;
      if (loop_.closed()) return GenerateStream::refuse({StatusCode::UNAVAILABLE, "the server is shutting down"});
      return GenerateStream::refuse({StatusCode::RESOURCE_EXHAUSTED, message(loop_.max_calls(), " calls are running, the limit (--max-calls); try again")});
    }
    ++calls_;
    if (!id.empty()) registry_->add(id, stream);
    return stream.get();
  }

  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context, const wire_rollout::CancelRequest* request, wire_rollout::CancelReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    grpc::Status status = check_token(*context, token_);
    if (status.ok() && !request->request_id().empty()) reply->set_calls(registry_->cancel(request->request_id()));
    reactor->Finish(std::move(status));
    return reactor;
  }

  long calls() const { return calls_; }
  long refused() const { return refused_; }

 private:
  void describe(wire_rollout::DescribeReply& reply) const {
    reply.set_protocol(kRolloutProtocol);
    reply.set_server(std::string("r1 ") + version());
    reply.set_instance(instance_);
    reply.set_model(valid_utf8(served_.model.name));
    reply.set_device(valid_utf8(served_.device));
    reply.set_context(static_cast<std::uint64_t>(served_.model.context));
    std::int64_t vocab = 0;  // a row of the embedding each
    for (const TensorView& t : served_.layout)
      if (t.name == "model.embed_tokens.weight") vocab = t.shape.at(0);
    reply.set_vocab_size(static_cast<std::uint64_t>(vocab));
    reply.set_has_tokenizer(served_.model.tokenizer != nullptr);
    reply.set_tokenizer(tokenizer_);
    reply.set_slots(static_cast<std::uint32_t>(served_.slots));
    reply.set_max_calls(static_cast<std::uint32_t>(loop_.max_calls()));
    reply.set_max_samples(static_cast<std::uint32_t>(served_.model.max_samples));
    to_wire(weights_.in_use(), *reply.mutable_weights());
    if (const WeightDevice* gpu = weights_.device()) {
      reply.set_gpu(gpu->id());
      reply.set_nccl(gpu->nccl_missing().empty());
    }
  }

  // What the engine itself need not be asked for.
  grpc::Status refusal(const wire_rollout::GenerateRequest& r) const {
    const auto no = [](const std::string& text) { return grpc::Status(StatusCode::INVALID_ARGUMENT, valid_utf8(text)); };
    if (r.samples() < 1 || r.samples() > static_cast<std::uint32_t>(served_.model.max_samples))
      return no(message("samples is ", r.samples(), ", must be 1 to ", served_.model.max_samples, " (--max-samples)"));
    if (r.sampling().max_new_tokens() > static_cast<std::uint32_t>(served_.model.max_new_tokens))
      return no(message("max_new_tokens is ", r.sampling().max_new_tokens(), ", the limit is ", served_.model.max_new_tokens, " (--max-new-tokens)"));
    if (r.sampling().stop_strings_size() > 64) return no(message(r.sampling().stop_strings_size(), " stop strings, at most 64 are taken"));
    if (!r.has_expect()) return grpc::Status::OK;
    try {
      const WeightKey expected = from_wire(r.expect()), in_use = weights_.in_use();
      if (expected != in_use)
        return {StatusCode::FAILED_PRECONDITION, message("the call expects weights of ", to_string(expected), ", in use are ", to_string(in_use))};
    } catch (const Error& e) {
      return no(e.what());
    }
    return grpc::Status::OK;
  }

  EngineLoop& loop_;
  const WeightService& weights_;
  const ServedRollout served_;
  const std::string token_, instance_ = random_instance();
  std::string tokenizer_;
  std::shared_ptr<Registry> registry_ = std::make_shared<Registry>();
  std::atomic<long> calls_{0}, refused_{0};
};

}  // namespace

struct RolloutServer::Impl {
  Impl(const RolloutServerOptions& options, EngineLoop& l, RolloutEngine& engine, const ServedRollout& served)
      : loop(l), weights(engine, served, options.token), rollouts(l, weights, served, options.token) {}
  EngineLoop& loop;
  WeightService weights;
  Service rollouts;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  bool drained = false;
};

RolloutServer::RolloutServer(RolloutServerOptions options, EngineLoop& loop, RolloutEngine& engine, ServedRollout served) {
  check_grpc_listen(options.listen, "--grpc");
  if (options.token.empty() && !is_loopback_address(options.listen.address))
    throw ConfigError(message("--grpc ", options.listen.address, " can be reached from other machines; give --token-env, or listen on 127.0.0.1"));
  impl_ = std::make_unique<Impl>(options, loop, engine, served);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  configure(builder, options.listen, "--grpc", options.max_message_mb, 5, &impl_->port);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);  // a client that vanished ends its calls
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);  // updates of weights alone wait in threads
  grpc::ResourceQuota quota("rollout");
  quota.SetMaxThreads(16);
  builder.SetResourceQuota(quota);
  builder.RegisterService(&impl_->rollouts);
  builder.RegisterService(&impl_->weights);
  impl_->server = builder.BuildAndStart();
  if (!impl_->server || impl_->port == 0) fail_to_listen(options.listen);
  for (const char* name : {wire_rollout::RolloutService::service_full_name(), wire_weights::WeightService::service_full_name()})
    impl_->server->GetHealthCheckService()->SetServingStatus(name, true);
}

RolloutServer::~RolloutServer() {
  if (impl_ && impl_->server && !impl_->drained) drain(std::chrono::milliseconds(0));
}

int RolloutServer::port() const { return impl_->port; }

int RolloutServer::drain(std::chrono::milliseconds limit) {
  impl_->drained = true;
  const auto end = std::chrono::steady_clock::now() + limit;
  if (auto* health = impl_->server->GetHealthCheckService()) health->SetServingStatus(false);
  impl_->loop.close();
  while (impl_->loop.counts().active > 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const int cut = impl_->loop.counts().active;
  // Those that ended in time still have their last message to write.
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::min(limit, std::chrono::milliseconds(1000)));
  return cut;
}

RolloutServer::Counts RolloutServer::counts() const {
  return {impl_->rollouts.calls(), impl_->rollouts.refused(), impl_->weights.updates, impl_->weights.failed};
}

}  // namespace r1
