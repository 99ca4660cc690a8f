// One rank's membership in a run: the rendezvous, the communicator, and what a run needs when something goes wrong: who waits for whom,
// the cause of an end on every rank, bounded waits.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

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
  // The same ranks with connections of their own, for what a second thread of each does beside the first (one such session at a time).
  // Collective; this one outlives it.
  std::unique_ptr<Session> beside(const std::string& name);
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
  // Bytes to all others, in the order of each rank, whatever they do: their handlers get them on a thread of the session.
  void tell(const std::string& payload);
  void set_tell_handler(std::function<void(std::string_view payload)> handler);
  // Of one that is beside another: this rank does not go on with it. Operations in progress and later ones fail here, which ends no run:
  // why it is so is another thread's to say. Any thread.
  void give_up();

  void waiting(const char* what) override;
  void done() override;
  [[noreturn]] void broken(const char* what, const std::string& detail) override;

 private:
  struct Activity {  // of a thread
    std::string phase = {}, wait = {};
    CommClock::time_point since = {};
    bool told_wait = false;
  };
  Session(Session& all, const std::string& name, int thread);
  Session& root() { return all_ ? all_->root() : *this; }
  void phase_of(int thread, const std::string& text);
  std::string doing() const;  // with mutex_ held
  void to_be_aborted(Communicator& comm);
  void not_to_be_aborted(const Communicator* comm);
  bool tick();  // of the client's thread
  Launch launch_;
  SessionOptions options_;
  Session* all_ = nullptr;  // of a part, or one beside another
  int thread_ = 0;          // 1: beside another
  std::vector<int> members_;
  std::unique_ptr<RendezvousServer> server_;  // rank 0
  std::unique_ptr<Communicator> comm_, device_comm_;
  std::atomic<bool> given_up_{false};
  // Of a root alone:
  std::mutex aborting_;  // the communicators, and whether they were aborted
  std::vector<Communicator*> to_abort_;
  bool aborted_ = false;
  std::mutex mutex_;  // everything below
  std::array<Activity, 2> activities_;  // of the run's thread, of the one beside it
  std::function<void(std::string_view)> tell_handler_;
  std::string cause_;
  CommClock::time_point ended_;
  std::unique_ptr<RendezvousClient> client_;  // last: its thread uses the rest
};

// Calls phase() where there is a session.
inline void enter_phase(Session* session, const std::string& text) {
  if (session) session->phase(text);
}

}  // namespace r1
