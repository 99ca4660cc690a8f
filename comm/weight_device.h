// The GPU of this process as far as weights on their way to other GPUs are concerned: memory that other processes can open (CUDA IPC), groups
// with other GPUs (NCCL), sums over memory. An interface, so that the protocol around it is tested in host memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace r1 {

// Thread-safe. Calls wait for what they ask of the device and throw DeviceError.
class WeightDevice {
 public:
  using Sum = std::array<std::uint64_t, 2>;
  struct Copy { void* to = nullptr; const void* from = nullptr; std::size_t bytes = 0; };

  virtual ~WeightDevice() = default;
  virtual std::string id() const = 0;              // of the GPU: the same in every process that sees it, another one for any other GPU
  virtual int device() const = 0;                  // TensorView::device of memory here
  virtual std::string nccl_missing() const = 0;    // why join() throws; empty = it does not
  virtual std::shared_ptr<std::byte> allocate(std::size_t bytes) = 0;  // zeroed
  virtual std::string handle(const std::byte* memory) = 0;             // of allocate(), for open() elsewhere
  // Another process's memory on this GPU, which that process keeps until the last owner is gone.
  virtual std::shared_ptr<const std::byte> open(const std::string& handle) = 0;
  virtual void settle() = 0;                       // waits for all that this process has asked of the GPU
  virtual void copy(std::span<const Copy> copies) = 0;  // host or device memory, in each direction
  // Sums (core/sum_digest.h) of the parts that end at `ends`, ascending multiples of 16; they add up to the whole's.
  virtual std::vector<Sum> sums(const std::byte* memory, std::span<const std::size_t> ends) = 0;
  // A group of two GPUs: one makes the name, both join. Messages are of device memory.
  virtual std::string new_group() = 0;
  virtual std::unique_ptr<Communicator> join(const std::string& group, int rank, const Communicator::Options& options) = 0;
};

// Null where there is none: weight_device_unavailable() says why.
std::shared_ptr<WeightDevice> make_weight_device();
std::string weight_device_unavailable();

}  // namespace r1
