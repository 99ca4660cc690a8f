#include "rl/ranks.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace r1 {
namespace {

enum class Outcome : char { kDone, kStopped, kOutOfMemory };

}  // namespace

Ranks::Ranks(Session* session, int lanes, int tensor_parallel, int sequence_parallel, int expert_parallel)
    : session_(session), group_size_(tensor_parallel * sequence_parallel * expert_parallel), gradient_session_(session) {
  if (group_size_ != std::max({tensor_parallel, sequence_parallel, expert_parallel}))
    throw ConfigError(message("train.tensor_parallel is ", tensor_parallel, ", train.sequence_parallel ", sequence_parallel, ", train.expert_parallel ", expert_parallel,
                              "; all but one of them must be 1"));
  if (group_size_ > 1) {
    const char* key = tensor_parallel > 1 ? "train.tensor_parallel" : sequence_parallel > 1 ? "train.sequence_parallel" : "train.expert_parallel";
    if (world() % group_size_ != 0)
      throw ConfigError(message(key, " is ", group_size_, ", but ", world(), world() == 1 ? " rank is" : " ranks are", " not a multiple of it; start ", group_size_,
                                " ranks or a multiple, or change it"));
    std::vector<int> own, across;
    for (int r = 0; r < world(); ++r) {
      if (group(r) == group(rank())) own.push_back(r);
      if (r % group_size_ == rank() % group_size_) across.push_back(r);
    }
    group_session_ = std::make_shared<Session>(*session, own);
    model_group_ = std::make_shared<RankGroup>(group_session_->comm());
    if (tensor_parallel > 1) {
      parallel_.tensor = model_group_.get();
      across_session_ = std::make_shared<Session>(*session, across);
      gradient_session_ = across_session_.get();
    } else if (sequence_parallel > 1) {
      parallel_.sequence = model_group_.get();
    } else {
      parallel_.experts = model_group_.get();
      across_session_ = std::make_shared<Session>(*session, across);
    }
  }
  lanes_ = lanes > 0 ? lanes : groups();
  if (lanes_ < groups())
    throw ConfigError(message("train.lanes is ", lanes_, " but there are ", groups(), group_size_ > 1 ? " groups of ranks" : " ranks",
                              ", some of which would do nothing; leave it out or raise it"));
}

void Ranks::throw_if_sampler_stopped() const {
  if (parallel_.parts()) throw_if_group_stopped();
  else r1::throw_if_stopped();
}

void Ranks::throw_if_group_stopped() const {
  if (!group_session_) return r1::throw_if_stopped();
  std::string text;
  try {
    r1::throw_if_stopped();
  } catch (const Interrupted& e) {
    text = e.what();
  }
  for (const std::string& other : group_session_->comm().gather_bytes(text, "a stop?"))
    if (!other.empty()) throw Interrupted(other);
}

std::vector<std::vector<std::int32_t>> split_rows(std::span<const std::int64_t> rows, int lanes) {
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(lanes));
  const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  std::int64_t before = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    // Where the middle of its rows lies.
    const std::int64_t lane = total > 0 ? (2 * before + rows[i]) * lanes / (2 * total) : 0;
    out[static_cast<std::size_t>(std::min<std::int64_t>(lane, lanes - 1))].push_back(static_cast<std::int32_t>(i));
    before += rows[i];
  }
  return out;
}

std::vector<std::vector<std::int32_t>> split_lanes(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen, int lanes) {
  if (lanes == 1) return {{chosen.begin(), chosen.end()}};
  std::vector<std::vector<std::int32_t>> units;
  std::uint64_t group = 0;
  for (std::int32_t i : chosen) {
    const TrainSample& s = samples[static_cast<std::size_t>(i)];
    if (units.empty() || s.group != group) units.emplace_back();
    group = s.group;
    units.back().push_back(i);
  }
  if (units.size() < static_cast<std::size_t>(lanes)) {
    units.clear();
    for (std::int32_t i : chosen) units.push_back({i});
  }
  std::vector<std::int64_t> rows;
  for (const auto& unit : units) {
    std::int64_t n = 0;
    for (std::int32_t i : unit) n += static_cast<std::int64_t>(samples[static_cast<std::size_t>(i)].tokens.size());
    rows.push_back(n);
  }
  std::vector<std::vector<std::int32_t>> out;
  for (const auto& lane : split_rows(rows, lanes)) {
    out.emplace_back();
    for (std::int32_t u : lane) out.back().insert(out.back().end(), units[static_cast<std::size_t>(u)].begin(), units[static_cast<std::size_t>(u)].end());
  }
  return out;
}

std::vector<std::vector<std::int32_t>> Ranks::shares(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen) const {
  const std::vector<std::vector<std::int32_t>> of_groups = split_lanes(samples, chosen, groups());
  std::vector<std::vector<std::int32_t>> out;
  for (int r = 0; r < world(); ++r) out.push_back(of_groups[static_cast<std::size_t>(group(r))]);
  return out;
}

std::vector<std::vector<std::int32_t>> Ranks::by_rank(const std::vector<std::vector<std::int32_t>>& lanes) const {
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(world()));
  for (int r = 0; r < world(); ++r)
    for (int lane = first_lane(r); lane < last_lane(r); ++lane) {
      const std::vector<std::int32_t>& from = lanes[static_cast<std::size_t>(lane)];
      out[static_cast<std::size_t>(r)].insert(out[static_cast<std::size_t>(r)].end(), from.begin(), from.end());
    }
  return out;
}

void Ranks::gather_values(PerSample& values, const std::vector<std::vector<std::int32_t>>& shares, const char* what) const {
  if (alone()) return;
  std::string mine;
  for (std::int32_t i : shares[static_cast<std::size_t>(rank())]) {
    const std::vector<float>& v = values[static_cast<std::size_t>(i)];
    const std::uint64_t n = v.size();
    mine += bytes_of(std::span<const std::uint64_t>(&n, 1)) + bytes_of(std::span<const float>(v));
  }
  const std::vector<std::string> all = gather_lanes(mine, what);
  for (int r = 0; r < world(); ++r) {
    if (group(r) == group(rank()) || !leads(r)) continue;
    std::string_view bytes = all[static_cast<std::size_t>(r)];
    for (std::int32_t i : shares[static_cast<std::size_t>(r)]) {
      const std::uint64_t n = values_of<std::uint64_t>(bytes.substr(0, 8))[0];
      values[static_cast<std::size_t>(i)] = values_of<float>(bytes.substr(8, n * sizeof(float)));
      bytes.remove_prefix(8 + n * sizeof(float));
    }
  }
}

std::vector<std::string> Ranks::gather(std::string_view mine, const char* what) const {
  if (alone()) return {std::string(mine)};
  return comm().gather_bytes(mine, what);
}

void Ranks::broadcast(std::string& bytes, const char* what) const {
  if (alone()) return;
  std::uint64_t size = bytes.size();
  comm().broadcast(&size, sizeof size, 0, what);
  bytes.resize(size);
  comm().broadcast(bytes.data(), bytes.size(), 0, what);
}

double Ranks::largest(double mine, const char* what) const {
  double out = mine;
  for (const std::string& b : gather(bytes_of(std::span<const double>(&mine, 1)), what)) out = std::max(out, values_of<double>(b)[0]);
  return out;
}

double Ranks::sum(double mine, const char* what) const {
  double out = 0;
  for (const std::string& b : gather(bytes_of(std::span<const double>(&mine, 1)), what)) out += values_of<double>(b)[0];
  return out;
}

void Ranks::agree(const char* what, const std::function<void()>& work) const {
  if (alone()) return work();
  Outcome mine = Outcome::kDone;
  std::string text;
  try {
    work();
  } catch (const Interrupted& e) {
    mine = Outcome::kStopped, text = e.what();
  } catch (const GpuOutOfMemory& e) {
    mine = Outcome::kOutOfMemory, text = e.what();
  }
  const std::vector<std::string> all = gather(static_cast<char>(mine) + text, what);
  for (const Outcome outcome : {Outcome::kStopped, Outcome::kOutOfMemory})
    for (std::size_t r = 0; r < all.size(); ++r) {
      if (static_cast<Outcome>(all[r][0]) != outcome) continue;
      if (outcome == Outcome::kStopped) throw Interrupted(all[r].substr(1));
      throw GpuOutOfMemory(message("rank ", r, ": ", all[r].substr(1)));
    }
}

void Ranks::throw_if_stopped() const {
  agree("a stop?", [] { r1::throw_if_stopped(); });
}

}  // namespace r1
