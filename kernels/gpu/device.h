// The GPU of this process and what is owned on it: memory, pinned host memory, streams, events. No CUDA header is needed here.
// In a build without CUDA (R1_CUDA=OFF) available() is false and everything else throws DeviceError.
// All owners are movable, free what they own, and belong to the device that was current when they were made. Thread-safe as
// CUDA is: different objects from different threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

struct CUstream_st;
struct CUevent_st;

namespace r1::gpu {

using Stream = CUstream_st*;

// True where a driver answers and device 0 can run this build's kernels; asked once.
bool available();
// Why available() is false: one sentence with the remedy; empty where it is true.
const std::string& unavailable_reason();

// Throws DeviceError "what: CUDA's text" unless `error` (a cudaError_t) is cudaSuccess.
void check(int error, const char* what);

struct DeviceInfo {
  std::string name;
  int compute_capability = 0;  // 90 = 9.0
  int multiprocessors = 0;
  std::size_t memory_total = 0, memory_free = 0, l2_bytes = 0;
};
DeviceInfo device_info();
// Of device 0, by all processes and the driver: now, and the most that it was after an allocation of this process.
std::size_t used_bytes();
std::size_t peak_bytes();
// From here on the device is treated as if it had `bytes` of memory, or all of its own if that is less: device_info() says so, and
// DeviceMemory throws beyond it. To see on a large GPU how a program does on a smaller one. Before anything is taken; no effect without
// a GPU.
void limit_memory(std::size_t bytes);

// Bytes per second that a large copy within device memory moves, reads and writes both counted: the ceiling to hold
// benchmarks against. Takes 1 GiB of memory for about 20 ms; waits.
double measured_bandwidth();

// Device memory, contents undefined, 256-byte aligned. Throws DeviceError with the free amount if there is too little.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes);
  DeviceMemory(DeviceMemory&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& o) noexcept { std::swap(data_, o.data_); std::swap(bytes_, o.bytes_); return *this; }
  ~DeviceMemory();
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  template <class T> T* as() const { return static_cast<T*>(data_); }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Host memory that copies to and from the device without a detour, contents undefined.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(std::size_t bytes);
  PinnedMemory(PinnedMemory&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  PinnedMemory& operator=(PinnedMemory&& o) noexcept { std::swap(data_, o.data_); std::swap(bytes_, o.bytes_); return *this; }
  ~PinnedMemory();
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  template <class T> T* as() const { return static_cast<T*>(data_); }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// A stream that does not wait for the default stream.
class OwnedStream {
 public:
  OwnedStream();
  OwnedStream(OwnedStream&& o) noexcept : stream_(std::exchange(o.stream_, nullptr)) {}
  OwnedStream& operator=(OwnedStream&& o) noexcept { std::swap(stream_, o.stream_); return *this; }
  ~OwnedStream();
  operator Stream() const { return stream_; }
  void synchronize() const;  // throws DeviceError for an error of any kernel before

 private:
  Stream stream_ = nullptr;
};

class Event {
 public:
  Event();
  Event(Event&& o) noexcept : event_(std::exchange(o.event_, nullptr)) {}
  Event& operator=(Event&& o) noexcept { std::swap(event_, o.event_); return *this; }
  ~Event();
  void record(Stream s);
  void make_wait(Stream s) const;  // what is launched on s from now on waits for the recorded point
  bool done() const;               // without waiting
  void synchronize() const;
  float ms_since(const Event& earlier) const;  // both recorded and done

 private:
  CUevent_st* event_ = nullptr;
};

// Asynchronous on s, and captured into a graph like kernels; host memory is pinned or the call may wait.
void copy_to_device(Stream s, void* to, const void* from, std::size_t bytes);
void copy_to_host(Stream s, void* to, const void* from, std::size_t bytes);
void copy_on_device(Stream s, void* to, const void* from, std::size_t bytes);
void fill_bytes(Stream s, void* to, unsigned char value, std::size_t bytes);

}  // namespace r1::gpu
