// NCCL: device memory of one GPU a rank. Point-to-point groups alone; the sums are our own kernel's, in the order of comm/communicator.h.
#include <cstring>
#include <mutex>
#include <thread>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "comm/transports.h"
#include "comm/tree_sum.h"
#include "kernels/gpu/device.h"

namespace r1 {
namespace {

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const std::string& group, int rank, int world, const Options& options) : Communicator(rank, world, options) {
    ncclUniqueId id{};
    if (group.size() != sizeof id.internal) fail("the id of the GPUs' group", message("has ", group.size(), " bytes"));
    std::memcpy(id.internal, group.data(), group.size());
    // Not blocking, so that a rank that never comes is waited for no longer than any other.
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const ncclResult_t started = ncclCommInitRankConfig(&comm_, world, id, rank, &config);
    try {
      if (started != ncclSuccess && started != ncclInProgress) check(started, "connecting the GPUs");
      settle("connecting the GPUs");
    } catch (...) {
      abort();  // no destructor follows
      throw;
    }
  }
  ~NcclCommunicator() override {
    const std::lock_guard lock(mutex_);
    if (comm_ && !aborted_) {
      ncclCommFinalize(comm_);
      ncclResult_t state = ncclInProgress;
      for (int i = 0; i < 500 && state == ncclInProgress; ++i) {
        ncclCommGetAsyncError(comm_, &state);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      ncclCommDestroy(comm_);
    }
  }
  const char* name() const override { return "nccl"; }
  bool on_device() const override { return true; }

  void abort() override {
    const std::lock_guard lock(mutex_);
    if (comm_ && !aborted_) ncclCommAbort(comm_);
    aborted_ = true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  [[noreturn]] void fail(const char* what, const std::string& detail) {
    if (options_.listener) options_.listener->broken(what, detail);
    throw CommError(message(what, ": ", detail));
  }
  void check(ncclResult_t result, const char* what) {
    if (result != ncclSuccess && result != ncclInProgress) fail(what, message("NCCL: ", ncclGetErrorString(result), comm_ ? message(" (", ncclGetLastError(comm_), ")") : ""));
  }
  void fail_if_aborted(const char* what) {
    const std::lock_guard lock(mutex_);
    if (aborted_) fail(what, "the run was ended");
  }
  ncclResult_t state() {
    const std::lock_guard lock(mutex_);
    if (aborted_) return ncclSuccess;
    ncclResult_t out = ncclSuccess;
    ncclCommGetAsyncError(comm_, &out);
    return out;
  }
  // Waits, bounded, until what was begun is on its way; nothing may be called on the communicator before.
  void settle(const char* what) {
    for (ncclResult_t s; (s = state()) != ncclSuccess; std::this_thread::yield()) {
      if (s != ncclInProgress) check(s, what);
      late(what);
    }
    fail_if_aborted(what);
  }
  void late(const char* what) {
    if (options_.give_up && options_.give_up()) fail(what, "it was given up");
    if (Clock::now() > deadline_) fail(what, message("Timed out after ", options_.timeout_s, " s"));
  }

  void move(std::span<const Part> sends, std::span<const Part> receives, const char* what) override {
    deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.timeout_s));
    fail_if_aborted(what);
    {
      const std::lock_guard lock(mutex_);
      check(ncclGroupStart(), what);
      for (const Part& p : sends) check(ncclSend(p.data, p.bytes, ncclChar, p.peer, comm_, stream_), what);
      for (const Part& p : receives) check(ncclRecv(p.data, p.bytes, ncclChar, p.peer, comm_, stream_), what);
      check(ncclGroupEnd(), what);
    }
    settle(what);
    gpu::Event end;
    end.record(stream_);
    while (!end.done()) {
      if (const ncclResult_t s = state(); s != ncclSuccess && s != ncclInProgress) check(s, what);
      fail_if_aborted(what);
      late(what);
      std::this_thread::yield();
    }
  }
  void add(DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n) override {
    gpu::add_in_tree(stream_, type, parts, out, n);
    stream_.synchronize();
  }
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
    gpu::copy_on_device(stream_, to, from, bytes);
    stream_.synchronize();
  }
  std::byte* scratch(std::size_t bytes) override {
    if (scratch_.bytes() < bytes) {
      scratch_ = gpu::DeviceMemory();
      scratch_ = gpu::DeviceMemory(bytes);
    }
    return scratch_.data();
  }

  gpu::OwnedStream stream_;
  gpu::DeviceMemory scratch_;
  ncclComm_t comm_ = nullptr;
  Clock::time_point deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.timeout_s));
  std::mutex mutex_;
  bool aborted_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(const Launch& launch, RendezvousClient& rendezvous, const Communicator::Options& options) {
  if (launch.rank == 0) rendezvous.set("nccl/id", new_nccl_group());
  return join_nccl_group(rendezvous.get("nccl/id", options.timeout_s), launch.rank, launch.world, options);
}
std::string new_nccl_group() {
  ncclUniqueId id{};
  if (const ncclResult_t result = ncclGetUniqueId(&id); result != ncclSuccess) throw CommError(message("the id of the GPUs' group: NCCL: ", ncclGetErrorString(result)));
  return {id.internal, sizeof id.internal};
}
std::unique_ptr<Communicator> join_nccl_group(const std::string& group, int rank, int world, const Communicator::Options& options) {
  return std::make_unique<NcclCommunicator>(group, rank, world, options);
}
std::string nccl_unavailable() { return gpu::available() ? std::string() : gpu::unavailable_reason(); }

}  // namespace r1
