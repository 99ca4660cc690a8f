// One Generate call of the client, from its start to its status; what arrives goes into an inbox. For .cpp files of r1_rollout_rpc only.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "proto/grpc_token.h"
#include "proto/rollout_wire.h"
#include "proto/server_link.h"

namespace r1 {

class GenerateFlight;

struct FlightInbox {  // guarded by shared.mutex
  struct Arrival {
    std::shared_ptr<GenerateFlight> flight;
    wire_rollout::GenerateReply reply;
    bool ended = false;
    grpc::Status status;  // with ended
  };
  explicit FlightInbox(LinkShared& s) : shared(s) {}
  LinkShared& shared;
  std::deque<Arrival> arrivals;
  int open = 0;  // flights that gRPC is not done with
};

class GenerateFlight final : public grpc::ClientReadReactor<wire_rollout::GenerateReply>, public std::enable_shared_from_this<GenerateFlight> {
 public:
  // What it is about, for the engine: samples [first, first + count) of a request.
  struct Part {
    RequestId request = 0;
    int first = 0, count = 0, attempts = 0, late = 0;
  };
  GenerateFlight(FlightInbox& inbox, ServerLink& link, Part part, std::uint64_t number, std::size_t published)
      : part(part), link(link), number(number), published(published), inbox_(inbox) {}

  // With shared.mutex held. `request` is filled in; the flight lives until its end has arrived.
  void start(double timeout_s, const std::string& token) {
    ++inbox_.open;
    self_ = shared_from_this();
    context_.set_deadline(deadline_in(timeout_s));
    send_token(context_, token);
    link.stub().async()->Generate(&context_, &request, this);
    StartRead(&reply_);
    StartCall();
  }
  void cut() { context_.TryCancel(); }  // its end arrives as CANCELLED

  const Part part;
  ServerLink& link;
  const std::uint64_t number;   // from 1, another one for each
  const std::size_t published;  // number of weights that were published when it started
  wire_rollout::GenerateRequest request;
  int missing = 0;              // samples that have not come, the engine's account

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    {
      const std::lock_guard lock(inbox_.shared.mutex);
      inbox_.arrivals.push_back({self_, std::move(reply_), false, {}});
    }
    inbox_.shared.changed.notify_all();
    reply_.Clear();
    StartRead(&reply_);
  }
  void OnDone(const grpc::Status& status) override {
    std::condition_variable& changed = inbox_.shared.changed;  // the inbox may be gone once the lock is
    const std::lock_guard lock(inbox_.shared.mutex);
    inbox_.arrivals.push_back({std::move(self_), {}, true, status});
    --inbox_.open;
    changed.notify_all();
  }

  FlightInbox& inbox_;
  grpc::ClientContext context_;
  wire_rollout::GenerateReply reply_;
  std::shared_ptr<GenerateFlight> self_;
};

}  // namespace r1
