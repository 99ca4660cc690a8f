// Weights on their way from a learner to rollout servers, without the network: images with their digest, the delta from one image to the
// next, and the receiver that puts an image together again and refuses what is stale, torn, damaged or of another architecture.
// weights.proto has the encoding.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/weights.h"
#include "proto/shared_memory.h"

namespace r1 {

struct WeightKey {  // weights by number and content
  WeightVersion version = 0;
  WeightDigest digest{};
  bool operator==(const WeightKey&) const = default;
};
std::string to_string(const WeightKey& key);  // "version 3 (digest 0123...)"

class WeightUpdateError : public Error {
 public:
  enum class Kind : std::uint8_t {
    kOther,  // another architecture or an update against the rules: it never fits
    kStale,  // the delta is from other weights than are here
    kLost,   // damaged, torn, or not what the digest says: send it again
    kUnreachable,  // the shared memory cannot be opened here
  };
  WeightUpdateError(Kind kind, const std::string& text) : Error(text), kind(kind) {}
  Kind kind;
};

struct WeightChunk {
  std::uint32_t tensor = 0;    // index in the image
  std::uint64_t first = 0;     // elements [first, first + elements)
  std::uint32_t elements = 0;
  std::string data;            // bits, or the coded change
  std::uint64_t check = 0;     // check_sum(data)
};
std::uint64_t check_sum(std::string_view data);

inline constexpr std::uint32_t kChunkElements = 1u << 20;

struct WeightDelta {
  WeightKey base;
  std::vector<WeightChunk> chunks;
  std::size_t bytes = 0;       // of all data
  std::int64_t changed = 0;    // elements
};

// What an update begins with.
struct WeightUpdateHeader {
  WeightKey key;
  std::vector<TensorView> tensors;  // names, types, shapes; no data
  bool delta = false;
  WeightKey base;
  WeightDigest check{};             // of the bits, as this way of sending counts it; mostly the key's digest
};
// Throws WeightUpdateError naming the first tensor and field of `theirs` that is not as in `ours`.
void check_weight_layout(std::span<const TensorView> theirs, std::span<const TensorView> ours);

// A copy on the host, immutable once made.
class WeightImage {
 public:
  // Copies the snapshot, which lies on the host, and finds the difference to `before` (may be null; used if it has the same tensors).
  // `spent`: an image that nobody needs any more, or null; its memory is used if it is as large. `shared`: in memory that servers of this
  // machine can map, where there is such. `name`: the digest under which they go, null: their own. Throws Error for tensors on a device and
  // types other than F32 and BF16.
  WeightImage(const WeightSnapshot& snapshot, const WeightImage* before, WeightImage* spent = nullptr, bool shared = false, const WeightDigest* name = nullptr);

  const WeightKey& key() const { return key_; }
  const WeightDigest& check() const { return check_; }  // of names, types and bits
  std::span<const TensorView> tensors() const { return tensors_; }  // their data is this image's
  std::size_t bytes() const { return bytes_; }
  const WeightDelta* delta() const { return delta_.get(); }  // from `before`; null without one, or if it is longer than the whole
  const SharedMemory* shared() const { return shared_.get(); }  // null: it lies in this process's own memory
  // The chunk of all bits that begins at `first`.
  WeightChunk whole_chunk(std::uint32_t tensor, std::uint64_t first) const;

 private:
  WeightKey key_;
  WeightDigest check_{};
  std::vector<TensorView> tensors_;
  std::unique_ptr<SharedMemory> shared_;
  std::unique_ptr<std::byte[]> memory_;  // without shared_
  std::size_t bytes_ = 0;
  std::unique_ptr<WeightDelta> delta_;
};

// XXH3-128 over, tensor by tensor, name, type and bits: what WeightStore::digest() gives for the same tensors in its order.
WeightDigest digest_of(std::span<const TensorView> tensors);

// The change of `elements` elements of `width` bytes (2 or 4) as a chunk's data; empty if there is none. `changed` grows by their number.
std::string encode_change(const std::byte* before, const std::byte* now, std::size_t elements, std::size_t width, std::int64_t& changed);
// The other way round, in place. Throws Error for data that is not such a change; memory beyond the elements is never touched.
void apply_change(std::string_view data, std::byte* memory, std::size_t elements, std::size_t width);

// Takes one update at a time. Not thread-safe.
class WeightReceiver {
 public:
  using Header = WeightUpdateHeader;
  // `layout`: the model's tensors, without data. Memory for them is taken at the first update.
  explicit WeightReceiver(std::vector<TensorView> layout);

  // All throw WeightUpdateError naming the tensor and field; then the update has ended. A whole update that failed leaves no base.
  void begin(const Header& header);
  void add(WeightChunk&& chunk);
  // `chunks`: how many were sent. The new weights: views of this receiver's memory, to be copied before the next begin().
  WeightSnapshot finish(std::uint32_t chunks);
  // A whole update of what lies in shared memory: the new weights, views of it that their owner keeps.
  WeightSnapshot map(const Header& header, const SharedName& name);
  // What comes next: "tensor NAME, element N".
  std::string expected() const;
  const WeightKey* base() const { return has_base_ ? &held_ : nullptr; }  // what a delta may be from
  void forget() { has_base_ = false; }  // the server has other weights, from elsewhere

 private:
  [[noreturn]] void fail(WeightUpdateError::Kind kind, const std::string& text);
  void apply_all();

  std::vector<TensorView> layout_;  // data points into memory_ once there is any
  std::unique_ptr<std::byte[]> memory_;
  std::size_t bytes_ = 0;
  bool has_base_ = false, running_ = false;
  WeightKey held_;
  Header header_;
  std::vector<WeightChunk> changes_;
  std::uint32_t chunks_ = 0, tensor_ = 0;
  std::uint64_t element_ = 0;       // of tensor_: where the next chunk begins (whole), or may begin at the earliest (delta)
  std::size_t change_bytes_ = 0;
};

}  // namespace r1
