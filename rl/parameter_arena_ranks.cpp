// The arena as one of several equal ones: lanes, sums over ranks, sharding of optimizer state and gradient.
#include <cmath>
#include <limits>

#include "comm/session.h"
#include "core/error.h"
#include "core/pages.h"
#include "rl/parameter_arena.h"
#include "rl/ranks.h"

namespace r1 {

std::vector<ElementRange> ParameterArena::own(std::int64_t begin, std::int64_t end) const {
  if (!sharded()) return {{begin, end}};
  return partition_.owned(session_->rank(), begin, end);
}

void ParameterArena::join(Session& session, int zero) {
  if (session.world() == 1) return;
  session_ = &session;
  zero_ = zero;
  partition_ = Partition(static_cast<std::int64_t>(size_), session.world(), Partition::Order::kInterleaved);
  if (!sharded()) return;
  for (ZeroedArray* a : {&own_master_, &exp_avg_, &exp_avg_sq_, &gradient_}) a->use_small_pages();
  start_master();
  if (weights_are_sharded()) use_small_pages(live_.data, size_ * size_of(live_.dtype));
  if (gradient_is_sharded()) {
    share_ = ZeroedArray(size_);
    share_.use_small_pages();
    gradient_.clear(0, static_cast<std::int64_t>(size_));
  }
  release_foreign();
}

void ParameterArena::release_foreign() const {
  gathered_ = false;
  for (int r = 0; r < session_->world(); ++r) {
    if (r == session_->rank()) continue;
    for (const ElementRange& range : partition_.owned(r))
      for (const ZeroedArray* a : {&own_master_, &exp_avg_, &exp_avg_sq_})
        if (!a->empty()) const_cast<ZeroedArray*>(a)->clear(range.begin, range.end);
  }
}

ZeroedArray ParameterArena::take_array() {
  if (spare_.empty()) return ZeroedArray(size_);
  ZeroedArray out = std::move(spare_.back());
  spare_.pop_back();
  pool_.parallel_for(static_cast<std::int64_t>(size_), 1 << 18, [&](std::int64_t begin, std::int64_t end) { std::fill(out.data() + begin, out.data() + end, 0.f); });
  return out;
}

void ParameterArena::add(ZeroedArray& to, const ZeroedArray& from) {
  pool_.parallel_for(static_cast<std::int64_t>(size_), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to.data()[i] += from.data()[i];
  });
}

void ParameterArena::close_lane() {
  if (gradient_is_sharded()) return;  // each pass was added over the ranks already
  Lanes lane{0, std::move(gradient_)};
  while (!closed_.empty() && closed_.back().level == lane.level) {
    add(closed_.back().sum, lane.sum);
    spare_.push_back(std::move(lane.sum));
    lane = {lane.level + 1, std::move(closed_.back().sum)};
    closed_.pop_back();
  }
  closed_.push_back(std::move(lane));
  gradient_ = take_array();
}

void ParameterArena::finish_gradient() {
  if (!closed_.empty()) {
    spare_.push_back(std::move(gradient_));
    while (closed_.size() > 1) {
      add(closed_[closed_.size() - 2].sum, closed_.back().sum);
      spare_.push_back(std::move(closed_.back().sum));
      closed_.pop_back();
    }
    gradient_ = std::move(closed_.back().sum);
    closed_.clear();
  }
  if (!alive() || gradient_is_sharded()) return;
  const auto sum = [&](Session& session, std::int64_t begin, std::int64_t end) {
    if (session.world() == 1) return;
    const Partition cut(static_cast<std::int64_t>(size_), session.world(), Partition::Order::kInterleaved);
    session.comm().reduce_scatter(gradient_.data(), DType::kF32, cut, begin, end, "the gradient's sum");
    if (!sharded()) session.comm().all_gather(gradient_.data(), DType::kF32, cut, begin, end, "the gradient");
  };
  std::int64_t done = 0;
  for (const ElementRange& r : own_) {
    sum(*session_, done, r.begin);
    sum(*own_session_, r.begin, r.end);
    done = r.end;
  }
  sum(*session_, done, static_cast<std::int64_t>(size_));
}

void ParameterArena::share_out(Session& session, std::vector<ElementRange> own) {
  R1_CHECK(!sharded(), "stretches of a rank's own in a state that is shared out already");
  own_session_ = &session;
  own_ = std::move(own);
}

void ParameterArena::gradient_ready(std::int64_t begin, std::int64_t end) {
  R1_CHECK(gradient_is_sharded(), "a gradient that is whole");
  if (const std::int64_t at = cpu::first_non_finite(pool_, gradient_.data() + begin, end - begin); at >= 0) {
    const NonFinite bad = name(begin + at, gradient_.data()[begin + at]);
    throw NumericError(message("the gradient of ", bad.tensor, " is ", bad.value, " at element ", bad.element, " in a micro-batch of rank ", session_->rank()));
  }
  session_->comm().reduce_scatter(gradient_.data(), DType::kF32, partition_, begin, end, "a layer's gradient");
  for (const ElementRange& r : own(begin, end))
    for (std::int64_t i = r.begin; i < r.end; ++i) share_.data()[i] += gradient_.data()[i];
  gradient_.clear(begin, end);
}

double ParameterArena::gradient_sum_of_squares() {
  const auto n = static_cast<std::int64_t>(size_);
  if (!sharded()) return cpu::sum_of_squares(pool_, summed(), n);
  // Of each piece by its owner; added in the order of one process.
  std::vector<double> mine;
  const Partition& p = partition_;
  const auto piece = [&](std::int64_t k) { return cpu::sum_of_squares(pool_, summed() + k * Partition::kPiece, std::min(Partition::kPiece, n - k * Partition::kPiece)); };
  for (std::int64_t k = 0; k < p.pieces(); ++k)
    if (p.owner(k) == session_->rank()) mine.push_back(piece(k));
  std::vector<std::vector<double>> all;
  for (const std::string& bytes : session_->comm().gather_bytes(bytes_of(std::span<const double>(mine)), "the gradient's norm")) all.push_back(values_of<double>(bytes));
  std::vector<std::size_t> next(all.size(), 0);
  double total = 0;
  for (std::int64_t k = 0; k < p.pieces(); ++k) {
    const auto r = static_cast<std::size_t>(p.owner(k));
    total += all[r][next[r]++];
  }
  return total;
}

std::optional<NonFinite> ParameterArena::find_non_finite(ParameterPart part) {
  const bool of_master = part == ParameterPart::kMaster;
  if (of_master && parts_ == ArenaParts::kGradient) return std::nullopt;
  if (of_master) start_master();
  const float* data = of_master ? master_ : gradient_.data();
  struct Found { std::int64_t at = std::numeric_limits<std::int64_t>::max(); float value = 0; } found;
  const bool shared = of_master && sharded();
  for (const ElementRange& r : shared ? own(0, static_cast<std::int64_t>(size_)) : std::vector<ElementRange>{{0, static_cast<std::int64_t>(size_)}}) {
    const std::int64_t at = cpu::first_non_finite(pool_, data + r.begin, r.size());
    if (at < 0) continue;
    found = {r.begin + at, data[r.begin + at]};
    break;
  }
  if (shared)
    for (const std::string& bytes : session_->comm().gather_bytes(bytes_of(std::span<const Found>(&found, 1)), "the weights' check"))
      if (const Found other = values_of<Found>(bytes)[0]; other.at < found.at) found = other;
  if (found.at == std::numeric_limits<std::int64_t>::max()) return std::nullopt;
  return name(found.at, found.value);
}

void ParameterArena::fetch(std::int64_t begin, std::int64_t end) {
  session_->comm().all_gather(live_.data, live_.dtype, partition_, begin, end, "a layer's weights");
}

void ParameterArena::release(std::int64_t begin, std::int64_t end) const {
  const std::size_t size = size_of(live_.dtype);
  for (int r = 0; r < session_->world(); ++r)
    if (r != session_->rank())
      for (const ElementRange& range : partition_.owned(r, begin, end))
        clear_pages(live_.data + static_cast<std::size_t>(range.begin) * size, static_cast<std::size_t>(range.size()) * size);
}

void ParameterArena::make_whole() const {
  if (whole_) return;
  session_->comm().all_gather(live_.data, live_.dtype, partition_, 0, static_cast<std::int64_t>(size_), "all weights");
  whole_ = true;
}

void ParameterArena::take_apart() {
  if (!weights_are_sharded() || !whole_) return;
  whole_ = false;
  release(0, static_cast<std::int64_t>(size_));
}

void ParameterArena::share_live() {
  if (!sharded()) return;
  if (weights_are_sharded()) return take_apart();  // what is here of others' weights is old
  session_->comm().all_gather(live_.data, live_.dtype, partition_, 0, static_cast<std::int64_t>(size_), "the new weights");
}

void ParameterArena::gather_state() const {
  if (!sharded()) return;
  for (const ZeroedArray* a : {&own_master_, &exp_avg_, &exp_avg_sq_})
    if (!a->empty()) session_->comm().gather_to(0, a->data(), DType::kF32, partition_, 0, static_cast<std::int64_t>(size_), "the optimizer's state");
  gathered_ = session_->rank() == 0;
}

ParameterArena::Resident ParameterArena::resident() const {
  Resident out;
  out.gradient = gradient_.resident_bytes() + share_.resident_bytes();
  out.master = own_master_.resident_bytes();
  out.moments = exp_avg_.resident_bytes() + exp_avg_sq_.resident_bytes();
  out.live = resident_bytes(live_.data, size_ * size_of(live_.dtype));
  return out;
}

}  // namespace r1
