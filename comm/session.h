// One rank's membership in a run: the rendezvous, the communicator, and what a run needs when something goes wrong: who waits for whom,
// the cause of an end on every rank, bounded waits.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "comm/communicator.h"
#include "comm/rendezvous.h"

namespace r1 {

struct SessionOptions {
  double timeout_s = 1800;       // of one wait for other ranks; a slow rank's rollout is such a wait
  double start_timeout_s = 300;  // until all ranks are there
  double silence_s = 60;         // a rank (or rank 0's rendezvous) without a sign of life for so long is lost
  double slow_s = 60;            // a wait of so long is told on rank 0's screen
  double grace_s = 20;           // from the cause of an end until a process that is busy elsewhere is ended with it
};

class Session final : public CommListener {
 public:
  // Meets the other ranks. world 1: alone, nothing is opened; else SIGPIPE is ignored from here on. Throws CommError, ConfigError.
  Session(const Launch& launch, const SessionOptions& options);
  // Some ranks of `all` as a session of their own, numbered 0, 1, ...: for what adds over them (comm/communicator.h). Phases, posts and
  // causes are those of `all`, which outlives it.
  Session(Session& all, std::vector<int> members);
  // Says goodbye; rank 0 waits for the others', as it holds the rendezvous.
  ~Session() override;

  const Launch& launch() const { return launch_; }
  int rank() const { return launch_.rank; }
  int world() const { return launch_.world; }
  Communicator& comm() { return *comm_; }  // host memory
  // Of device memory, with world > 1: made at the first call, which is a collective operation.
  Communicator& device_comm();

  // What this rank does now, for whoever waits for it: "rollout 3: generation".
  void phase(const std::string& text);
  // Ends the run on all ranks, with this rank's `cause`, unless it has ended by another one. Returns once that is known.
  void fail(const std::string& cause);
  // Bytes to rank 0: its handler gets them in the order of each rank. Set the handler before others post.
  void post(const std::string& payload);
  void set_post_handler(std::function<void(int rank, std::string_view payload)> handler);

  void waiting(const char* what) override;
  void done() override;
  [[noreturn]] void broken(const char* what, const std::string& detail) override;

 private:
  bool tick();  // of the client's thread
  Launch launch_;
  SessionOptions options_;
  Session* all_ = nullptr;  // of a part
  std::vector<int> members_;
  std::unique_ptr<RendezvousServer> server_;  // rank 0
  std::unique_ptr<Communicator> comm_, device_comm_;
  std::mutex mutex_;  // everything below
  std::string phase_ = "start", wait_;
  CommClock::time_point since_;
  bool told_wait_ = false;
  std::string cause_;
  CommClock::time_point ended_;
  std::atomic<Communicator*> abort_first_{nullptr}, abort_second_{nullptr};
  std::unique_ptr<RendezvousClient> client_;  // last: its thread uses the rest
};

// Calls phase() where there is a session.
inline void enter_phase(Session* session, const std::string& text) {
  if (session) session->phase(text);
}

}  // namespace r1
