// One Generate call on the server: events of the engine's loop become messages, one at a time, so that a client that reads slowly finds
// them merged. No thread waits for it. For .cpp files of r1_rollout_rpc only.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <grpcpp/grpcpp.h>

#include "proto/engine_loop.h"
#include "proto/grpc_channel.h"
#include "proto/rollout_wire.h"

namespace r1 {

// Changes completions before they are sent; empty = none.
using CompletionEdit = std::function<void(Completion&)>;

class GenerateStream final : public grpc::ServerWriteReactor<wire_rollout::GenerateReply>, public std::enable_shared_from_this<GenerateStream> {
 public:
  // Ends the call at once with `status`.
  static GenerateStream* refuse(grpc::Status status);
  // Submits to the loop. `on_end` is called when the call has ended, on any thread.
  static std::shared_ptr<GenerateStream> start(EngineLoop& loop, RolloutRequest request, bool stream, CompletionEdit edit, std::function<void(const GenerateStream*)> on_end);
  void cancel();  // its samples end as aborted

 private:
  void pump();
  bool fill();
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  std::mutex mutex_;
  std::unique_ptr<EngineLoop::Call> call_;
  CompletionEdit edit_;
  std::function<void(const GenerateStream*)> on_end_;
  wire_rollout::GenerateReply reply_;
  bool writing_ = false, finished_ = false, last_ = false;
  grpc::Status status_;                   // after the last message
  std::shared_ptr<GenerateStream> self_;   // until gRPC is done with it
};

}  // namespace r1
