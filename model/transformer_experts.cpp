// Experts shared out over ranks. A training pass: each rank has whole sequences of the batch; in a layer with experts it routes its own
// rows, sends each to the ranks that hold its experts, and adds what comes back in ascending order of experts. An expert sees its rows by
// rank, then token: the order of the whole batch. So log-probabilities and an expert's gradient, given its rows', have the bits of one rank.
// A step of the rollout: all ranks have all rows (and all keys and values), and share the experts' work out by rows.
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "model/transformer_impl.h"

namespace r1 {
namespace {

// Entries of rows as they stand at the ranks that hold the experts: by expert, then rank.
class Places {
 public:
  Places(const std::vector<std::int64_t>& came, std::int64_t held) : came_(came), held_(held), first_(came.size()) {
    const auto ranks = static_cast<std::int64_t>(came.size()) / held;
    for (std::int64_t e = 0; e < held; ++e)
      for (std::int64_t r = 0; r < ranks; ++r) first_[index(r, e)] = total_, total_ += came[index(r, e)];
  }
  std::int64_t total() const { return total_; }
  std::int64_t first(std::int64_t rank, std::int64_t expert) const { return first_[index(rank, expert)]; }
  std::int64_t came(std::int64_t rank, std::int64_t expert) const { return came_[index(rank, expert)]; }
  std::int64_t from(std::int64_t rank) const {  // all of a rank's
    std::int64_t sum = 0;
    for (std::int64_t e = 0; e < held_; ++e) sum += came(rank, e);
    return sum;
  }
  std::int64_t of(std::int64_t expert) const { return (expert + 1 < held_ ? first(0, expert + 1) : total_) - first(0, expert); }

 private:
  std::size_t index(std::int64_t rank, std::int64_t expert) const { return static_cast<std::size_t>(rank * held_ + expert); }
  const std::vector<std::int64_t>& came_;
  std::int64_t held_;
  std::vector<std::int64_t> first_;
  std::int64_t total_ = 0;
};

}  // namespace

void Transformer::Impl::move_experts(const ExpertActivations& a, std::byte* here, std::int64_t bytes, std::byte* there, bool back) {
  ModelGroup& group = *parallel.experts;
  const std::int64_t size = group.size(), held = config.moe->held();
  const Places places(a.came, held);
  auto* wire = received.get<std::byte>(places.total() * bytes);  // what is there, by rank, then expert
  const auto wire_rows = [&](FunctionRef<void(std::byte* wire_rows, std::byte* there_rows, std::size_t bytes)> use) {
    std::byte* at = wire;
    for (std::int64_t r = 0; r < size; ++r)
      for (std::int64_t e = 0; e < held; ++e) {
        const std::int64_t n = places.came(r, e) * bytes;
        if (n > 0) use(at, there + places.first(r, e) * bytes, static_cast<std::size_t>(n));
        at += n;
      }
  };
  if (back) wire_rows([](std::byte* w, std::byte* t, std::size_t n) { std::memcpy(w, t, n); });
  std::vector<std::span<const std::byte>> sends;
  std::vector<std::span<std::byte>> receives;
  std::byte* at = wire;
  for (std::int64_t r = 0; r < size; ++r) {
    const std::int64_t first = a.offsets[static_cast<std::size_t>(r * held)], last = a.offsets[static_cast<std::size_t>((r + 1) * held)];
    const std::span<std::byte> mine(here + first * bytes, static_cast<std::size_t>((last - first) * bytes));
    const std::span<std::byte> theirs(at, static_cast<std::size_t>(places.from(r) * bytes));
    sends.emplace_back(back ? theirs : mine);
    receives.push_back(back ? mine : theirs);
    at += theirs.size();
  }
  group.exchange(sends, receives, back ? "experts' results" : "tokens for experts");
  if (!back) wire_rows([](std::byte* w, std::byte* t, std::size_t n) { std::memcpy(t, w, n); });
}

void Transformer::Impl::distant_forward(const MoeWeights& m, const std::byte* x_rows, ExpertActivations& a, float* h_rows) {
  ModelGroup& group = *parallel.experts;
  const MixtureOfExperts& moe = *config.moe;
  const std::int64_t held = moe.held(), row_bytes = D * static_cast<std::int64_t>(esize), width = 2 * moe.intermediate_size * static_cast<std::int64_t>(esize);
  const auto size = static_cast<std::size_t>(group.size());
  std::vector<std::int64_t> counts;
  for (std::int64_t e = 0; e < moe.num_experts; ++e) counts.push_back(a.offsets[static_cast<std::size_t>(e + 1)] - a.offsets[static_cast<std::size_t>(e)]);
  a.came.assign(counts.size(), 0);
  std::vector<std::span<const std::byte>> sends;
  std::vector<std::span<std::byte>> receives;
  for (std::size_t r = 0; r < size; ++r) {
    const std::size_t first = r * static_cast<std::size_t>(held), n = static_cast<std::size_t>(held);
    sends.push_back(std::as_bytes(std::span<const std::int64_t>(counts).subspan(first, n)));
    receives.push_back(std::as_writable_bytes(std::span<std::int64_t>(a.came).subspan(first, n)));
  }
  group.exchange(sends, receives, "tokens of each expert");

  const Places places(a.came, held);
  const ExpertRows all{a.rows.data(), static_cast<std::int64_t>(a.rows.size()), moe.experts_per_token};
  auto* x_there = there_x.get<std::byte>(places.total() * row_bytes);
  move_experts(a, gather_rows(all, x_rows, expert_x), row_bytes, x_there, false);
  float* y_there = there_y.get<float>(places.total() * D);
  auto* gate_up = a.gate_up.get<std::byte>(places.total() * width);
  for (std::int64_t e = 0; e < held; ++e) {
    const std::int64_t first = places.first(0, e), count = places.of(e);
    if (count > 0) expert_forward(m.experts[static_cast<std::size_t>(e)], x_there + first * row_bytes, count, gate_up + first * width, y_there + first * D);
  }
  float* y = here_y.get<float>(all.count * D);
  move_experts(a, reinterpret_cast<std::byte*>(y), D * 4, reinterpret_cast<std::byte*>(y_there), true);
  add_all_experts(a, a.weights.as<float>(), y, h_rows);
}

void Transformer::Impl::add_all_experts(const ExpertActivations& a, const float* weights, const float* y, float* to) {
  for (std::size_t e = 0; e + 1 < a.offsets.size(); ++e) {
    const std::int64_t first = a.offsets[e], count = a.offsets[e + 1] - first;
    if (count > 0) add_expert({a.rows.data() + first, count, config.moe->experts_per_token}, weights, y + first * D, to);
  }
}

void Transformer::Impl::distant_backward(const MoeWeights& m, const std::byte* x_rows, const std::byte* dy, ExpertActivations& a, float* dweights,
                                         float* dx32, float* grad) {
  const MixtureOfExperts& moe = *config.moe;
  const std::int64_t held = moe.held(), row_bytes = D * static_cast<std::int64_t>(esize), width = 2 * moe.intermediate_size * static_cast<std::int64_t>(esize);
  const Places places(a.came, held);
  const ExpertRows all{a.rows.data(), static_cast<std::int64_t>(a.rows.size()), moe.experts_per_token};
  auto* x_there = there_x.get<std::byte>(places.total() * row_bytes);
  auto* dy_there = there_dy.get<std::byte>(places.total() * row_bytes);
  float* weights_there = there_weights.get<float>(2 * places.total());
  float* d_weights_there = weights_there + places.total();
  row_weights.resize(a.rows.size()), d_row_weights.resize(a.rows.size());
  for (std::int64_t i = 0; i < all.count; ++i) row_weights[static_cast<std::size_t>(i)] = a.weights.as<float>()[all.entry(i)];
  const auto bytes = [](float* p) { return reinterpret_cast<std::byte*>(p); };
  move_experts(a, gather_rows(all, x_rows, expert_x), row_bytes, x_there, false);
  move_experts(a, gather_rows(all, dy, d_expert_x), row_bytes, dy_there, false);
  move_experts(a, bytes(row_weights.data()), 4, bytes(weights_there), false);
  float* back_there = there_y.get<float>(places.total() * D);
  for (std::int64_t e = 0; e < held; ++e) {
    const std::int64_t first = places.first(0, e), count = places.of(e);
    if (count > 0)
      expert_backward(m.experts[static_cast<std::size_t>(e)], count, x_there + first * row_bytes, dy_there + first * row_bytes, weights_there + first,
                      a.gate_up.data() + first * width, d_weights_there + first, back_there + first * D, grad);
  }
  float* back = here_y.get<float>(all.count * D);
  move_experts(a, bytes(back), D * 4, bytes(back_there), true);
  move_experts(a, bytes(d_row_weights.data()), 4, bytes(d_weights_there), true);
  for (std::int64_t i = 0; i < all.count; ++i) dweights[all.entry(i)] = d_row_weights[static_cast<std::size_t>(i)];
  add_all_experts(a, nullptr, back, dx32);
}

// ---- a step: all ranks have all rows ------------------------------------------------------------------------------

void Transformer::Impl::share_step_rows(std::int64_t n, std::byte* rows, std::int64_t bytes, const char* what) {
  ModelGroup& group = *parallel.experts;
  const std::int64_t size = group.size(), own = group.rank();
  std::vector<std::span<const std::byte>> sends;
  std::vector<std::span<std::byte>> receives;
  for (std::int64_t r = 0; r < size; ++r) {
    const auto slice = [&](std::int64_t of) { return std::span<std::byte>(rows + n * of / size * bytes, static_cast<std::size_t>((n * (of + 1) / size - n * of / size) * bytes)); };
    sends.emplace_back(r == own ? std::span<std::byte>() : slice(own));
    receives.push_back(r == own ? std::span<std::byte>() : slice(r));
  }
  group.exchange(sends, receives, what);
}

void Transformer::Impl::step_experts(std::int64_t l, std::int64_t n, const std::byte* x_rows, ExpertActivations& a, float* h_rows) {
  const std::int64_t size = parallel.experts->size(), rank = parallel.experts->rank(), first = n * rank / size, last = n * (rank + 1) / size;
  std::uint16_t* whole = record;
  if (record != nullptr) record += first * choices();
  routed_forward(l, last - first, x_rows + first * D * static_cast<std::int64_t>(esize), a, h_rows + first * D);
  record = whole;
  share_step_rows(n, reinterpret_cast<std::byte*>(h_rows), D * 4, "a step's rows");
}

// ---- training passes: whole sequences -----------------------------------------------------------------------------

// A sequence and those that continue it stay together. By the place of a unit's middle row, so that the parts are of about the same size.
PackedBatch Transformer::Impl::batch_part(const PackedBatch& batch, std::vector<std::vector<std::size_t>>& places) const {
  const auto size = static_cast<std::int64_t>(parallel.experts->size()), rank = static_cast<std::int64_t>(parallel.experts->rank());
  const auto n = static_cast<std::int64_t>(batch.tokens.size());
  std::vector<std::int64_t> rank_of(batch.tokens.size());
  PackedBatch own;
  std::int32_t shift = -1;  // the first row that is this rank's
  for (std::size_t b = 0; b < batch.sequences.size();) {
    std::size_t end = b + 1;
    while (end < batch.sequences.size() && batch.sequences[end].prefix_begin >= 0) ++end;
    const std::int32_t first = batch.sequences[b].begin, last = batch.sequences[end - 1].end;
    const std::int64_t owner = std::min<std::int64_t>((std::int64_t{first} + last) * size / (2 * n), size - 1);
    std::fill(rank_of.begin() + first, rank_of.begin() + last, owner);
    for (; b < end; ++b) {
      if (owner != rank) continue;
      if (shift < 0) shift = first;
      cpu::AttentionSequence s = batch.sequences[b];
      s.begin -= shift, s.end -= shift;
      if (s.prefix_begin >= 0) s.prefix_begin -= shift, s.prefix_end -= shift;
      own.sequences.push_back(s);
    }
  }
  places.assign(static_cast<std::size_t>(size), {});
  for (std::size_t i = 0; i < batch.predictors.size(); ++i) {
    const std::int64_t owner = rank_of[static_cast<std::size_t>(batch.predictors[i])];
    places[static_cast<std::size_t>(owner)].push_back(i);
    if (owner == rank) own.predictors.push_back(batch.predictors[i] - shift), own.targets.push_back(batch.targets[i]);
  }
  if (own.sequences.empty()) return own;
  const auto take = [&](const auto& from, auto& to, std::int64_t each) {
    to.assign(from.begin() + shift * each, from.begin() + (shift + own.sequences.back().end) * each);
  };
  take(batch.tokens, own.tokens, 1), take(batch.positions, own.positions, 1);
  if (!batch.experts.empty()) take(batch.experts, own.experts, choices());
  return own;
}

LogprobRows Transformer::Impl::part_pass(const PackedBatch& batch, float temperature, bool want_entropies, bool keep, bool recompute) {
  std::vector<std::vector<std::size_t>> places;
  PackedBatch own = batch_part(batch, places);
  LogprobRows rows;
  if (keep) pending.stats.clear();
  if (own.tokens.empty()) {
    pack_weights();
    if (keep) kept.resize(static_cast<std::size_t>(L));
    replay = {};
    count_load = keep;
    for (std::int64_t l = 0; l < L; ++l)
      if (layers[static_cast<std::size_t>(l)].moe) moe_forward(l, 0, nullptr, keep && !recompute ? kept[static_cast<std::size_t>(l)] : scratch, nullptr);
    count_load = false;
  } else {
    float* h_rows = (keep ? pending.h_out : h).get<float>(static_cast<std::int64_t>(own.tokens.size()) * D);
    run_layers(own, h_rows, keep, recompute);
    if (!own.predictors.empty()) rows = logprob_rows(own, h_rows, temperature, want_entropies, keep ? &pending.stats : nullptr);
  }
  if (keep) {
    pending.places = places[static_cast<std::size_t>(parallel.experts->rank())];
    pending.targets = batch.predictors.size();
    pending.batch = std::move(own);
  }
  return join_targets(*parallel.experts, places, rows, want_entropies);
}

void Transformer::Impl::part_backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, float* dh, float* grad) {
  const PackedBatch& own = pending.batch;
  if (own.tokens.empty()) {
    for (std::int64_t l = L - 1; l >= 0; --l) {
      if (!layers[static_cast<std::size_t>(l)].moe) continue;
      LayerActivations& a = pending.recompute ? scratch : kept[static_cast<std::size_t>(l)];
      if (pending.recompute) moe_forward(l, 0, nullptr, a, nullptr);
      moe_backward(l, 0, nullptr, nullptr, own, a, grad, nullptr);
    }
    return;
  }
  std::vector<float> d_own, d_entropy;
  for (const std::size_t i : pending.places) d_own.push_back(d_logprobs[i]), d_entropy.push_back(d_entropies.empty() ? 0.f : d_entropies[i]);
  head_backward(own, pending.h_out.as<float>(), d_own, d_entropy, dh, grad);
  layers_backward(dh, grad);
}

}  // namespace r1
