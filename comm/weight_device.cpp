#include "comm/weight_device.h"

#include <cuda_runtime.h>

#include <cstring>
#include <mutex>

#include "comm/transports.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/weights.h"

namespace r1 {
namespace {

class GpuWeightDevice final : public WeightDevice {
 public:
  GpuWeightDevice() {
    cudaDeviceProp properties{};
    gpu::check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    id_.assign(properties.uuid.bytes, sizeof properties.uuid.bytes);
  }
  std::string id() const override { return id_; }
  int device() const override { return 0; }
  std::string nccl_missing() const override { return nccl_unavailable(); }

  std::shared_ptr<std::byte> allocate(std::size_t bytes) override {
    // Whole 2 MiB: smaller memory may share what a handle names.
    constexpr std::size_t kUnit = std::size_t{2} << 20;
    const auto memory = std::make_shared<gpu::DeviceMemory>((bytes + kUnit - 1) / kUnit * kUnit);
    const std::lock_guard lock(mutex_);
    gpu::fill_bytes(stream_, memory->data(), 0, memory->bytes());
    stream_.synchronize();
    return {memory, memory->data()};
  }
  std::string handle(const std::byte* memory) override {
    cudaIpcMemHandle_t handle{};
    gpu::check(cudaIpcGetMemHandle(&handle, const_cast<std::byte*>(memory)), "cudaIpcGetMemHandle");
    return {reinterpret_cast<const char*>(&handle), sizeof handle};
  }
  std::shared_ptr<const std::byte> open(const std::string& bytes) override {
    cudaIpcMemHandle_t handle{};
    if (bytes.size() != sizeof handle) throw DeviceError(message("a handle of GPU memory has ", bytes.size(), " bytes, must have ", sizeof handle));
    std::memcpy(&handle, bytes.data(), sizeof handle);
    void* memory = nullptr;
    const cudaError_t error = cudaIpcOpenMemHandle(&memory, handle, cudaIpcMemLazyEnablePeerAccess);
    if (error != cudaSuccess) cudaGetLastError();  // it is told; later calls are not to find it
    gpu::check(error, "cudaIpcOpenMemHandle");
    return {static_cast<const std::byte*>(memory), [](const std::byte* p) { cudaIpcCloseMemHandle(const_cast<std::byte*>(p)); }};
  }
  void settle() override { gpu::check(cudaDeviceSynchronize(), "waiting for the GPU"); }
  void copy(std::span<const Copy> copies) override {
    const std::lock_guard lock(mutex_);
    for (const Copy& c : copies) gpu::check(cudaMemcpyAsync(c.to, c.from, c.bytes, cudaMemcpyDefault, stream_), "copying weights");
    stream_.synchronize();
  }
  std::vector<Sum> sums(const std::byte* memory, std::span<const std::size_t> ends) override {
    std::vector<Sum> out(ends.size());
    const std::lock_guard lock(mutex_);
    if (const std::size_t bytes = out.size() * sizeof(Sum); sums_.bytes() < bytes) {
      sums_ = gpu::DeviceMemory();
      sums_ = gpu::DeviceMemory(bytes);
    }
    gpu::fill_bytes(stream_, sums_.data(), 0, sums_.bytes());
    std::size_t begin = 0;
    for (std::size_t i = 0; i < ends.size(); begin = ends[i++])
      gpu::digest_words(stream_, memory + begin, static_cast<std::int64_t>(ends[i] - begin), sums_.as<std::uint64_t>() + 2 * i, static_cast<std::int64_t>(begin / 16));
    gpu::copy_to_host(stream_, out.data(), sums_.data(), out.size() * sizeof(Sum));
    stream_.synchronize();
    return out;
  }
  std::string new_group() override { return new_nccl_group(); }
  std::unique_ptr<Communicator> join(const std::string& group, int rank, const Communicator::Options& options) override { return join_nccl_group(group, rank, 2, options); }

 private:
  std::string id_;
  std::mutex mutex_;  // of what follows
  gpu::OwnedStream stream_;
  gpu::DeviceMemory sums_;
};

}  // namespace

std::shared_ptr<WeightDevice> make_weight_device() { return gpu::available() ? std::make_shared<GpuWeightDevice>() : nullptr; }
std::string weight_device_unavailable() { return gpu::unavailable_reason(); }

}  // namespace r1
