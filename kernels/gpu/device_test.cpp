// Owners of device objects; what is said where there is no GPU.
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("without a GPU the reason names a remedy, and asking for the device throws it") {
  if (available()) return;
  CHECK(unavailable_reason().find(':') != std::string::npos);
  CHECK_THROWS_WITH_AS(device_info(), unavailable_reason().c_str(), DeviceError);
}

TEST_CASE("memory, pinned memory, events: copies arrive, owners move, too much memory is refused by amount") {
  R1_NEEDS_GPU();
  const DeviceInfo info = device_info();
  CHECK(!info.name.empty());
  CHECK(info.multiprocessors > 0);
  CHECK(info.memory_free <= info.memory_total);

  PinnedMemory from(4096), to(4096);
  for (int i = 0; i < 1024; ++i) from.as<int>()[i] = i * i;
  DeviceMemory a(4096), b;
  b = std::move(a);
  CHECK(a.data() == nullptr);
  Event begin, end;
  begin.record(stream());
  copy_to_device(stream(), b.data(), from.data(), 4096);
  copy_to_host(stream(), to.data(), b.data(), 4096);
  end.record(stream());
  end.synchronize();
  CHECK(end.done());
  CHECK(end.ms_since(begin) > 0.f);
  CHECK(std::memcmp(from.data(), to.data(), 4096) == 0);

  const std::size_t too_much = info.memory_total + (std::size_t{1} << 30);
  CHECK_THROWS_AS(DeviceMemory{too_much}, DeviceError);
  const DeviceMemory after(4096);  // the refusal leaves nothing behind
  CHECK(after.data() != nullptr);
}

TEST_CASE("a limit makes the device a smaller one, and the peak stays after memory was given back") {
  R1_NEEDS_GPU();
  constexpr std::size_t kPiece = std::size_t{256} << 20;
  const DeviceInfo whole = device_info();
  const std::size_t used = used_bytes(), limit = used + 2 * kPiece;
  if (whole.memory_free < 4 * kPiece) return ::r1::test::skip("another program has nearly all of the GPU's memory");
  limit_memory(limit);
  {
    const DeviceMemory one(kPiece);
    CHECK(device_info().memory_total == limit);
    CHECK(device_info().memory_free <= kPiece);
    CHECK_THROWS_WITH_AS(DeviceMemory(kPiece + (std::size_t{8} << 20)), doctest::Contains("GPU memory is short"), DeviceError);
  }
  limit_memory(SIZE_MAX);
  CHECK(device_info().memory_total == whole.memory_total);
  CHECK(peak_bytes() >= used + kPiece);
  const DeviceMemory more(3 * kPiece);
  CHECK(peak_bytes() >= used + 3 * kPiece);
}

TEST_CASE("a copy of device memory runs at a plausible speed") {
  R1_NEEDS_GPU();
  const double bandwidth = measured_bandwidth();
  CHECK(bandwidth > 1e11);
  CHECK(bandwidth < 1e14);
}

}  // namespace r1::gpu::test
