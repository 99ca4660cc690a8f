#include "comm/session.h"

#include <csignal>
#include <cstdio>
#include <utility>

#include <unistd.h>

#include "comm/transports.h"
#include "core/signals.h"

namespace r1 {
namespace {
constexpr double kCauseWait = 5;  // s: a broken connection and the word of who broke it come by different ways
}

Session::Session(const Launch& launch, const SessionOptions& options) : launch_(launch), options_(options) {
  if (launch.world == 1) {
    comm_ = make_single_communicator();
    return;
  }
  activities_[0].phase = "start";
  if (const std::string why = gloo_unavailable(); !why.empty()) throw ConfigError(why);
  std::signal(SIGPIPE, SIG_IGN);  // Gloo writes to connections whose other end may have died
  const RendezvousOptions r{options.start_timeout_s, options.silence_s, options.slow_s};
  if (launch.rank == 0) {
    std::optional<Socket> listener;
    for (int i = 0; i < launch.ports && !listener; ++i) listener = Socket::listen(launch.port + i);
    if (!listener)
      throw CommError(message("rank 0 cannot listen on port ", launch.port, launch.ports > 1 ? message("-", launch.port + launch.ports - 1) : "",
                              ": it is taken; set MASTER_PORT to a free one, the same on all ranks"));
    server_ = std::make_unique<RendezvousServer>(std::move(*listener), launch, r);
  }
  RendezvousClient::Events events;
  events.on_stop = [] { request_stop(); };
  events.tick = [this] { return tick(); };
  events.on_tell = [this](std::string_view payload) {
    const std::lock_guard lock(mutex_);
    if (tell_handler_) tell_handler_(payload);
  };
  events.on_abort = [this](const std::string& cause) {
    {
      const std::lock_guard lock(mutex_);
      cause_ = cause;
      ended_ = CommClock::now();
    }
    request_abort(cause);
    const std::lock_guard lock(aborting_);
    aborted_ = true;
    for (Communicator* c : to_abort_) c->abort();
  };
  client_ = std::make_unique<RendezvousClient>(launch, r, events);
  client_->set(message("here/", launch.rank), "1");
  for (int i = 0; i < launch.world; ++i) {
    try {
      client_->get(message("here/", i), options.start_timeout_s);
    } catch (const CommError& e) {
      if (client_->wait_for_cause(0)) throw;
      throw CommError(message("rank ", i, " of ", launch.world, " did not come within ", options.start_timeout_s, " s: see whether it was started and what it says"));
    }
  }
  comm_ = make_gloo_communicator(launch, *client_, {options.timeout_s, this});
  to_be_aborted(*comm_);
}

Session::Session(Session& all, std::vector<int> members)
    : launch_(all.launch_), options_(all.options_), all_(&all), members_(std::move(members)), comm_(make_group_communicator(all.comm(), members_)) {
  launch_.rank = comm_->rank(), launch_.world = comm_->world();
}

Session::Session(Session& all, const std::string& name, int thread) : launch_(all.launch_), options_(all.options_), all_(&all), thread_(thread) {
  if (launch_.world == 1) comm_ = make_single_communicator();
  else comm_ = make_gloo_communicator(launch_, *root().client_, {options_.timeout_s, this}, name);
  root().to_be_aborted(*comm_);
}

std::unique_ptr<Session> Session::beside(const std::string& name) {
  R1_CHECK(!all_, "a session beside one that is a part of another");
  return std::unique_ptr<Session>(new Session(*this, name, 1));
}

void Session::to_be_aborted(Communicator& comm) {
  const std::lock_guard lock(aborting_);
  to_abort_.push_back(&comm);
  if (aborted_) comm.abort();
}

void Session::not_to_be_aborted(const Communicator* comm) {
  const std::lock_guard lock(aborting_);
  std::erase(to_abort_, comm);
}

void Session::give_up() {
  R1_CHECK(thread_ == 1, "only what is beside a run's session can be given up");
  given_up_ = true;
  comm_->abort();
}

Session::~Session() {
  if (thread_ == 1) {
    root().not_to_be_aborted(comm_.get());
    root().phase_of(1, {});
  }
  if (!client_) return;
  not_to_be_aborted(comm_.get());
  not_to_be_aborted(device_comm_.get());
  const bool ended = client_->wait_for_cause(0).has_value();
  client_.reset();
  if (server_ && !ended) server_->wait_for_goodbyes(options_.silence_s);
}

Communicator& Session::device_comm() {
  if (!device_comm_ && all_) {
    device_comm_ = make_group_communicator(all_->device_comm(), members_);
  } else if (!device_comm_) {
    device_comm_ = launch_.world == 1 ? make_single_communicator() : make_nccl_communicator(launch_, *client_, {options_.timeout_s, this});
    to_be_aborted(*device_comm_);
  }
  return *device_comm_;
}

void Session::phase(const std::string& text) { root().phase_of(thread_, text); }

void Session::phase_of(int thread, const std::string& text) {
  if (!client_) return;
  std::string all;
  {
    const std::lock_guard lock(mutex_);
    activities_[static_cast<std::size_t>(thread)].phase = text;
    all = doing();
  }
  client_->phase(all);
}

std::string Session::doing() const {
  const auto text = [](const Activity& a) { return a.told_wait ? message(kWaitMark, a.wait, " (", a.phase, ")") : a.phase; };
  const std::string second = text(activities_[1]);
  return text(activities_[0]) + (second.empty() ? "" : "; beside it: " + second);
}

void Session::fail(const std::string& cause) {
  Session& r = root();
  if (!r.client_ || r.client_->wait_for_cause(0)) return;
  r.client_->abort(cause);
  r.client_->wait_for_cause(kCauseWait);
}

void Session::post(const std::string& payload) {
  if (root().client_) root().client_->post(payload);
}
void Session::set_post_handler(std::function<void(int, std::string_view)> handler) {
  if (root().server_) root().server_->set_post_handler(std::move(handler));
}

void Session::tell(const std::string& payload) {
  if (root().client_) root().client_->tell(payload);
}
void Session::set_tell_handler(std::function<void(std::string_view)> handler) {
  Session& r = root();
  const std::lock_guard lock(r.mutex_);
  r.tell_handler_ = std::move(handler);
}

void Session::waiting(const char* what) {
  Session& r = root();
  const std::lock_guard lock(r.mutex_);
  Activity& a = r.activities_[static_cast<std::size_t>(thread_)];
  a.wait = what;
  a.since = CommClock::now();
  a.told_wait = false;
}

void Session::done() {
  Session& r = root();
  std::string all;
  {
    const std::lock_guard lock(r.mutex_);
    Activity& a = r.activities_[static_cast<std::size_t>(thread_)];
    a.wait.clear();
    if (!std::exchange(a.told_wait, false)) return;
    all = r.doing();
  }
  r.client_->phase(all);
}

bool Session::tick() {
  std::string waits;
  {
    const std::lock_guard lock(mutex_);
    if (!cause_.empty() && CommClock::now() - ended_ > std::chrono::duration<double>(options_.grace_s)) {
      // The main thread is in something that nobody can interrupt.
      std::fprintf(stderr, "r1: error: %s\n", cause_.c_str());
      _exit(1);
    }
    for (Activity& a : activities_)
      if (!a.wait.empty() && !a.told_wait && CommClock::now() - a.since > std::chrono::seconds(2)) {
        a.told_wait = true;
        waits = doing();
      }
  }
  if (!waits.empty()) client_->phase(waits);
  return stop_requested();
}

void Session::broken(const char* what, const std::string& detail) {
  if (given_up_) throw CommError(message(what, ": given up"));
  RendezvousClient* const client = root().client_.get();
  // A peer that died shows here first as a connection that closed.
  const bool late = detail.find("Timed out") != std::string::npos;  // nobody has died
  if (const auto cause = client ? client->wait_for_cause(late ? 0.2 : kCauseWait) : std::nullopt) throw CommError(*cause);
  if (!client) throw CommError(message(what, ": ", detail));
  std::string phases;
  try {
    phases = client->get("#phases", kCauseWait);
  } catch (const CommError& e) {
    phases = e.what();
  }
  fail(message("its wait for the other ranks in \"", what, "\" failed (", detail, "; the limit is train.comm_timeout_s ", options_.timeout_s, " s). ", phases));
  if (const auto cause = client->wait_for_cause(0)) throw CommError(*cause);
  throw CommError(message(what, ": ", detail));
}

}  // namespace r1
