#include <unistd.h>

#include "comm/communicator.h"
#include "comm/rendezvous.h"

namespace r1 {
namespace {

using namespace detail;
constexpr double kSendTimeout = 10;  // s

std::string hello_of(const Launch& launch) {
  char host[256] = "unknown";
  ::gethostname(host, sizeof host - 1);
  return message(launch.rank, " ", launch.world, " ", ::getpid(), " ", host, " ", launch.run_id);
}

// The answer to hello: welcome, or why not. None: nobody of ours serves there.
std::optional<std::string> ask(Socket& socket, const Launch& launch) {
  if (!socket.send(kHello, hello_of(launch), kSendTimeout)) return std::nullopt;
  const auto deadline = CommClock::now() + std::chrono::seconds(5);
  while (CommClock::now() < deadline) {
    if (!socket.wait_readable(0.5)) continue;
    const bool there = socket.fill();
    if (const auto frame = socket.next()) {
      if (frame->type == kWelcome) return "";
      if (frame->type == kRefused) return frame->payload;
      return std::nullopt;
    }
    if (!there) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

RendezvousClient::RendezvousClient(const Launch& launch, const RendezvousOptions& options, Events events)
    : launch_(launch), options_(options), events_(std::move(events)) {
  const auto deadline = CommClock::now() + std::chrono::duration<double>(options.start_timeout_s);
  std::string last = "nobody answers there";
  while (!socket_.open()) {
    for (int i = 0; i < launch.ports && !socket_.open(); ++i) {
      std::optional<Socket> socket = Socket::connect(launch.master, launch.port + i, 5);
      if (!socket) continue;
      const std::optional<std::string> answer = ask(*socket, launch);
      if (answer && answer->empty()) socket_ = std::move(*socket);
      else last = answer ? "refused: " + *answer : "something else listens there";
    }
    if (socket_.open()) break;
    if (CommClock::now() > deadline)
      throw CommError(message("rank ", launch.rank, " of ", launch.world, " (", launch.launcher, ") found no rank 0 at ", launch.master, ":", launch.port,
                              launch.ports > 1 ? message("-", launch.port + launch.ports - 1) : "", " within ", options.start_timeout_s, " s (", last,
                              "); check MASTER_ADDR and MASTER_PORT, or that rank 0 has started"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  thread_ = std::thread([this] { listen(); });
}

RendezvousClient::~RendezvousClient() {
  bool ended = false;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    ended = cause_.has_value();
  }
  if (!ended) send(kBye, "");
  thread_.join();
}

void RendezvousClient::send(std::uint8_t type, const std::string& payload) {
  const std::lock_guard lock(send_mutex_);
  socket_.send(type, payload, kSendTimeout);  // a server that is gone shows on the receiving side
}

void RendezvousClient::set(const std::string& key, const std::string& value) { send(kSet, key + '\0' + value); }
void RendezvousClient::phase(const std::string& text) { send(kPhase, text); }
void RendezvousClient::post(const std::string& payload) { send(kPost, payload); }
void RendezvousClient::tell(const std::string& payload) { send(kTell, payload); }
void RendezvousClient::abort(const std::string& cause) { send(kAbort, cause); }

std::string RendezvousClient::get(const std::string& key, double timeout_s) {
  {
    const std::lock_guard lock(mutex_);
    values_.erase(key);
  }
  send(kGet, key);
  std::unique_lock lock(mutex_);
  const bool in_time = changed_.wait_for(lock, std::chrono::duration<double>(timeout_s), [&] { return cause_ || values_.contains(key); });
  if (const auto found = values_.find(key); found != values_.end()) return found->second;
  if (cause_) throw CommError(*cause_);
  R1_CHECK(!in_time, "woken without a reason");
  throw CommError(message("rank ", launch_.rank, " waited ", timeout_s, " s for ", key, ", which another rank was to set"));
}

std::optional<std::string> RendezvousClient::wait_for_cause(double timeout_s) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(timeout_s), [&] { return cause_.has_value(); });
  return cause_;
}

void RendezvousClient::ended(const std::string& cause) {
  {
    const std::lock_guard lock(mutex_);
    if (cause_) return;
    cause_ = cause;
  }
  changed_.notify_all();
  if (events_.on_abort) events_.on_abort(cause);
}

void RendezvousClient::listen() {
  auto heard = CommClock::now(), beaten = heard;
  bool told = false, lost = false;
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
    }
    if (events_.tick && events_.tick() && !told && !lost) told = true, send(kStop, "");
    if (lost) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    if (socket_.wait_readable(0.1)) {
      heard = CommClock::now();
      const bool there = socket_.fill();
      while (const auto frame = socket_.next()) {
        const std::size_t zero = frame->payload.find('\0');
        if (frame->type == kAbort) ended(frame->payload);
        if (frame->type == kStop && events_.on_stop) told = true, events_.on_stop();
        if (frame->type == kTell && events_.on_tell) events_.on_tell(frame->payload);
        if (frame->type == kValue) {
          const std::lock_guard lock(mutex_);
          values_[frame->payload.substr(0, zero)] = frame->payload.substr(zero + 1);
          changed_.notify_all();
        }
      }
      if (!there) {
        ended("rank 0, which holds the rendezvous, is lost (its connection closed: killed, crashed or cut off)");
        lost = true;
        continue;
      }
    }
    const auto silent = std::chrono::duration<double>(CommClock::now() - heard).count();
    if (silent > options_.silence_s) {
      ended(message("rank 0, which holds the rendezvous, gave no sign of life for ", options_.silence_s, " s: stopped, swapping, or its machine is cut off"));
      lost = true;
    }
    if (CommClock::now() - beaten > beat_period(options_)) {
      beaten = CommClock::now();
      send(kBeat, "");
    }
  }
}

}  // namespace r1
