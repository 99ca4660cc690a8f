// AdamW's state in the host's memory: streamed through the device in pieces, so that a piece is updated while the next one comes and the
// one before goes. The same kernels on the same numbers as on the device, so the same bits.
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "rl/gpu_optimizer.h"

namespace r1 {
namespace {

std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

GpuOptimizer::Offload::~Offload() {
  try {
    in.synchronize(), out.synchronize();
  } catch (const DeviceError&) {
    // A device that is broken copies nothing any more.
  }
}

void GpuOptimizer::lay_out_offload(std::byte* device) {
  offload_ = std::make_unique<Offload>();
  Offload& o = *offload_;
  o.host = gpu::PinnedMemory(std::max<std::size_t>(256, format_.host_bytes(own_.size())));
  std::memset(o.host.data(), 0, o.host.bytes());
  const bool split = format_.master == MasterFormat::kSplit;
  const auto lay = [&](std::byte* at, std::int64_t n, float*& master, std::int16_t*& rest, float*& first, float*& second) {
    const auto size = static_cast<std::size_t>(n);
    if (split) rest = reinterpret_cast<std::int16_t*>(at);
    else master = reinterpret_cast<float*>(at);
    at += padded(size * (split ? 2 : 4));
    first = reinterpret_cast<float*>(at);
    second = reinterpret_cast<float*>(at + padded(size * 4));
  };
  lay(o.host.data(), own_.size(), master_, rest_, moments_[0].values, moments_[1].values);
  // Where element 0 would lie.
  if (split) rest_ -= own_.begin;
  else master_ -= own_.begin;
  for (Moment& m : moments_) m.values -= own_.begin;
  const std::int64_t piece = std::min(format_.offload_piece, own_.size());
  for (Piece& p : o.slots) {
    lay(device, piece, p.master, p.rest, p.moments[0], p.moments[1]);
    device += format_.host_bytes(piece);
  }
}

void GpuOptimizer::stream_pieces(std::int64_t begin, std::int64_t end, bool come, const std::function<void(const Piece&)>& work) {
  Offload& o = *offload_;
  const gpu::Stream stream = model_.stream();
  for (std::int64_t at = begin; at < end; at += format_.offload_piece) {
    const auto slot = static_cast<std::size_t>(o.next % kOffloadSlots);
    Piece p = o.slots[slot];
    p.begin = at, p.n = std::min(format_.offload_piece, end - at);
    const auto n = static_cast<std::size_t>(p.n);
    // Its predecessor in the slot has gone, and with it everything before: pieces go in order. An element's own last piece is among these,
    // but for the last few, which may still be on their way out.
    if (o.next >= kOffloadSlots) o.gone[slot].make_wait(o.in);
    if (o.next > 0 && at == begin) o.gone[static_cast<std::size_t>((o.next - 1) % kOffloadSlots)].make_wait(o.in);
    if (come) {
      if (p.rest) gpu::copy_to_device(o.in, p.rest, rest_ + at, n * 2);
      else gpu::copy_to_device(o.in, p.master, master_ + at, n * 4);
      for (int m = 0; m < 2; ++m) gpu::copy_to_device(o.in, p.moments[m], moments_[m].values + at, n * 4);
    }
    o.came[slot].record(o.in);
    o.came[slot].make_wait(stream);
    work(p);
    o.updated[slot].record(stream);
    o.updated[slot].make_wait(o.out);
    if (p.rest) gpu::copy_to_host(o.out, rest_ + at, p.rest, n * 2);
    else gpu::copy_to_host(o.out, master_ + at, p.master, n * 4);
    for (int m = 0; come && m < 2; ++m) gpu::copy_to_host(o.out, moments_[m].values + at, p.moments[m], n * 4);
    o.gone[slot].record(o.out);
    ++o.next;
  }
}

void GpuOptimizer::settle() const {
  model_.synchronize();
  if (offload_) offload_->out.synchronize();
}

void GpuOptimizer::read(void* to, const void* array, std::size_t bytes) const {
  if (offload_) {
    settle();
    std::memcpy(to, array, bytes);
    return;
  }
  gpu::copy_to_host(model_.stream(), to, array, bytes);
  model_.synchronize();
}

void GpuOptimizer::write(void* array, const void* from, std::size_t bytes) {
  if (offload_) {
    settle();
    std::memcpy(array, from, bytes);
    return;
  }
  gpu::copy_to_device(model_.stream(), array, from, bytes);
  model_.synchronize();
}

}  // namespace r1
