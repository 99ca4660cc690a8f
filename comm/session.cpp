#include "comm/session.h"

#include <csignal>
#include <cstdio>

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
  events.on_abort = [this](const std::string& cause) {
    {
      const std::lock_guard lock(mutex_);
      cause_ = cause;
      ended_ = CommClock::now();
    }
    request_abort(cause);
    for (Communicator* c : {abort_first_.load(), abort_second_.load()})
      if (c) c->abort();
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
  abort_first_ = comm_.get();
}

Session::Session(Session& all, std::vector<int> members)
    : launch_(all.launch_), options_(all.options_), all_(&all), members_(std::move(members)), comm_(make_group_communicator(all.comm(), members_)) {
  launch_.rank = comm_->rank(), launch_.world = comm_->world();
}

Session::~Session() {
  if (!client_) return;
  abort_first_ = abort_second_ = nullptr;
  const bool ended = client_->wait_for_cause(0).has_value();
  client_.reset();
  if (server_ && !ended) server_->wait_for_goodbyes(options_.silence_s);
}

Communicator& Session::device_comm() {
  if (!device_comm_ && all_) {
    device_comm_ = make_group_communicator(all_->device_comm(), members_);
  } else if (!device_comm_) {
    device_comm_ = launch_.world == 1 ? make_single_communicator() : make_nccl_communicator(launch_, *client_, {options_.timeout_s, this});
    abort_second_ = device_comm_.get();
  }
  return *device_comm_;
}

void Session::phase(const std::string& text) {
  if (!client_) return;
  {
    const std::lock_guard lock(mutex_);
    phase_ = text;
  }
  client_->phase(text);
}

void Session::fail(const std::string& cause) {
  if (!client_ || client_->wait_for_cause(0)) return;
  client_->abort(cause);
  client_->wait_for_cause(kCauseWait);
}

void Session::post(const std::string& payload) {
  if (client_) client_->post(payload);
}
void Session::set_post_handler(std::function<void(int, std::string_view)> handler) {
  if (server_) server_->set_post_handler(std::move(handler));
}

void Session::waiting(const char* what) {
  const std::lock_guard lock(mutex_);
  wait_ = what;
  since_ = CommClock::now();
  told_wait_ = false;
}

void Session::done() {
  std::string phase;
  {
    const std::lock_guard lock(mutex_);
    wait_.clear();
    if (!told_wait_) return;
    phase = phase_;
  }
  client_->phase(phase);
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
    if (!wait_.empty() && !told_wait_ && CommClock::now() - since_ > std::chrono::seconds(2)) {
      told_wait_ = true;
      waits = message(kWaitMark, wait_, " (", phase_, ")");
    }
  }
  if (!waits.empty()) client_->phase(waits);
  return stop_requested();
}

void Session::broken(const char* what, const std::string& detail) {
  // A peer that died shows here first as a connection that closed.
  const bool late = detail.find("Timed out") != std::string::npos;  // nobody has died
  if (const auto cause = client_ ? client_->wait_for_cause(late ? 0.2 : kCauseWait) : std::nullopt) throw CommError(*cause);
  if (!client_) throw CommError(message(what, ": ", detail));
  std::string phases;
  try {
    phases = client_->get("#phases", kCauseWait);
  } catch (const CommError& e) {
    phases = e.what();
  }
  fail(message("its wait for the other ranks in \"", what, "\" failed (", detail, "; the limit is train.comm_timeout_s ", options_.timeout_s, " s). ", phases));
  if (const auto cause = client_->wait_for_cause(0)) throw CommError(*cause);
  throw CommError(message(what, ": ", detail));
}

}  // namespace r1
