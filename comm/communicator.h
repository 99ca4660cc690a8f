// Collective operations between the ranks of one run: one interface, implementations over Gloo (host memory), NCCL (device memory) and
// for a single process. An implementation only moves bytes; every sum is made here, in one order, so that the result has the same bits
// on every rank, for either transport, and (powers of two) for any number of ranks that share the same addends: neighbours are added
// first, then pairs, then pairs of pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/partition.h"
#include "core/error.h"
#include "core/weights.h"

namespace r1 {

// A rank is gone, does not answer in time or has ended the run; the message says which and why.
class CommError : public Error { public: using Error::Error; };

// What a communicator tells while it waits. Implemented by Session; the default does nothing and throws the text as it is.
class CommListener {
 public:
  virtual ~CommListener() = default;
  virtual void waiting(const char* what) {}
  virtual void done() {}
  // The transport failed in `what` with `detail`: throws CommError with the real cause, if it is known elsewhere.
  [[noreturn]] virtual void broken(const char* what, const std::string& detail) { throw CommError(message(what, ": ", detail)); }
};

// All ranks call the same operations in the same order (send and receive: the two that take part). Every call blocks until its data has
// arrived, at most Options::timeout_s. Buffers are host memory, or device memory where on_device(). `what` names the operation in errors.
// One call at a time; abort() from any thread.
class Communicator {
 public:
  struct Options {
    double timeout_s = 1800;            // of one operation, other ranks' lateness included
    CommListener* listener = nullptr;   // outlives the communicator; may be null
    std::function<bool()> give_up = {}; // asked while the GPU's operations wait (NCCL): true ends them with a CommError; may be empty
  };
  struct Part { int peer = 0; std::byte* data = nullptr; std::size_t bytes = 0; };

  Communicator(int rank, int world, const Options& options) : options_(options), rank_(rank), world_(world) {}
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int world() const { return world_; }
  virtual const char* name() const = 0;  // single, gloo, nccl
  virtual bool on_device() const { return false; }

  // Messages that move together. Between two ranks they arrive in the order of their lists; sizes must agree. Empty ones are left out.
  void exchange(std::span<const Part> sends, std::span<const Part> receives, const char* what);
  void send(int peer, const void* data, std::size_t bytes, const char* what);
  void receive(int peer, void* data, std::size_t bytes, const char* what);

  // In place. kF32 or kBF16 (added in float32, rounded once).
  void all_reduce(void* data, DType type, std::int64_t elements, const char* what);
  // Elements [begin, end) of an array cut by `partition`: the owner of each gets the sum over ranks, what lies at others is left as it was.
  void reduce_scatter(void* data, DType type, const Partition& partition, std::int64_t begin, std::int64_t end, const char* what);
  // Everyone gets the elements of their owners. kF32, kBF16, kU8.
  void all_gather(void* data, DType type, const Partition& partition, std::int64_t begin, std::int64_t end, const char* what);
  // Elements of their owners come to `root` alone.
  void gather_to(int root, void* data, DType type, const Partition& partition, std::int64_t begin, std::int64_t end, const char* what);
  void broadcast(void* data, std::size_t bytes, int root, const char* what);
  void barrier(const char* what);
  // Host bytes of any length, the ranks' own, to everybody: [world], in rank order.
  std::vector<std::string> gather_bytes(std::string_view mine, const char* what);

  // Operations in progress and later ones fail. Any thread; returns at once.
  virtual void abort() {}
  // Payload that this rank has sent so far.
  std::uint64_t bytes_sent() const { return sent_; }

 protected:
  virtual void move(std::span<const Part> sends, std::span<const Part> receives, const char* what) = 0;
  // out[i] = sum over parts of parts[p][i], as the head says; `out` may be one of them.
  virtual void add(DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n);
  virtual void copy(std::byte* to, const std::byte* from, std::size_t bytes);
  virtual std::byte* scratch(std::size_t bytes);  // the communicator's own, valid until the next call

  Options options_;

 private:
  friend class GroupCommunicator;  // adds and copies as the one below it
  struct Chunk;
  int rank_, world_;
  std::uint64_t sent_ = 0;
  std::vector<std::byte> scratch_;
};

// One rank: nothing moves.
std::unique_ptr<Communicator> make_single_communicator();

// Some ranks of `all`, as ranks 0, 1, ... in the order of `members` (ascending ranks of `all`, this one among them). Its operations are
// messages of `all`, which outlives it: a rank's calls of both, together, are in the same order as those of whom it talks to.
std::unique_ptr<Communicator> make_group_communicator(Communicator& all, std::vector<int> members);

// The order of sums on the host: out[i] = parts[0][i] + ..., neighbours first.
void add_in_tree(DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n);

}  // namespace r1
