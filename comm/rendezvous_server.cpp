#include <algorithm>
#include <sstream>

#include <poll.h>

#include "comm/communicator.h"
#include "comm/rendezvous.h"
#include "core/log.h"

namespace r1 {
namespace {

using namespace detail;
constexpr double kSendTimeout = 10;  // s; a rank that takes nothing for so long is no longer there

double seconds_since(CommClock::time_point t) { return std::chrono::duration<double>(CommClock::now() - t).count(); }

}  // namespace

RendezvousServer::RendezvousServer(Socket listener, const Launch& launch, const RendezvousOptions& options)
    : listener_(std::move(listener)), launch_(launch), options_(options), thread_([this] { serve(); }) {}

RendezvousServer::~RendezvousServer() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  thread_.join();
}

void RendezvousServer::set_post_handler(std::function<void(int, std::string_view)> handler) {
  const std::lock_guard lock(mutex_);
  post_handler_ = std::move(handler);
}

void RendezvousServer::wait_for_goodbyes(double timeout_s) {
  std::unique_lock lock(mutex_);
  left_.wait_for(lock, std::chrono::duration<double>(timeout_s),
                 [&] { return std::all_of(peers_.begin(), peers_.end(), [](const auto& p) { return p->bye || p->gone || p->rank < 0; }); });
}

void RendezvousServer::serve() {
  CommClock::time_point beat = CommClock::now();
  while (true) {
    std::vector<pollfd> polls{{listener_.descriptor(), POLLIN, 0}};
    std::vector<Peer*> at;
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
      for (const auto& p : peers_)
        if (!p->gone) polls.push_back({p->socket.descriptor(), POLLIN, 0}), at.push_back(p.get());
    }
    ::poll(polls.data(), polls.size(), 100);
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < at.size(); ++i) {
      Peer& peer = *at[i];
      if (polls[i + 1].revents == 0) continue;
      const bool there = peer.socket.fill();
      peer.heard = CommClock::now();
      while (auto frame = peer.socket.next())
        if (!handle(peer, std::move(*frame))) break;
      if (!there) lose(peer, "its connection closed: killed, crashed or cut off");
    }
    if (polls[0].revents & POLLIN) {
      auto peer = std::make_unique<Peer>();
      peer->socket = listener_.accept();
      peer->heard = peer->phase_since = CommClock::now();
      if (peer->socket.open()) peers_.push_back(std::move(peer));
    }
    for (const auto& p : peers_)
      if (!p->gone && !p->bye && p->rank >= 0 && seconds_since(p->heard) > options_.silence_s)
        lose(*p, message("no sign of life for ", options_.silence_s, " s: stopped, swapping, or its machine is cut off"));
    if (CommClock::now() - beat > beat_period(options_)) {
      beat = CommClock::now();
      send_all(kBeat, "");
      tell_slow();
    }
  }
}

void RendezvousServer::tell_slow() {
  for (const auto& p : peers_) {
    if (p->gone || p->bye || p->told_slow || !p->phase.starts_with(kWaitMark) || seconds_since(p->phase_since) < options_.slow_s) continue;
    for (const auto& other : peers_) other->told_slow = true;  // one line for all that wait for the same
    log_warning("ranks.slow", {{"text", message("ranks have waited for others for ", options_.slow_s, " s. ", phases())}});
  }
}

bool RendezvousServer::greet(Peer& peer, const std::string& hello) {
  std::istringstream in(hello);
  int rank = -1, world = 0;
  std::string pid, host, run_id;
  in >> rank >> world >> pid >> host >> run_id;
  std::string why;
  if (run_id != launch_.run_id) why = message("this is run ", launch_.run_id, ", not ", run_id);
  else if (world != launch_.world || rank < 0 || rank >= world) why = message("this run has ", launch_.world, " ranks; you are rank ", rank, " of ", world);
  else if (std::any_of(peers_.begin(), peers_.end(), [&](const auto& p) { return p->rank == rank; })) why = message("rank ", rank, " is there already");
  if (!why.empty()) {
    peer.socket.send(kRefused, why, kSendTimeout);
    peer.gone = true;
    peer.socket.shut_down();
    return false;
  }
  peer.rank = rank;
  peer.who = message("rank ", rank, " (process ", pid, " on ", host, ")");
  peer.phase = "start";
  peer.socket.send(kWelcome, "", kSendTimeout);
  if (cause_) peer.socket.send(kAbort, *cause_, kSendTimeout);
  return true;
}

bool RendezvousServer::handle(Peer& peer, Frame frame) {
  if (peer.rank < 0) return frame.type == kHello && greet(peer, frame.payload);
  const std::size_t zero = frame.payload.find('\0');
  switch (frame.type) {
    case kSet: {
      const std::string key = frame.payload.substr(0, zero);
      values_[key] = frame.payload.substr(zero + 1);
      std::erase_if(waiting_, [&](const auto& w) {
        if (w.first != key) return false;
        if (!w.second->gone) w.second->socket.send(kValue, frame.payload, kSendTimeout);
        return true;
      });
      break;
    }
    case kGet: {
      if (frame.payload == "#phases") peer.socket.send(kValue, frame.payload + '\0' + phases(), kSendTimeout);
      else if (const auto found = values_.find(frame.payload); found != values_.end())
        peer.socket.send(kValue, found->first + '\0' + found->second, kSendTimeout);
      else waiting_.emplace_back(frame.payload, &peer);
      break;
    }
    case kPhase:
      peer.phase = frame.payload, peer.phase_since = CommClock::now();
      peer.told_slow = false;
      break;
    case kPost:
      if (post_handler_) post_handler_(peer.rank, frame.payload);
      break;
    case kTell:
      for (const auto& p : peers_)
        if (p.get() != &peer && !p->gone && p->rank >= 0) p->socket.send(kTell, frame.payload, kSendTimeout);
      break;
    case kAbort: end(message(peer.who, " ended the run: ", frame.payload)); break;
    case kStop: send_all(kStop, ""); break;
    case kBye:
      peer.bye = true;
      left_.notify_all();
      break;
    default: break;  // beats
  }
  return true;
}

void RendezvousServer::lose(Peer& peer, const std::string& how) {
  peer.gone = true;
  peer.socket.shut_down();
  std::erase_if(waiting_, [&](const auto& w) { return w.second == &peer; });
  left_.notify_all();
  if (peer.rank >= 0 && !peer.bye)
    end(message(peer.who, " is lost (", how, "); it was in \"", peer.phase, "\" for ", static_cast<long>(seconds_since(peer.phase_since)), " s"));
}

void RendezvousServer::end(const std::string& cause) {
  if (cause_) return;
  cause_ = cause;
  send_all(kAbort, cause);
}

void RendezvousServer::send_all(std::uint8_t type, const std::string& payload) {
  for (const auto& p : peers_)
    if (!p->gone && p->rank >= 0) p->socket.send(type, payload, kSendTimeout);
}

std::string RendezvousServer::phases() const {
  std::vector<const Peer*> order;
  for (const auto& p : peers_)
    if (p->rank >= 0) order.push_back(p.get());
  std::sort(order.begin(), order.end(), [](const Peer* a, const Peer* b) { return a->rank < b->rank; });
  std::string out;
  for (const Peer* p : order)
    out += message(out.empty() ? "" : "; ", p->who, ": ", p->bye ? "done" : p->gone ? "gone" : p->phase, " for ", static_cast<long>(seconds_since(p->phase_since)), " s");
  for (int r = 0; r < launch_.world; ++r)
    if (std::none_of(order.begin(), order.end(), [&](const Peer* p) { return p->rank == r; })) out += message("; rank ", r, ": never came");
  return out;
}

}  // namespace r1
