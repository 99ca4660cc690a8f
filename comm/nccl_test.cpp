// NCCL against the host's collectives, on as many GPUs as are there (at most 4), each rank a process of its own. With one GPU: one rank.
#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "comm/gpu_ranks_test_support.h"
#include "comm/transports.h"
#include "comm/tree_sum.h"
#include "core/rng.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

std::vector<float> addend(int index, std::int64_t n) {
  std::vector<float> out(static_cast<std::size_t>(n));
  StreamRng rng(7, static_cast<std::uint64_t>(index));
  for (float& v : out) v = (static_cast<float>(rng.below(2000)) - 1000.f) * std::exp2(static_cast<float>(rng.below(24)) - 12.f);
  return out;
}

class Device {
 public:
  explicit Device(std::span<const std::byte> host) : memory_(host.size()), bytes_(host.size()) { gpu::copy_to_device(stream_, memory_.data(), host.data(), host.size()), stream_.synchronize(); }
  void* data() { return memory_.data(); }
  template <class T>
  std::vector<T> host() {
    std::vector<T> out(bytes_ / sizeof(T));
    gpu::copy_to_host(stream_, out.data(), memory_.data(), bytes_);
    stream_.synchronize();
    return out;
  }

 private:
  gpu::OwnedStream stream_;
  gpu::DeviceMemory memory_;
  std::size_t bytes_;
};

}  // namespace

TEST_CASE("every collective gives the bits of the host's, float32 and bfloat16; and bandwidth") {
  const int most = test::count_gpus();
  if (most == 0) return test::skip("no GPU");
  MESSAGE("GPUs: " << most);
  for (int world : {1, 2, 4}) {
    if (world > most) continue;
    CAPTURE(world);
    const auto results = test::run_ranks(world, [&](Session& s) -> std::string {
      test::take_gpu(s);
      Communicator& host = s.comm();
      Communicator& device = s.device_comm();
      R1_CHECK(world == 1 || device.on_device(), "no device communicator");
      const std::int64_t n = 3 * Partition::kPiece + 777;
      std::vector<float> x = addend(s.rank(), n);
      Device d(std::as_bytes(std::span<const float>(x)));
      if (world > 1) device.all_reduce(d.data(), DType::kF32, n, "sum");
      host.all_reduce(x.data(), DType::kF32, n, "sum");
      R1_CHECK(d.host<float>() == x, "all_reduce");
      std::vector<std::uint16_t> half(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < half.size(); ++i) half[i] = static_cast<std::uint16_t>(0x3C00 + (i * 37 + static_cast<std::size_t>(s.rank()) * 11) % 1024);
      for (auto order : {Partition::Order::kInterleaved, Partition::Order::kContiguous}) {
        std::vector<std::uint16_t> want = half;
        Device h(std::as_bytes(std::span<const std::uint16_t>(half)));
        const Partition p(n, world, order);
        host.reduce_scatter(want.data(), DType::kBF16, p, 0, n, "scatter");
        host.all_gather(want.data(), DType::kBF16, p, 0, n, "gather");
        if (world > 1) device.reduce_scatter(h.data(), DType::kBF16, p, 0, n, "scatter"), device.all_gather(h.data(), DType::kBF16, p, 0, n, "gather");
        R1_CHECK(h.host<std::uint16_t>() == want, "bfloat16");
      }
      std::vector<std::uint8_t> text(100001, static_cast<std::uint8_t>(s.rank() + 1));
      Device t(std::as_bytes(std::span<const std::uint8_t>(text)));
      if (world > 1) device.broadcast(t.data(), text.size(), world - 1, "text"), device.barrier("end");
      if (world > 1) R1_CHECK(t.host<std::uint8_t>() == std::vector<std::uint8_t>(text.size(), static_cast<std::uint8_t>(world)), "broadcast");
      if (world == 1) return "ok";
      // 1 GiB of float32 through all_reduce: bytes a rank sends, and how fast.
      const std::int64_t big = std::int64_t{1} << 28;
      gpu::DeviceMemory room(static_cast<std::size_t>(big) * 4);
      device.all_reduce(room.data(), DType::kF32, big, "warm-up");
      const auto before = device.bytes_sent();
      const auto start = CommClock::now();
      for (int i = 0; i < 5; ++i) device.all_reduce(room.data(), DType::kF32, big, "speed");
      const double seconds = std::chrono::duration<double>(CommClock::now() - start).count();
      return message("ok, all_reduce of 1 GiB: ", seconds / 5 * 1e3, " ms, ", static_cast<double>(device.bytes_sent() - before) / seconds / 1e9, " GB/s sent by a rank");
    });
    for (const auto& r : results) {
      MESSAGE("world " << world << ": " << r.output);
      CHECK(r.status == 0);
      CHECK(r.output.starts_with("ok"));
    }
  }
}

TEST_CASE("the kernel's tree is the host's for any number of addends") {
  if (test::count_gpus() == 0) return test::skip("no GPU");
  const auto results = test::run_ranks(1, [](Session& s) -> std::string {
    test::take_gpu(s);
    gpu::OwnedStream stream;
    for (std::size_t count : {1, 2, 3, 5, 7, 8, 33, 64}) {
      constexpr std::int64_t n = 4099;
      std::vector<std::vector<float>> host;
      std::vector<Device> device;
      std::vector<const std::byte*> host_parts, device_parts;
      for (std::size_t p = 0; p < count; ++p) host.push_back(addend(static_cast<int>(p), n)), device.emplace_back(std::as_bytes(std::span<const float>(host.back())));
      for (std::size_t p = 0; p < count; ++p) host_parts.push_back(reinterpret_cast<const std::byte*>(host[p].data())), device_parts.push_back(static_cast<const std::byte*>(device[p].data()));
      std::vector<float> want(n);
      add_in_tree(DType::kF32, host_parts, reinterpret_cast<std::byte*>(want.data()), n);
      gpu::add_in_tree(stream, DType::kF32, device_parts, static_cast<std::byte*>(device[0].data()), n);
      stream.synchronize();
      R1_CHECK(device[0].host<float>() == want, count, " addends");
    }
    return "ok";
  });
  CHECK(results[0].output == "ok");
}

TEST_CASE("a killed rank ends the others' wait on the GPU, with its name") {
  if (test::count_gpus() < 2) return test::skip("fewer than two GPUs");
  test::ForkedRanks ranks(2, {}, [](Session& s) -> std::string {
    test::take_gpu(s);
    gpu::DeviceMemory room(std::size_t{1} << 26);
    for (;;) s.device_comm().all_reduce(room.data(), DType::kF32, 1 << 24, "sum");
    return {};
  });
  sleep(10);  // NCCL has connected
  kill(ranks.pid(1), SIGKILL);
  const auto results = ranks.results();
  CHECK(results[0].status == 1);
  CHECK(results[0].output.find("error: rank 1 (process ") == 0);
}

}  // namespace r1
