// A data-parallel run as the learners and loops see it: which lanes of an update are this rank's, what the ranks tell each other, and that
// they leave together. One process is the run of one rank: everything here is then a no-op.
//
// The gradient of an update is a sum of `lanes` partial sums, added as a tree (comm/communicator.h). A lane's micro-batches run one
// after another on one rank. Which samples are in which lane depends on the samples and the number of lanes alone, so a run of 4 lanes
// has the same bits on 1, 2 and 4 ranks.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/session.h"
#include "core/error.h"
#include "core/signals.h"
#include "core/types.h"
#include "model/gpu/gpu_region.h"
#include "rl/per_sample.h"

namespace r1 {

class Ranks {
 public:
  Ranks() = default;  // one process, one lane
  // lanes 0 = as many as ranks. The session outlives it. Throws ConfigError for fewer lanes than ranks.
  Ranks(Session* session, int lanes);

  bool alone() const { return world() == 1; }
  int rank() const { return session_ ? session_->rank() : 0; }
  int world() const { return session_ ? session_->world() : 1; }
  int lanes() const { return lanes_; }
  void set_lanes(int lanes) { lanes_ = lanes; }  // of a checkpoint: at least world()
  // Lanes [first, last) are this rank's, all of them together those of every rank.
  int first_lane() const { return first_lane(rank()); }
  int last_lane() const { return first_lane(rank() + 1); }
  int first_lane(int rank) const { return static_cast<int>((static_cast<std::int64_t>(rank) * lanes_ + world() - 1) / world()); }
  Session* session() const { return session_; }
  Communicator& comm() const { return session_->comm(); }

  // What each rank does with the samples `chosen` that need no order of sums: [world] lists.
  std::vector<std::vector<std::int32_t>> shares(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen) const;
  // The same of `lanes` [lanes()]: what each rank's hold together.
  std::vector<std::vector<std::int32_t>> by_rank(const std::vector<std::vector<std::int32_t>>& lanes) const;
  // Everyone gets the entries that the ranks of `shares` computed.
  void gather_values(PerSample& values, const std::vector<std::vector<std::int32_t>>& shares, const char* what) const;
  std::vector<std::string> gather(std::string_view mine, const char* what) const;  // [world]
  void broadcast(std::string& bytes, const char* what) const;                      // rank 0's, of any length
  double largest(double mine, const char* what) const;
  double sum(double mine, const char* what) const;  // in rank order

  // Runs work() on every rank; then all return, or all throw: Interrupted if one was stopped, GpuOutOfMemory if one's memory did not
  // suffice. Other errors leave at once and end the run on all ranks.
  void agree(const char* what, const std::function<void()>& work) const;
  // Calls absent() as often as the busiest rank has more passes than this one. plans [lanes] of micro-batches.
  template <class Plans>
  void absent_passes(const Plans& plans, const std::function<void()>& absent) const {
    const auto passes = [&](int rank) {
      std::size_t n = 0;
      for (int lane = first_lane(rank); lane < first_lane(rank + 1); ++lane) n += plans[static_cast<std::size_t>(lane)].size();
      return n;
    };
    std::size_t most = 0;
    for (int r = 0; r < world(); ++r) most = std::max(most, passes(r));
    for (std::size_t i = passes(rank()); i < most; ++i) absent();
  }
  // core/signals.h's, for all ranks at the same place.
  void throw_if_stopped() const;
  void phase(const std::string& text) const { enter_phase(session_, text); }

 private:
  Session* session_ = nullptr;
  int lanes_ = 1;
};

// `chosen` in `lanes` lists of about equal rows, in order; groups stay whole where there are at least as many as lanes. Pure. A list may
// be empty.
std::vector<std::vector<std::int32_t>> split_lanes(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen, int lanes);
// The same of anything that takes `rows` [n]: lists of indices.
std::vector<std::vector<std::int32_t>> split_rows(std::span<const std::int64_t> rows, int lanes);

// Bytes of plain values, for gather().
template <class T>
std::string bytes_of(std::span<const T> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}
template <class T>
std::vector<T> values_of(std::string_view bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  R1_CHECK(bytes.size() % sizeof(T) == 0, bytes.size(), " bytes of values of ", sizeof(T));
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(out.data()));
  return out;
}

}  // namespace r1
