// Which rank owns which elements of a flat array that all ranks have alike: the unit of reduce-scatter, all-gather and of sharded
// optimizer state. Pure arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace r1 {

struct ElementRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// Pieces of kPiece elements, the same for every number of ranks, each owned by one rank. A piece is also the unit in which kernels/cpu.h
// sums squares, so that a sum over pieces in order has the same bits however they are spread.
class Partition {
 public:
  static constexpr std::int64_t kPiece = 32768;
  enum class Order : std::uint8_t {
    kInterleaved,  // piece k belongs to rank k % world: any stretch of the array is spread over all ranks
    kContiguous,   // one stretch a rank
  };
  Partition(std::int64_t elements, int world, Order order, std::int64_t piece = kPiece)
      : elements_(elements), world_(world), order_(order), piece_(piece) {}

  std::int64_t elements() const { return elements_; }
  int world() const { return world_; }
  std::int64_t pieces() const { return (elements_ + piece_ - 1) / piece_; }
  int owner(std::int64_t piece) const {
    return static_cast<int>(order_ == Order::kInterleaved ? piece % world_ : piece * world_ / std::max<std::int64_t>(1, pieces()));
  }
  // The rank's elements inside [begin, end), in order; neighbouring pieces are joined.
  std::vector<ElementRange> owned(int rank, std::int64_t begin, std::int64_t end) const {
    std::vector<ElementRange> out;
    for (std::int64_t k = begin / piece_; k * piece_ < end; ++k) {
      if (owner(k) != rank) continue;
      const ElementRange r{std::max(begin, k * piece_), std::min(end, (k + 1) * piece_)};
      if (!out.empty() && out.back().end == r.begin) out.back().end = r.end;
      else out.push_back(r);
    }
    return out;
  }
  std::vector<ElementRange> owned(int rank) const { return owned(rank, 0, elements_); }
  std::int64_t count(int rank) const {
    std::int64_t n = 0;
    for (const ElementRange& r : owned(rank)) n += r.size();
    return n;
  }

 private:
  std::int64_t elements_;
  int world_;
  Order order_;
  std::int64_t piece_;
};

}  // namespace r1
