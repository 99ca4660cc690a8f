// device.h in a build without CUDA: nothing is available, and using it says how to build with it.
#include "core/error.h"
#include "kernels/gpu/device.h"

namespace r1::gpu {

const std::string& unavailable_reason() {
  static const std::string reason = "this r1 was built without CUDA: configure with -DR1_CUDA=ON (preset cuda), or run with device: cpu";
  return reason;
}
bool available() { return false; }

namespace {
[[noreturn]] void refuse() { throw DeviceError(unavailable_reason()); }
}  // namespace

void check(int, const char*) { refuse(); }
DeviceInfo device_info() { refuse(); }
std::size_t used_bytes() { refuse(); }
std::size_t peak_bytes() { refuse(); }
void limit_memory(std::size_t) {}
double measured_bandwidth() { refuse(); }
DeviceMemory::DeviceMemory(std::size_t) { refuse(); }
DeviceMemory::~DeviceMemory() = default;
PinnedMemory::PinnedMemory(std::size_t) { refuse(); }
PinnedMemory::~PinnedMemory() = default;
OwnedStream::OwnedStream() { refuse(); }
OwnedStream::~OwnedStream() = default;
void OwnedStream::synchronize() const { refuse(); }
Event::Event() { refuse(); }
Event::~Event() = default;
void Event::record(Stream) { refuse(); }
void Event::make_wait(Stream) const { refuse(); }
bool Event::done() const { refuse(); }
void Event::synchronize() const { refuse(); }
float Event::ms_since(const Event&) const { refuse(); }
void copy_to_device(Stream, void*, const void*, std::size_t) { refuse(); }
void copy_to_host(Stream, void*, const void*, std::size_t) { refuse(); }
void copy_on_device(Stream, void*, const void*, std::size_t) { refuse(); }
void fill_bytes(Stream, void*, unsigned char, std::size_t) { refuse(); }

}  // namespace r1::gpu
