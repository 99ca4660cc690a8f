// Weights in one piece of a GPU's memory: the learner's copy that rollout servers take them from, and a server's copy of that, from which its engine
// takes them. Both are summed up tensor by tensor by the device, so that what came can be held against what was sent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/weight_device.h"
#include "core/weights.h"
#include "proto/weight_transfer.h"

namespace r1 {

// Where each tensor of a layout begins, in bytes; [tensors]. `bytes`: of all, a multiple of 16.
struct WeightPlaces {
  std::vector<std::uint64_t> offsets;
  std::uint64_t bytes = 0;
  bool operator==(const WeightPlaces&) const = default;
};

class WeightArena {
 public:
  // Takes the memory. `layout`: tensors without data, in the order of their places. Throws DeviceError.
  WeightArena(std::shared_ptr<WeightDevice> device, std::vector<TensorView> layout, WeightPlaces places);

  // Copies a snapshot of the same tensors, from the host or this device, and sums it up. Throws Error naming a tensor that is not there or is
  // another one.
  void fill(const WeightSnapshot& snapshot);
  std::byte* data() { return memory_.get(); }
  const std::byte* data() const { return memory_.get(); }
  // The sums of what lies there now; kept as sums() and digest().
  void sum_up();
  const std::vector<WeightDevice::Sum>& sums() const { return sums_; }  // [tensors]
  const WeightDigest& digest() const { return digest_; }                // as GpuWeights::digest() where the places are its
  WeightSnapshot snapshot(WeightVersion version) const;                 // views on the device
  WeightSnapshot download(WeightVersion version) const;                 // a copy on the host
  std::string handle() const { return device_->handle(memory_.get()); }

  WeightDevice& device() const { return *device_; }
  const std::vector<TensorView>& layout() const { return layout_; }
  const WeightPlaces& places() const { return places_; }

 private:
  std::shared_ptr<WeightDevice> device_;
  std::vector<TensorView> layout_;
  WeightPlaces places_;
  std::vector<std::size_t> ends_;  // of each tensor's 16-byte pieces
  std::shared_ptr<std::byte> memory_;
  std::vector<WeightDevice::Sum> sums_;
  WeightDigest digest_{};
};

// What a header says of weights in a GPU's memory.
struct DeviceHeader {
  std::string gpu;
  WeightPlaces places;
  std::vector<WeightDevice::Sum> sums;
  std::string memory;   // to be opened, or
  std::string group;    // to be joined
  bool joined = false;  // as an earlier update did
  std::uint64_t piece = 0;
};

// A server's end. Takes one update at a time. Not thread-safe.
class DeviceReceiver {
 public:
  // `device` may be null: `missing` says why, and updates are refused with it.
  DeviceReceiver(std::shared_ptr<WeightDevice> device, std::string missing, std::vector<TensorView> layout, WeightPlaces places);
  ~DeviceReceiver();

  // The new weights: views of this receiver's memory on the device, to be copied before the next take(). `joins` is called before a group is
  // joined; `give_up` is asked while its messages are waited for. Throws WeightUpdateError naming the tensor.
  WeightSnapshot take(const WeightUpdateHeader& header, const DeviceHeader& from, const std::function<void()>& joins, const std::function<bool()>& give_up);
  const std::shared_ptr<WeightDevice>& device() const { return device_; }

 private:
  void check(const WeightUpdateHeader& header, const DeviceHeader& from) const;
  void open(const DeviceHeader& from);
  void receive(const DeviceHeader& from, const std::function<void()>& joins, const std::function<bool()>& give_up);
  void leave();

  std::shared_ptr<WeightDevice> device_;
  const std::string missing_;
  const std::vector<TensorView> layout_;
  const WeightPlaces places_;
  std::unique_ptr<WeightArena> arena_;
  std::string group_;                  // of communicator_
  std::unique_ptr<Communicator> communicator_;
  std::function<bool()> give_up_;      // of the update in progress
};

}  // namespace r1
