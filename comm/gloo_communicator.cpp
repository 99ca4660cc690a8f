// Gloo's TCP transport: connections of every pair of ranks, a thread that moves the bytes. Its collectives are not used: their order of
// sums depends on the number of ranks (docs/decisions/0015).
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <vector>

#include <gloo/common/error.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include "comm/transports.h"

namespace r1 {
namespace {

class Keys final : public gloo::rendezvous::Store {
 public:
  Keys(RendezvousClient& client, double timeout_s, const std::string& name) : client_(client), timeout_s_(timeout_s), prefix_(name + "/") {}
  void set(const std::string& key, const std::vector<char>& data) override { client_.set(prefix_ + key, {data.begin(), data.end()}); }
  std::vector<char> get(const std::string& key) override {
    const std::string value = client_.get(prefix_ + key, timeout_s_);
    return {value.begin(), value.end()};
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) get(key);
  }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds&) override { wait(keys); }

 private:
  RendezvousClient& client_;
  double timeout_s_;
  std::string prefix_;
};

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(const Launch& launch, RendezvousClient& rendezvous, const Options& options, const std::string& name)
      : Communicator(launch.rank, launch.world, options), next_send_(static_cast<std::size_t>(launch.world)), next_receive_(static_cast<std::size_t>(launch.world)) {
    gloo::transport::tcp::attr attr;
    if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface && *interface) attr.iface = interface;
    else attr.hostname = rendezvous.local_address();
    try {
      auto device = gloo::transport::tcp::CreateDevice(attr);
      context_ = std::make_shared<gloo::rendezvous::Context>(launch.rank, launch.world);
      context_->setTimeout(limit());
      Keys keys(rendezvous, options.timeout_s, name);
      context_->connectFullMesh(keys, device);
    } catch (const ::gloo::Exception& e) {
      fail("connecting the ranks", e.what());
    }
  }
  const char* name() const override { return "gloo"; }

  void abort() override {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    if (waiting_) waiting_->abortWaitSend(), waiting_->abortWaitRecv();
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::milliseconds limit() const { return std::chrono::milliseconds(static_cast<std::int64_t>(options_.timeout_s * 1000)); }
  [[noreturn]] void fail(const char* what, const std::string& detail) {
    if (options_.listener) options_.listener->broken(what, detail);
    throw CommError(message(what, ": ", detail));
  }

  void move(std::span<const Part> sends, std::span<const Part> receives, const char* what) override {
    struct Pending { std::unique_ptr<gloo::transport::UnboundBuffer> buffer; bool sends; };
    std::vector<Pending> pending;
    pending.reserve(sends.size() + receives.size());
    const auto deadline = Clock::now() + limit();
    try {
      const auto start = [&](const Part& p, bool is_send) {
        auto& buffer = pending.emplace_back(context_->createUnboundBuffer(p.data, p.bytes), is_send).buffer;
        const auto peer = static_cast<std::size_t>(p.peer);
        if (is_send) buffer->send(p.peer, next_send_[peer]++);
        else buffer->recv(p.peer, next_receive_[peer]++);
      };
      for (const Part& p : receives) start(p, false);
      for (const Part& p : sends) start(p, true);
      for (Pending& p : pending) {
        {
          const std::lock_guard lock(mutex_);
          if (aborted_) break;
          waiting_ = p.buffer.get();
        }
        const auto left = std::max(std::chrono::milliseconds(1), std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()));
        if (p.sends) p.buffer->waitSend(nullptr, left);
        else p.buffer->waitRecv(nullptr, left);
      }
    } catch (const ::gloo::Exception& e) {
      forget();
      fail(what, e.what());
    }
    if (forget()) fail(what, "the run was ended");
  }
  bool forget() {  // gives whether the run was ended
    const std::lock_guard lock(mutex_);
    waiting_ = nullptr;
    return aborted_;
  }

  std::shared_ptr<gloo::rendezvous::Context> context_;
  std::vector<std::uint64_t> next_send_, next_receive_;  // slots: messages of a pair are numbered
  std::mutex mutex_;
  gloo::transport::UnboundBuffer* waiting_ = nullptr;
  bool aborted_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_gloo_communicator(const Launch& launch, RendezvousClient& rendezvous, const Communicator::Options& options,
                                                     const std::string& name) {
  return std::make_unique<GlooCommunicator>(launch, rendezvous, options, name);
}
std::string gloo_unavailable() { return {}; }

}  // namespace r1
