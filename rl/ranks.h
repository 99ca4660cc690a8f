// A run on several ranks as the learners and loops see it: which lanes of an update are this rank's, what the ranks tell each other, and that
// they leave together. One process is the run of one rank: everything here is then a no-op.
//
// The gradient of an update is a sum of `lanes` partial sums, added as a tree (comm/communicator.h). A lane's micro-batches run one
// after another on one rank. Which samples are in which lane depends on the samples and the number of lanes alone, so a run of 4 lanes
// has the same bits on 1, 2 and 4 ranks.
//
// With train.tensor_parallel, train.sequence_parallel or train.expert_parallel N, groups of N neighbouring ranks run one model's passes together
// (model/model_group.h): all of a group have the same lanes, and the first of it speaks for it.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
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
#include "rl/rank_group.h"

namespace r1 {

class Ranks {
 public:
  Ranks() = default;  // one process, one lane
  // lanes 0 = as many as groups. The session outlives it. Throws ConfigError for fewer lanes than groups, and for ranks that do not make
  // whole groups.
  Ranks(Session* session, int lanes, int tensor_parallel = 1, int sequence_parallel = 1, int expert_parallel = 1);

  bool alone() const { return world() == 1; }
  int rank() const { return session_ ? session_->rank() : 0; }
  int world() const { return session_ ? session_->world() : 1; }
  int lanes() const { return lanes_; }
  void set_lanes(int lanes) { lanes_ = lanes; }  // of a checkpoint: at least groups()
  int groups() const { return world() / group_size_; }
  int group(int rank) const { return rank / group_size_; }
  bool leads(int rank) const { return rank % group_size_ == 0; }
  // Lanes [first, last) are a rank's (this one's), all of them together those of every group.
  int first_lane() const { return first_lane(rank()); }
  int last_lane() const { return last_lane(rank()); }
  int first_lane(int rank) const { return first_of_group(group(rank)); }
  int last_lane(int rank) const { return first_of_group(group(rank) + 1); }
  const ModelParallel& parallel() const { return parallel_; }
  // Over whom this rank's gradient is summed: those that hold the same part of the weights. Experts: where they are shared out, over fewer.
  Session& gradient_session() const { return *gradient_session_; }
  Session* expert_session() const { return parallel_.experts ? across_session_.get() : nullptr; }
  // Who samples: a group that holds one model, else each rank by itself.
  int samplers() const { return parallel_.parts() ? groups() : world(); }
  int sampler() const { return parallel_.parts() ? group(rank()) : rank(); }
  int first_rank(int sampler) const { return parallel_.parts() ? sampler * group_size_ : sampler; }
  bool speaks() const { return rank() == first_rank(sampler()); }  // for its sampler
  // core/signals.h's, at the same place for all ranks of a group, or for all that sample together.
  void throw_if_group_stopped() const;
  void throw_if_sampler_stopped() const;
  Session* session() const { return session_; }
  Communicator& comm() const { return session_->comm(); }

  // What each rank does with the samples `chosen` that need no order of sums: [world] lists.
  std::vector<std::vector<std::int32_t>> shares(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen) const;
  // The same of `lanes` [lanes()]: what each rank's hold together.
  std::vector<std::vector<std::int32_t>> by_rank(const std::vector<std::vector<std::int32_t>>& lanes) const;
  // Everyone gets the entries that the ranks of `shares` computed.
  void gather_values(PerSample& values, const std::vector<std::vector<std::int32_t>>& shares, const char* what) const;
  std::vector<std::string> gather(std::string_view mine, const char* what) const;  // [world]
  // The same of what belongs to lanes: each group's once, from its first rank; the others' are empty.
  std::vector<std::string> gather_lanes(std::string_view mine, const char* what) const { return gather(leads(rank()) ? mine : std::string_view(), what); }
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
      for (int lane = first_lane(rank); lane < last_lane(rank); ++lane) n += plans[static_cast<std::size_t>(lane)].size();
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
  int first_of_group(int group) const { return static_cast<int>((static_cast<std::int64_t>(group) * lanes_ + groups() - 1) / groups()); }
  Session* session_ = nullptr;
  int group_size_ = 1;
  int lanes_ = 1;
  // With groups: sessions of this rank's and of those at its place in the others, and the model's view of the first.
  std::shared_ptr<Session> group_session_, across_session_;
  std::shared_ptr<RankGroup> model_group_;
  Session* gradient_session_ = nullptr;
  ModelParallel parallel_;
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
