#include "comm/communicator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace r1 {
namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 21;  // elements that a rank handles at a time: bounds the scratch memory

float load(DType type, const std::byte* from, std::int64_t i) {
  if (type == DType::kF32) return reinterpret_cast<const float*>(from)[i];
  return std::bit_cast<float>(std::uint32_t{reinterpret_cast<const std::uint16_t*>(from)[i]} << 16);
}

// Nearest, ties to even; NaN stays NaN.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

class SingleCommunicator final : public Communicator {
 public:
  SingleCommunicator() : Communicator(0, 1, {}) {}
  const char* name() const override { return "single"; }

 private:
  void move(std::span<const Part>, std::span<const Part>, const char* what) override { R1_CHECK(false, what, ": a message of one rank"); }
};

Partition even_split(std::int64_t elements, int world) {
  const std::int64_t piece = std::max<std::int64_t>(1, (elements + world - 1) / world);
  return {elements, world, Partition::Order::kInterleaved, piece};  // as many pieces as ranks
}

// What lies at places [from, to) of the elements of `ranges`, counted through.
std::vector<ElementRange> slice(const std::vector<ElementRange>& ranges, std::int64_t from, std::int64_t to) {
  std::vector<ElementRange> out;
  std::int64_t before = 0;
  for (const ElementRange& r : ranges) {
    const ElementRange part{r.begin + std::clamp<std::int64_t>(from - before, 0, r.size()), r.begin + std::clamp<std::int64_t>(to - before, 0, r.size())};
    if (part.size() > 0) out.push_back(part);
    before += r.size();
  }
  return out;
}

}  // namespace

void add_in_tree(DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n) {
  R1_CHECK(type == DType::kF32 || type == DType::kBF16, "a sum of ", safetensors_name(type));
  constexpr std::int64_t kBlock = 256;
  std::vector<std::array<float, kBlock>> block(parts.size());
  for (std::int64_t b = 0; b < n; b += kBlock) {
    const std::int64_t count = std::min(kBlock, n - b);
    for (std::size_t p = 0; p < parts.size(); ++p)
      for (std::int64_t i = 0; i < count; ++i) block[p][static_cast<std::size_t>(i)] = load(type, parts[p], b + i);
    for (std::size_t step = 1; step < parts.size(); step *= 2)
      for (std::size_t p = 0; p + step < parts.size(); p += 2 * step)
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) block[p][i] += block[p + step][i];
    if (type == DType::kF32) {
      std::memcpy(out + b * 4, block[0].data(), static_cast<std::size_t>(count) * 4);
    } else {
      for (std::int64_t i = 0; i < count; ++i) reinterpret_cast<std::uint16_t*>(out)[b + i] = to_bf16(block[0][static_cast<std::size_t>(i)]);
    }
  }
}

void Communicator::add(DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n) { add_in_tree(type, parts, out, n); }
void Communicator::copy(std::byte* to, const std::byte* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
std::byte* Communicator::scratch(std::size_t bytes) {
  if (scratch_.size() < bytes) scratch_.resize(bytes);
  return scratch_.data();
}

void Communicator::exchange(std::span<const Part> sends, std::span<const Part> receives, const char* what) {
  std::vector<Part> out, in;
  for (const Part& p : sends)
    if (p.bytes > 0) out.push_back(p), sent_ += p.bytes;
  for (const Part& p : receives)
    if (p.bytes > 0) in.push_back(p);
  for (const auto* list : {&out, &in})
    for (const Part& p : *list) R1_CHECK(p.peer >= 0 && p.peer < world_ && p.peer != rank_, what, ": a message of rank ", rank_, " with rank ", p.peer);
  if (out.empty() && in.empty()) return;
  if (options_.listener) options_.listener->waiting(what);
  move(out, in, what);
  if (options_.listener) options_.listener->done();
}

void Communicator::send(int peer, const void* data, std::size_t bytes, const char* what) {
  const Part p{peer, static_cast<std::byte*>(const_cast<void*>(data)), bytes};
  exchange({&p, 1}, {}, what);
}
void Communicator::receive(int peer, void* data, std::size_t bytes, const char* what) {
  const Part p{peer, static_cast<std::byte*>(data), bytes};
  exchange({}, {&p, 1}, what);
}

void Communicator::reduce_scatter(void* data, DType type, const Partition& partition, std::int64_t begin, std::int64_t end, const char* what) {
  R1_CHECK(partition.world() == world_ && begin >= 0 && end <= partition.elements(), what, ": elements [", begin, ", ", end, ") of ",
           partition.elements(), " among ", partition.world(), " ranks");
  if (world_ == 1) return;
  auto* const bytes = static_cast<std::byte*>(data);
  const auto size = static_cast<std::int64_t>(size_of(type));
  // Every rank sums a part of what it owns at a time, so that all links are busy however the array is cut.
  std::vector<std::vector<ElementRange>> owned;
  std::int64_t most = 0;
  for (int peer = 0; peer < world_; ++peer) {
    owned.push_back(partition.owned(peer, begin, end));
    std::int64_t n = 0;
    for (const ElementRange& r : owned.back()) n += r.size();
    most = std::max(most, n);
  }
  for (std::int64_t from = 0; from < most; from += kChunk) {
    const std::vector<ElementRange> mine = slice(owned[static_cast<std::size_t>(rank_)], from, from + kChunk);
    std::int64_t own = 0;
    for (const ElementRange& r : mine) own += r.size();
    std::byte* const room = scratch(static_cast<std::size_t>(own * size * (world_ - 1)));
    std::vector<Part> sends, receives;
    for (int peer = 0, k = 0; peer < world_; ++peer) {
      if (peer == rank_) continue;
      for (const ElementRange& r : slice(owned[static_cast<std::size_t>(peer)], from, from + kChunk))
        sends.push_back({peer, bytes + r.begin * size, static_cast<std::size_t>(r.size() * size)});
      std::byte* at = room + own * size * k++;
      for (const ElementRange& r : mine) {
        receives.push_back({peer, at, static_cast<std::size_t>(r.size() * size)});
        at += r.size() * size;
      }
    }
    exchange(sends, receives, what);
    std::int64_t done = 0;
    for (const ElementRange& r : mine) {
      std::vector<const std::byte*> parts;
      for (int peer = 0, k = 0; peer < world_; ++peer) parts.push_back(peer == rank_ ? bytes + r.begin * size : room + (own * k++ + done) * size);
      add(type, parts, bytes + r.begin * size, r.size());
      done += r.size();
    }
  }
}

void Communicator::all_gather(void* data, DType type, const Partition& partition, std::int64_t begin, std::int64_t end, const char* what) {
  if (world_ == 1) return;
  auto* const bytes = static_cast<std::byte*>(data);
  const auto size = static_cast<std::int64_t>(size_of(type));
  std::vector<Part> sends, receives;
  const std::vector<ElementRange> mine = partition.owned(rank_, begin, end);
  for (int peer = 0; peer < world_; ++peer) {
    if (peer == rank_) continue;
    for (const ElementRange& r : mine) sends.push_back({peer, bytes + r.begin * size, static_cast<std::size_t>(r.size() * size)});
    for (const ElementRange& r : partition.owned(peer, begin, end)) receives.push_back({peer, bytes + r.begin * size, static_cast<std::size_t>(r.size() * size)});
  }
  exchange(sends, receives, what);
}

void Communicator::gather_to(int root, void* data, DType type, const Partition& partition, std::int64_t begin, std::int64_t end, const char* what) {
  auto* const bytes = static_cast<std::byte*>(data);
  const auto size = static_cast<std::int64_t>(size_of(type));
  std::vector<Part> parts;
  for (int peer = 0; peer < world_; ++peer) {
    if (peer == root || (rank_ != root && rank_ != peer)) continue;
    for (const ElementRange& r : partition.owned(peer, begin, end))
      parts.push_back({rank_ == root ? peer : root, bytes + r.begin * size, static_cast<std::size_t>(r.size() * size)});
  }
  if (rank_ == root) exchange({}, parts, what);
  else exchange(parts, {}, what);
}

void Communicator::all_reduce(void* data, DType type, std::int64_t elements, const char* what) {
  const Partition split = even_split(elements, world_);
  reduce_scatter(data, type, split, 0, elements, what);
  all_gather(data, type, split, 0, elements, what);
}

void Communicator::broadcast(void* data, std::size_t bytes, int root, const char* what) {
  if (world_ == 1 || bytes == 0) return;
  // Each rank gets a part from the root and hands it on: no link carries more than twice the data.
  const Partition split = even_split(static_cast<std::int64_t>(bytes), world_);
  auto* const at = static_cast<std::byte*>(data);
  std::vector<Part> parts;
  for (int peer = 0; peer < world_; ++peer) {
    if (peer == root || (rank_ != root && rank_ != peer)) continue;
    for (const ElementRange& r : split.owned(peer)) parts.push_back({rank_ == root ? peer : root, at + r.begin, static_cast<std::size_t>(r.size())});
  }
  if (rank_ == root) exchange(parts, {}, what);
  else exchange({}, parts, what);
  all_gather(data, DType::kU8, split, 0, static_cast<std::int64_t>(bytes), what);
}

void Communicator::barrier(const char* what) {
  if (world_ == 1) return;
  std::byte* const room = scratch(static_cast<std::size_t>(world_) + 1);
  std::vector<Part> sends, receives;
  for (int peer = 0; peer < world_; ++peer) {
    if (peer == rank_) continue;
    sends.push_back({peer, room + world_, 1});
    receives.push_back({peer, room + peer, 1});
  }
  exchange(sends, receives, what);
}

std::vector<std::string> Communicator::gather_bytes(std::string_view mine, const char* what) {
  R1_CHECK(!on_device(), what, ": host bytes through ", name());
  std::vector<std::string> out(static_cast<std::size_t>(world_));
  out[static_cast<std::size_t>(rank_)] = mine;
  std::vector<std::uint64_t> sizes(static_cast<std::size_t>(world_));
  std::uint64_t own = mine.size();
  const auto parts = [&](const auto& data, const auto& size) {
    std::vector<Part> list;
    for (int peer = 0; peer < world_; ++peer)
      if (peer != rank_) list.push_back({peer, reinterpret_cast<std::byte*>(data(peer)), size(peer)});
    return list;
  };
  exchange(parts([&](int) { return &own; }, [](int) { return sizeof own; }),
           parts([&](int peer) { return &sizes[static_cast<std::size_t>(peer)]; }, [](int) { return sizeof own; }), what);
  for (int peer = 0; peer < world_; ++peer)
    if (peer != rank_) out[static_cast<std::size_t>(peer)].resize(sizes[static_cast<std::size_t>(peer)]);
  exchange(parts([&](int) { return const_cast<char*>(mine.data()); }, [&](int) { return mine.size(); }),
           parts([&](int peer) { return out[static_cast<std::size_t>(peer)].data(); }, [&](int peer) { return out[static_cast<std::size_t>(peer)].size(); }),
           what);
  return out;
}

std::unique_ptr<Communicator> make_single_communicator() { return std::make_unique<SingleCommunicator>(); }

}  // namespace r1
