// One rollout server as its client sees it: a thread connects, and connects again, and gives it the newest weights. For .cpp files of
// r1_rollout_rpc only.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "proto/grpc_engine.h"
#include "proto/rollout_wire.h"
#include "proto/weight_sender.h"
#include "rollout.grpc.pb.h"
#include "weights.grpc.pb.h"

namespace r1 {

// What all links of an engine share, guarded by `mutex`.
struct LinkShared {
  std::mutex mutex;
  std::condition_variable changed;              // anything here or in a link
  std::shared_ptr<PublishedWeights> target;     // the newest weights; null = none were loaded: any will do
  bool publishing = false;                      // the next ones are being made: nobody takes the target
  int readers = 0;                              // links that are taking a target
  bool no_gpu = false;                          // weights cannot be held on this GPU
  std::mutex image_making;                      // locked before `mutex`: one link makes an image that was not there
  std::exception_ptr fatal;                     // of a server that can never be used
  GrpcEngineCounts counts;
  std::deque<std::shared_ptr<const WeightImage>> lingering;  // shared ones that a server may still read, though its call has ended
};

class ServerLink {
 public:
  using Clock = std::chrono::steady_clock;
  // `options` and `shared` outlive it. `tokenizer`: digest, empty = any.
  ServerLink(const GrpcEngineOptions& options, std::string address, std::string tokenizer, LinkShared& shared);
  ~ServerLink();
  ServerLink(const ServerLink&) = delete;
  ServerLink& operator=(const ServerLink&) = delete;

  const std::string& address() const { return address_; }
  wire_rollout::RolloutService::Stub& stub() { return *rollouts_; }

  // With shared.mutex held:
  bool connected() const { return connected_; }
  WeightWay best_way() const;                // by what is known of it
  bool known() const { return !info_.instance().empty(); }
  bool ready() const;                        // connected, with the newest weights, and not full
  const wire_rollout::DescribeReply& info() const { return info_; }
  void lost(const std::string& why);         // connect anew
  void full();                               // it takes no more calls for a moment
  std::string state() const;                 // for messages: "127.0.0.1:7: cannot be reached for 12 s: ..."
  int calls = 0, samples = 0;                // in flight, the engine's account

 private:
  void run();
  void connect(std::unique_lock<std::mutex>& lock);
  void update(std::unique_lock<std::mutex>& lock);
  void took(const PublishedWeights& weights, WeightWay way);
  void failed(const std::shared_ptr<PublishedWeights>& weights, WeightWay way, const grpc::Status& status, std::unique_lock<std::mutex>& lock);
  WeightWay choose_way(const std::shared_ptr<PublishedWeights>& weights, std::unique_lock<std::mutex>& lock);
  bool give_up_way(WeightWay way, const std::string& why);
  std::string cannot_take(WeightWay way) const;  // a reason, or nothing
  std::string wrong_with(const wire_rollout::DescribeReply& info) const;
  void fail(const std::string& what);
  void pause(std::unique_lock<std::mutex>& lock, int failures);
  bool up_to_date() const;
  bool ahead() const;                        // it has newer weights than the target, from another rank of this run

  const GrpcEngineOptions& options_;
  const std::string address_, tokenizer_;
  LinkShared& shared_;
  std::unique_ptr<wire_rollout::RolloutService::Stub> rollouts_;
  std::unique_ptr<wire_weights::WeightService::Stub> weights_;
  std::unique_ptr<WeightSender> sender_;      // of the thread alone

  bool stop_ = false, connected_ = false, held_known_ = false, whole_next_ = false, used_ = false;
  const bool near_;                          // on this machine
  std::set<WeightWay> failed_ways_;
  std::string told_way_;
  WeightKey held_;
  wire_rollout::DescribeReply info_;
  std::string trouble_;                      // why it is not connected
  Clock::time_point since_ = Clock::now(), full_until_{}, connected_at_{};
  int failures_ = 0, damaged_ = 0;           // in a row
  grpc::ClientContext* running_ = nullptr;   // of the thread's call
  std::thread thread_;                       // last
};

bool hopeless(grpc::StatusCode code);              // asking again is no use
std::string describe(const grpc::Status& status);  // "UNAVAILABLE: text"
std::chrono::system_clock::time_point deadline_in(double seconds);

}  // namespace r1
