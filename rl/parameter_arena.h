// Float32 master, gradient and Adam moments of a host model, laid out like its weight arena.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/partition.h"
#include "core/compute_pool.h"
#include "core/weights.h"
#include "kernels/cpu.h"
#include "model/weight_store.h"
#include "rl/policy.h"
#include "rl/zeroed_array.h"

namespace r1 {

// The live weights of a host model: parameters, and the memory they lie in (kF32 or kBF16).
struct LiveWeights {
  std::span<const Parameter> parameters;
  std::byte* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t elements = 0;  // padding included
};

// Where a bfloat16 model's master starts.
enum class MasterStart : std::uint8_t {
  kExact,  // on the bfloat16 grid, in the middle of the rounding cells: a weight answers only once its updates add up
           // to half a cell (at a rate of 1e-6 and a weight of 0.1 some 240 updates), then all at once
  kSpread,  // anywhere in its cell, drawn from a fixed seed: the live weights are the same, and each update moves its
            // share of them from the first on, so that on average they follow the master
};

// What the arena holds beside the live weights.
enum class ArenaParts : std::uint8_t {
  kAll,
  kGradient,  // for weights that somebody else changes (LoRA): no master, no moments, no adamw()
};

// Invariants: padding between parameters is 0 in all four arrays; a float32 model's master is its live arena itself. On several ranks the
// arrays keep the layout of the whole model; what a rank does not own of them takes no memory (parameter_arena_ranks.cpp).
class ParameterArena {
 public:
  // The live weights outlive the arena, as does the pool. The master rounds to the live weights.
  ParameterArena(const LiveWeights& live, ComputePool& pool, MasterStart start = MasterStart::kExact, ArenaParts parts = ArenaParts::kAll);

  std::span<float> master() { start_master(); return {master_, size_}; }
  std::span<float> gradient() { return gradient_; }
  std::span<const float> gradient() const { return gradient_; }

  void zero_gradient();
  double gradient_sum_of_squares();
  void adamw(const AdamWStep& step);  // also rewrites the live weights
  // After other weights were loaded: the master is the live weights, or `source` itself where that is float32.
  void load_master(const WeightSnapshot& source);
  std::optional<NonFinite> find_non_finite(ParameterPart part);
  WeightSnapshot state() const;       // views of this arena; empty with kGradient
  void restore(const WeightSnapshot& state);

  // ---- several ranks: as TrainedModel ----
  void join(Session& session, int zero);
  // After join(): of these stretches each rank has others than the ranks beside it; their gradient is added over `session` alone.
  void share_out(Session& session, std::vector<ElementRange> own);
  void close_lane();
  void finish_gradient();
  bool gradient_is_sharded() const { return zero_ >= 2 && alive(); }
  // With a sharded gradient: elements [begin, end) of this backward pass are complete. Adds them over the ranks to the owners' shares
  // and clears them. Throws NumericError for one that is not finite.
  void gradient_ready(std::int64_t begin, std::int64_t end);
  // With zero 3 the live weights are a share too, once the gradient was cleared: zero_gradient() lets go what others own, until
  // make_whole(). fetch() and release(): a stretch alone, meanwhile.
  bool weights_are_sharded() const { return zero_ >= 3 && alive(); }
  bool whole() const { return whole_; }
  void make_whole() const;  // collective, unless they are
  void fetch(std::int64_t begin, std::int64_t end);
  void release(std::int64_t begin, std::int64_t end) const;
  void take_apart();
  struct Resident { std::size_t gradient = 0, master = 0, moments = 0, live = 0; };  // bytes, as the kernel counts them
  Resident resident() const;

 private:
  void start_master();  // at its first use: on several ranks no rank ever holds all of it
  void copy_from_live();
  void write_live();
  bool alive() const { return session_ != nullptr; }  // one of several ranks
  bool sharded() const { return zero_ >= 1 && alive(); }
  std::vector<ElementRange> own(std::int64_t begin, std::int64_t end) const;  // all of them without sharding
  float* summed() { return gradient_is_sharded() ? share_.data() : gradient_.data(); }
  void add(ZeroedArray& to, const ZeroedArray& from);
  ZeroedArray take_array();
  void share_live();                // everyone's live weights from their owners
  void gather_state() const;        // to rank 0
  void release_foreign() const;
  NonFinite name(std::int64_t at, float value) const;
  LiveWeights live_;
  ComputePool& pool_;
  MasterStart start_;
  ArenaParts parts_;
  std::size_t size_;
  ZeroedArray own_master_;  // empty for a float32 model
  bool started_ = true;     // the master's values are there
  float* master_;
  ZeroedArray gradient_, exp_avg_, exp_avg_sq_;

  Session* session_ = nullptr;
  Session* own_session_ = nullptr;  // of own_
  std::vector<ElementRange> own_;
  int zero_ = 0;
  Partition partition_{0, 1, Partition::Order::kInterleaved};
  struct Lanes { int level = 0; ZeroedArray sum; };
  std::vector<Lanes> closed_;        // sums of 2^level lanes, levels falling
  std::vector<ZeroedArray> spare_;   // dirty
  ZeroedArray share_;                // of a sharded gradient: the sum over passes
  mutable bool gathered_ = false;    // rank 0 holds what it does not own, since state()
  mutable bool whole_ = true;        // all live weights are here
};

}  // namespace r1
