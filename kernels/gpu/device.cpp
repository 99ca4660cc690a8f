#include "kernels/gpu/device.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "core/error.h"

namespace r1::gpu {

bool runs_on_current_device();  // rows.cu

namespace {

std::atomic<std::size_t> memory_limit{SIZE_MAX}, peak{0};

struct Memory { std::size_t total = 0, free = 0; };
// Under the limit, if there is one.
Memory memory() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const std::size_t limit = std::min(memory_limit.load(), total), used = total - free;
  return {limit, limit > used ? limit - used : 0};
}

std::string find_reason() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    cudaGetLastError();
    return message("no usable CUDA device (", error == cudaSuccess ? "none found" : cudaGetErrorString(error),
                   "): install NVIDIA's driver, or run with device: cpu");
  }
  cudaDeviceProp prop{};
  if (const cudaError_t error = cudaGetDeviceProperties(&prop, 0); error != cudaSuccess) {
    cudaGetLastError();
    return message("the CUDA device does not answer (", cudaGetErrorString(error), "): look at nvidia-smi");
  }
  if (!runs_on_current_device()) {
    cudaGetLastError();
    return message("this build has no code for ", prop.name, " (compute capability ", prop.major, ".", prop.minor,
                   "): configure with -DCMAKE_CUDA_ARCHITECTURES=", prop.major, prop.minor);
  }
  return {};
}

}  // namespace

const std::string& unavailable_reason() {
  static const std::string reason = find_reason();
  return reason;
}
bool available() { return unavailable_reason().empty(); }

void check(int error, const char* what) {
  if (error == cudaSuccess) [[likely]] return;
  const auto code = static_cast<cudaError_t>(error);
  throw DeviceError(message(what, ": ", cudaGetErrorString(code), " (", cudaGetErrorName(code), ")"));
}

DeviceInfo device_info() {
  if (!available()) throw DeviceError(unavailable_reason());
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  cudaDeviceProp prop{};
  check(cudaGetDeviceProperties(&prop, device), "cudaGetDeviceProperties");
  DeviceInfo info;
  info.name = prop.name;
  info.compute_capability = prop.major * 10 + prop.minor;
  info.multiprocessors = prop.multiProcessorCount;
  info.l2_bytes = static_cast<std::size_t>(prop.l2CacheSize);
  const Memory m = memory();
  info.memory_total = m.total, info.memory_free = m.free;
  return info;
}

std::size_t used_bytes() {
  if (!available()) throw DeviceError(unavailable_reason());
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return total - free;
}

std::size_t peak_bytes() { return std::max(peak.load(), used_bytes()); }

void limit_memory(std::size_t bytes) { memory_limit = bytes; }

double measured_bandwidth() {
  constexpr std::size_t kBytes = std::size_t{512} << 20;
  constexpr int kRuns = 10;
  const DeviceMemory from(kBytes), to(kBytes);
  OwnedStream s;
  fill_bytes(s, from.data(), 1, kBytes);
  copy_on_device(s, to.data(), from.data(), kBytes);
  double best_ms = 1e30;
  for (int i = 0; i < kRuns; ++i) {
    Event begin, end;
    begin.record(s);
    copy_on_device(s, to.data(), from.data(), kBytes);
    end.record(s);
    end.synchronize();
    const double ms = end.ms_since(begin);
    if (ms < best_ms) best_ms = ms;
  }
  return 2.0 * static_cast<double>(kBytes) / (best_ms * 1e-3);
}

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const Memory before = memory();
  const cudaError_t error = bytes <= before.free ? cudaMalloc(&data_, bytes) : cudaErrorMemoryAllocation;
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceError(message("GPU memory is short: ", bytes >> 20, " MiB asked for, ", before.free >> 20, " MiB of ", before.total >> 20,
                              " MiB free; lower the batch sizes or the KV cache, or stop other programs on this GPU"));
  }
  check(error, "cudaMalloc");
  const std::size_t used = used_bytes();
  for (std::size_t most = peak; used > most && !peak.compare_exchange_weak(most, used);) {
  }
}
DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes != 0) check(cudaMallocHost(&data_, bytes), "cudaMallocHost");
}
PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

OwnedStream::OwnedStream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
OwnedStream::~OwnedStream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}
void OwnedStream::synchronize() const { check(cudaStreamSynchronize(stream_), "waiting for the GPU"); }

Event::Event() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}
void Event::record(Stream s) { check(cudaEventRecord(event_, s), "cudaEventRecord"); }
void Event::make_wait(Stream s) const { check(cudaStreamWaitEvent(s, event_, 0), "cudaStreamWaitEvent"); }
bool Event::done() const {
  const cudaError_t error = cudaEventQuery(event_);
  if (error == cudaErrorNotReady) return false;
  check(error, "cudaEventQuery");
  return true;
}
void Event::synchronize() const { check(cudaEventSynchronize(event_), "waiting for the GPU"); }
float Event::ms_since(const Event& earlier) const {
  float ms = 0.f;
  check(cudaEventElapsedTime(&ms, earlier.event_, event_), "cudaEventElapsedTime");
  return ms;
}

void copy_to_device(Stream s, void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s), "copy to the GPU");
}
void copy_to_host(Stream s, void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, s), "copy from the GPU");
}
void copy_on_device(Stream s, void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, s), "copy on the GPU");
}
void fill_bytes(Stream s, void* to, unsigned char value, std::size_t bytes) {
  check(cudaMemsetAsync(to, value, bytes, s), "fill on the GPU");
}

}  // namespace r1::gpu
