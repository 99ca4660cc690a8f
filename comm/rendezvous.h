// Where the ranks of a run meet: a small server in rank 0's process and a connection from every rank, rank 0 included. It holds keys
// (addresses of the transports), knows in which phase each rank is, notices who is gone or silent, and spreads the cause of an end and
// requests to stop.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "comm/launch.h"
#include "comm/socket.h"

namespace r1 {

struct RendezvousOptions {
  double start_timeout_s = 300;  // until every rank is there
  double silence_s = 60;         // of a rank that was there: it counts as lost after so long without a sign of life
  double slow_s = 60;            // rank 0 logs who waits for whom once a wait has taken so long
};

// Between signs of life.
inline std::chrono::duration<double> beat_period(const RendezvousOptions& o) { return std::chrono::duration<double>(o.silence_s / 5 < 2 ? o.silence_s / 5 : 2); }

// How the phase of a rank begins that waits for others.
inline constexpr const char* kWaitMark = "waits in ";

namespace detail {
// hello: "rank world pid host run_id"; welcome; set: "key\0value"; get: "key"; value: "key\0value"; phase; post: to rank 0's handler;
// abort: the cause; stop; bye; beat: a sign of life; tell: to all others' handlers. Both directions where it makes sense.
enum FrameType : std::uint8_t { kHello = 1, kWelcome, kSet, kGet, kValue, kPhase, kPost, kAbort, kStop, kBye, kBeat, kRefused, kTell };
}  // namespace detail

// Serves until destroyed. Its own thread.
class RendezvousServer {
 public:
  RendezvousServer(Socket listener, const Launch& launch, const RendezvousOptions& options);
  ~RendezvousServer();
  // Called on the server's thread for every post, in the order of each sender.
  void set_post_handler(std::function<void(int rank, std::string_view payload)> handler);
  // Waits until every rank has said goodbye or is gone, at most so long.
  void wait_for_goodbyes(double timeout_s);

 private:
  struct Peer {
    Socket socket;
    int rank = -1;  // until it has said hello
    std::string who, phase;
    CommClock::time_point heard, phase_since;
    bool bye = false, gone = false, told_slow = false;
  };
  void serve();
  bool handle(Peer& peer, Frame frame);
  bool greet(Peer& peer, const std::string& hello);
  void lose(Peer& peer, const std::string& how);
  void end(const std::string& cause);
  void send_all(std::uint8_t type, const std::string& payload);
  void tell_slow();
  std::string phases() const;

  Socket listener_;
  Launch launch_;
  RendezvousOptions options_;
  std::mutex mutex_;  // everything below
  std::condition_variable left_;
  std::function<void(int, std::string_view)> post_handler_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::map<std::string, std::string> values_;
  std::vector<std::pair<std::string, Peer*>> waiting_;  // gets of keys that are not there yet
  std::optional<std::string> cause_;
  bool closing_ = false;
  std::thread thread_;
};

// A rank's connection. Thread-safe.
class RendezvousClient {
 public:
  struct Events {  // on the client's thread
    std::function<void(const std::string& cause)> on_abort;  // once
    std::function<void()> on_stop;
    std::function<void(std::string_view payload)> on_tell;  // what another rank told all others
    std::function<bool()> tick;  // called ten times a second; true: a stop is wanted here, which is told to all ranks once
  };
  // Tries until rank 0 serves. Throws CommError after start_timeout_s, naming the address.
  RendezvousClient(const Launch& launch, const RendezvousOptions& options, Events events);
  ~RendezvousClient();  // says goodbye unless the run has ended by a cause

  void set(const std::string& key, const std::string& value);
  std::string get(const std::string& key, double timeout_s);  // waits for it; throws CommError
  void phase(const std::string& text);
  void post(const std::string& payload);
  void tell(const std::string& payload);
  void abort(const std::string& cause);                       // ends the run on all ranks; the first cause stays
  std::optional<std::string> wait_for_cause(double timeout_s);
  std::string local_address() const { return socket_.local_address(); }

 private:
  void listen();
  void send(std::uint8_t type, const std::string& payload);
  void ended(const std::string& cause);

  Launch launch_;
  RendezvousOptions options_;
  Events events_;
  Socket socket_;
  std::mutex send_mutex_;
  std::mutex mutex_;  // everything below
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  std::optional<std::string> cause_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace r1
