// One model on several ranks: sums of products that are shared out, a softmax over parts of the vocabulary, rows for heads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/transformer_impl.h"

namespace r1 {

bool Transformer::splits_vocabulary() const { return impl_->parallel.tensor != nullptr; }

// ---- tensor parallel ----------------------------------------------------------------------------------------------

void Transformer::Impl::add_shared(std::int64_t n, float* h_rows, float* out, FunctionRef<void(float*, cpu::Store)> make) {
  if (!parallel.tensor) {
    if (out) make(out, cpu::Store::kStore);
    else make(h_rows, cpu::Store::kAdd);
    return;
  }
  float* to = out ? out : partial.get<float>(n * D);
  make(to, cpu::Store::kStore);
  parallel.tensor->sum(to, n * D, "a layer's output");
  if (out) return;
  pool.parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * D; i < end * D; ++i) h_rows[i] += to[i];
  });
}

void Transformer::Impl::input_gradient(const void* dy, std::int64_t n, std::int64_t ld, const cpu::PackedMatrix& b, std::byte* dx) {
  if (!parallel.tensor) return gemm(dy, n, ld, b, dx, type, cpu::Store::kStore);
  // Rounded after the sum only.
  float* sum = type == cpu::Type::kF32 ? reinterpret_cast<float*>(dx) : partial.get<float>(n * D);
  gemm(dy, n, ld, b, sum, cpu::Type::kF32, cpu::Store::kStore);
  parallel.tensor->sum(sum, n * D, "a layer's input gradient");
  if (type != cpu::Type::kF32) cpu::convert(pool, sum, reinterpret_cast<cpu::bf16*>(dx), n * D);
}

const float* Transformer::Impl::gather_logits(std::int64_t m, const float* part) {
  ModelGroup& group = *parallel.tensor;
  const TensorSplit split = store.split();
  const auto rows_of = [&](int rank) { return vocabulary_rows(whole, {rank, split.size}); };
  std::byte* all = received.get<std::byte>(m * vocab * 4);
  std::vector<std::span<const std::byte>> sends;
  std::vector<std::span<std::byte>> receives;
  for (int r = 0; r < split.size; ++r) {
    const auto [first, last] = rows_of(r);
    sends.emplace_back(reinterpret_cast<const std::byte*>(part), static_cast<std::size_t>(m * V) * 4);
    receives.emplace_back(all + m * first * 4, static_cast<std::size_t>(m * (last - first)) * 4);
  }
  group.exchange(sends, receives, "logits");
  float* out = whole_logits.get<float>(m * vocab);
  pool.parallel_for(m, 1, [&](std::int64_t begin, std::int64_t end) {
    for (int r = 0; r < split.size; ++r) {
      const auto [first, last] = rows_of(r);
      const float* from = reinterpret_cast<const float*>(all) + m * first;
      for (std::int64_t i = begin; i < end; ++i)
        std::memcpy(out + i * vocab + first, from + i * (last - first), static_cast<std::size_t>(last - first) * 4);
    }
  });
  return out;
}

namespace {

// Of a row whose parts have these statistics: H = sum_r p_r (H_r - ln p_r) with p_r the part's share.
cpu::RowStats join_parts(std::span<const cpu::RowStats> parts, bool want_entropy) {
  cpu::RowStats out{-std::numeric_limits<float>::infinity(), 0, 0};
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const cpu::RowStats& p : parts) out.max = std::max(out.max, p.max), most = std::max(most, double{p.logsumexp});
  for (const cpu::RowStats& p : parts) sum += std::exp(p.logsumexp - most);  // NaN stays NaN
  const double total = most + std::log(sum);
  out.logsumexp = static_cast<float>(total);
  double entropy = 0;
  for (const cpu::RowStats& p : parts)
    if (const double share = std::exp(p.logsumexp - total); want_entropy && share != 0) entropy += share * (p.entropy + total - p.logsumexp);
  out.entropy = static_cast<float>(entropy);
  return out;
}

}  // namespace

// Of columns [first, first + count) of the vocabulary, which are z.
cpu::RowStats Transformer::Impl::part_stats(const float* z, std::int64_t first, std::int64_t count, float temperature, bool want_entropy) const {
  const std::int64_t real = std::clamp<std::int64_t>(vocab_limit - first, 0, count);
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  return real == 0 ? cpu::RowStats{kNothing, kNothing, 0} : cpu::row_stats(z, real, temperature, want_entropy);
}

cpu::RowStats Transformer::row_stats(const float* logits, float temperature, bool want_entropy) const {
  const Impl& m = *impl_;
  if (!m.parallel.tensor) return cpu::row_stats(logits, m.vocab_limit, temperature, want_entropy);
  std::vector<cpu::RowStats> parts;
  for (int r = 0; r < m.store.split().size; ++r) {
    const auto [first, last] = vocabulary_rows(m.whole, {r, m.store.split().size});
    parts.push_back(m.part_stats(logits + first, first, last - first, temperature, want_entropy));
  }
  return join_parts(parts, want_entropy);
}

LogprobRows Transformer::Impl::split_logprob_rows(const PackedBatch& batch, float temperature, bool want_entropies, std::vector<cpu::RowStats>* stats_out) {
  struct Part { cpu::RowStats stats; float target = 0; };  // the target's logit, of the rank that has it
  const auto m = batch.predictors.size(), size = static_cast<std::size_t>(store.split().size);
  const bool entropy = want_entropies || stats_out != nullptr;
  std::vector<Part> mine(m), all(m * size);
  constexpr std::int64_t kRows = 128;  // of logits held at a time
  for (std::int64_t begin = 0; begin < static_cast<std::int64_t>(m); begin += kRows) {
    const std::int64_t count = std::min(kRows, static_cast<std::int64_t>(m) - begin);
    const float* z = head_logits(gathered_x.data() + static_cast<std::size_t>(begin * D) * esize, count);
    pool.parallel_for(count, 1, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i) {
        const auto u = static_cast<std::size_t>(begin + i);
        mine[u].stats = part_stats(z + i * V, vocab_first, V, temperature, entropy);
        if (const std::int64_t at = batch.targets[u] - vocab_first; at >= 0 && at < V) mine[u].target = z[i * V + at];
      }
    });
  }
  std::vector<std::span<const std::byte>> sends(size, std::as_bytes(std::span<const Part>(mine)));
  std::vector<std::span<std::byte>> receives;
  for (std::size_t r = 0; r < size; ++r) receives.push_back(std::as_writable_bytes(std::span<Part>(all).subspan(r * m, m)));
  parallel.tensor->exchange(sends, receives, "log-probabilities");

  LogprobRows out;
  out.logprobs.resize(m);
  if (want_entropies) out.entropies.resize(m), out.top_logprobs.resize(m);
  if (stats_out) stats_out->resize(m);
  std::vector<cpu::RowStats> parts(size);
  const std::int64_t each = vocabulary_rows(whole, {0, store.split().size}).second;
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t r = 0; r < size; ++r) parts[r] = all[r * m + i].stats;
    const cpu::RowStats s = join_parts(parts, entropy);
    const float target = all[static_cast<std::size_t>(batch.targets[i] / each) * m + i].target;
    out.logprobs[i] = cpu::row_logprob(&target, s, 0, temperature);
    if (want_entropies) out.entropies[i] = s.entropy, out.top_logprobs[i] = s.max - s.logsumexp;
    if (stats_out) (*stats_out)[i] = s;
  }
  return out;
}

// ---- sequence parallel --------------------------------------------------------------------------------------------

void Transformer::Impl::take_rows(std::int64_t n) {
  if (!parallel.sequence) return;
  const std::int64_t size = parallel.sequence->size(), rank = parallel.sequence->rank();
  if (n < size) throw ConfigError(message("train.sequence_parallel is ", size, ", but a micro-batch has ", n, " tokens; lower it"));
  row_begins.clear();
  for (std::int64_t r = 0; r <= size; ++r) row_begins.push_back(n * r / size);
  first_row = row_begins[static_cast<std::size_t>(rank)], last_row = row_begins[static_cast<std::size_t>(rank + 1)];
}

PackedBatch Transformer::Impl::own_targets(const PackedBatch& batch, std::vector<std::size_t>& places) const {
  PackedBatch out;
  for (std::size_t i = 0; i < batch.predictors.size(); ++i) {
    const std::int32_t row = batch.predictors[i];
    if (row < first_row || row >= last_row) continue;
    places.push_back(i);
    out.predictors.push_back(row - static_cast<std::int32_t>(first_row));
    out.targets.push_back(batch.targets[i]);
  }
  return out;
}

LogprobRows Transformer::Impl::gather_targets(const PackedBatch& batch, const LogprobRows& own, bool want_entropies) {
  std::vector<std::vector<std::size_t>> places(static_cast<std::size_t>(parallel.sequence->size()));  // of each rank's targets
  for (std::size_t i = 0; i < batch.predictors.size(); ++i) {
    const auto after = std::upper_bound(row_begins.begin(), row_begins.end(), std::int64_t{batch.predictors[i]});
    places[static_cast<std::size_t>(after - row_begins.begin() - 1)].push_back(i);
  }
  return join_targets(*parallel.sequence, places, own, want_entropies);
}

LogprobRows Transformer::Impl::join_targets(ModelGroup& group, const std::vector<std::vector<std::size_t>>& places, const LogprobRows& own, bool want_entropies) const {
  struct Values { float logprob = 0, entropy = 0, top = 0; };
  const std::size_t size = places.size();
  std::size_t m = 0;
  for (const auto& of_rank : places) m += of_rank.size();
  std::vector<Values> mine(own.logprobs.size());
  for (std::size_t i = 0; i < mine.size(); ++i) {
    mine[i].logprob = own.logprobs[i];
    if (want_entropies) mine[i].entropy = own.entropies[i], mine[i].top = own.top_logprobs[i];
  }
  std::vector<std::vector<Values>> all(size);
  std::vector<std::span<const std::byte>> sends(size, std::as_bytes(std::span<const Values>(mine)));
  std::vector<std::span<std::byte>> receives;
  for (std::size_t r = 0; r < size; ++r) {
    all[r].resize(places[r].size());
    receives.push_back(std::as_writable_bytes(std::span<Values>(all[r])));
  }
  group.exchange(sends, receives, "log-probabilities");
  LogprobRows out;
  out.logprobs.resize(m);
  if (want_entropies) out.entropies.resize(m), out.top_logprobs.resize(m);
  for (std::size_t r = 0; r < size; ++r)
    for (std::size_t k = 0; k < places[r].size(); ++k) {
      out.logprobs[places[r][k]] = all[r][k].logprob;
      if (want_entropies) out.entropies[places[r][k]] = all[r][k].entropy, out.top_logprobs[places[r][k]] = all[r][k].top;
    }
  return out;
}

namespace {

struct Sections {
  std::size_t own = 0, share = 0;  // bytes of a row: all columns, one rank's of each section
  std::vector<std::pair<std::size_t, std::size_t>> parts;  // [first byte, bytes of one rank's share)
  Sections(std::span<const std::int64_t> widths, std::size_t size, std::size_t esize) {
    for (const std::int64_t w : widths) {
      const std::size_t bytes = static_cast<std::size_t>(w) * esize;
      parts.emplace_back(own, bytes / size);
      own += bytes, share += bytes / size;
    }
  }
};

}  // namespace

void Transformer::Impl::to_heads(const std::byte* own, std::span<const std::int64_t> widths, std::byte* all) {
  const auto size = static_cast<std::size_t>(parallel.sequence->size()), n = static_cast<std::size_t>(last_row - first_row);
  const Sections s(widths, size, esize);
  auto* out = sent.get<std::byte>(static_cast<std::int64_t>(n * s.own));
  std::vector<std::span<const std::byte>> sends;
  std::vector<std::span<std::byte>> receives;
  for (std::size_t r = 0; r < size; ++r) {
    std::byte* block = out + r * n * s.share;
    for (std::size_t i = 0; i < n; ++i) {
      std::byte* to = block + i * s.share;
      for (const auto& [first, bytes] : s.parts) std::memcpy(to, own + i * s.own + first + r * bytes, bytes), to += bytes;
    }
    sends.emplace_back(block, n * s.share);
    const auto begin = static_cast<std::size_t>(row_begins[r]), end = static_cast<std::size_t>(row_begins[r + 1]);
    receives.emplace_back(all + begin * s.share, (end - begin) * s.share);
  }
  parallel.sequence->exchange(sends, receives, "rows for heads");
}

void Transformer::Impl::from_heads(const std::byte* all, std::span<const std::int64_t> widths, std::byte* own) {
  const auto size = static_cast<std::size_t>(parallel.sequence->size()), n = static_cast<std::size_t>(last_row - first_row);
  const Sections s(widths, size, esize);
  auto* in = received.get<std::byte>(static_cast<std::int64_t>(n * s.own));
  std::vector<std::span<const std::byte>> sends;
  std::vector<std::span<std::byte>> receives;
  for (std::size_t r = 0; r < size; ++r) {
    const auto begin = static_cast<std::size_t>(row_begins[r]), end = static_cast<std::size_t>(row_begins[r + 1]);
    sends.emplace_back(all + begin * s.share, (end - begin) * s.share);
    receives.emplace_back(in + r * n * s.share, n * s.share);
  }
  parallel.sequence->exchange(sends, receives, "heads for rows");
  for (std::size_t r = 0; r < size; ++r)
    for (std::size_t i = 0; i < n; ++i) {
      const std::byte* from = in + (r * n + i) * s.share;
      for (const auto& [first, bytes] : s.parts) std::memcpy(own + i * s.own + first + r * bytes, from, bytes), from += bytes;
    }
}

}  // namespace r1
