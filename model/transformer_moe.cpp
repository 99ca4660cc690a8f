// The gated MLP of a layer, and mixtures of experts: tokens are sorted by expert, each expert multiplies its own rows, and a token's
// results are added in ascending order of experts, so that they do not depend on the other tokens of a batch (exact mode).
// Every token reaches all its experts: there is no capacity.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "model/router.h"
#include "model/transformer_impl.h"

namespace r1 {

void Transformer::Impl::mlp_forward(const MlpWeights& m, std::int64_t n, const std::byte* x_rows, Buffer& gate_up, float* h_rows, float* out) {
  const auto bytes = [&](std::int64_t width) { return n * width * static_cast<std::int64_t>(esize); };
  auto* gu = gate_up.get<std::byte>(bytes(2 * m.width));
  gemm(x_rows, n, D, m.gate_up_p, gu, type, cpu::Store::kStore, m.gate_bias ? w(m.gate_bias) : nullptr);
  auto* inner = act.get<std::byte>(bytes(m.width));
  cpu::swiglu(pool, gu, n, m.width, inner, type, activation);
  const bool with_bias = m.down_bias && (!parallel.tensor || parallel.tensor->rank() == 0);  // once in the ranks' sum
  add_shared(n, h_rows, out, [&](float* to, cpu::Store store) {
    gemm(inner, n, m.width, m.down_p, to, cpu::Type::kF32, store, with_bias ? w(m.down_bias) : nullptr);
  });
}

void Transformer::Impl::mlp_backward(const MlpWeights& m, std::int64_t n, const std::byte* x_rows, const void* dy, const Buffer& gate_up,
                                     float* grad, std::byte* dx) {
  const auto bytes = [&](std::int64_t width) { return n * width * static_cast<std::int64_t>(esize); };
  const auto g = [&](const Parameter* p) { return grad + p->offset; };
  auto* inner = act.get<std::byte>(bytes(m.width));
  cpu::swiglu(pool, gate_up.data(), n, m.width, inner, type, activation);
  pack_input(inner, n, m.width);
  weight_gradient(dy, D, D, g(m.down));
  if (m.down_bias) bias_gradient(dy, n, D, g(m.down_bias));
  auto* da = d_act.get<std::byte>(bytes(m.width));
  gemm(dy, n, D, m.down_pt, da, type, cpu::Store::kStore);
  auto* dgu = d_gate_up.get<std::byte>(bytes(2 * m.width));
  cpu::swiglu_backward(pool, gate_up.data(), da, n, m.width, dgu, type, activation);
  pack_input(x_rows, n, D);
  weight_gradient(dgu, 2 * m.width, 2 * m.width, g(m.gate));
  if (m.gate_bias) bias_gradient(dgu, n, 2 * m.width, g(m.gate_bias));
  input_gradient(dgu, n, 2 * m.width, m.gate_up_pt, dx);
}

namespace {

template <class T> float dot_row(const T* a, const T* b, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if constexpr (sizeof(T) == 4) sum += a[i] * b[i];
    else sum += cpu::to_float(a[i]) * cpu::to_float(b[i]);
  }
  return sum;
}

template <class T> void scale_row(T* x, float by, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    if constexpr (sizeof(T) == 4) x[i] *= by;
    else x[i] = cpu::to_bf16(cpu::to_float(x[i]) * by);
  }
}

}  // namespace

const float* Transformer::Impl::as_float(const std::byte* x_rows, std::int64_t elements) {
  if (type == cpu::Type::kF32) return reinterpret_cast<const float*>(x_rows);
  cpu::convert(pool, reinterpret_cast<const cpu::bf16*>(x_rows), x32.get<float>(elements), elements);
  return x32.as<float>();
}

void Transformer::Impl::route(std::int64_t l, std::int64_t n, const std::byte* x_rows, ExpertActivations& a) {
  const MoeWeights& m = *layers[static_cast<std::size_t>(l)].moe;
  const MixtureOfExperts& moe = *config.moe;
  const std::int64_t E = moe.num_experts, K = moe.experts_per_token, at = moe_layers[static_cast<std::size_t>(l)];
  float* scores = a.scores.get<float>(n * E);
  auto* chosen = a.chosen.get<std::int32_t>(n * K);
  float* weights = a.weights.get<float>(n * K);
  if (n > 0) gemm(as_float(x_rows, n * D), n, D, m.router_p, scores, cpu::Type::kF32, cpu::Store::kStore);
  const float* bias = m.bias ? store.buffer(*m.bias) : nullptr;
  pool.parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t place = (i * num_moe_layers + at) * K;  // a prediction layer has none
      route_token(moe, bias, replay.empty() || at < 0 ? nullptr : replay.data() + place, scores + i * E, chosen + i * K, weights + i * K);
      for (std::int64_t k = 0; record != nullptr && at >= 0 && k < K; ++k) record[place + k] = static_cast<std::uint16_t>(chosen[i * K + k]);
    }
  });
  // Counting sort: by expert, then token.
  a.offsets.assign(static_cast<std::size_t>(E + 1), 0);
  for (std::int64_t i = 0; i < n * K; ++i) ++a.offsets[static_cast<std::size_t>(chosen[i] + 1)];
  for (std::int64_t e = 0; e < E; ++e) a.offsets[static_cast<std::size_t>(e + 1)] += a.offsets[static_cast<std::size_t>(e)];
  a.rows.resize(static_cast<std::size_t>(n * K));
  std::vector<std::int64_t> next(a.offsets.begin(), a.offsets.end() - 1);
  for (std::int64_t i = 0; i < n * K; ++i)
    a.rows[static_cast<std::size_t>(next[static_cast<std::size_t>(chosen[i])]++)] = static_cast<std::int32_t>(i);
  if (count_load && at >= 0) expert_rows += n;
}

float* Transformer::Impl::expert_forward(const MlpWeights& e, const std::byte* x_rows, std::int64_t count, std::byte* gate_up, float* y) {
  gemm(x_rows, count, D, e.gate_up_p, gate_up, type, cpu::Store::kStore);
  auto* inner = expert_act.get<std::byte>(count * e.width * static_cast<std::int64_t>(esize));
  cpu::swiglu(pool, gate_up, count, e.width, inner, type, activation);
  gemm(inner, count, e.width, e.down_p, y, cpu::Type::kF32, cpu::Store::kStore);
  return y;
}

void Transformer::Impl::add_expert(const ExpertRows& rows, const float* weights, const float* y, float* h_rows) {
  pool.parallel_for(rows.count, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float weight = weights ? weights[rows.entry(i)] : 1.f;
      float* to = h_rows + rows.token(i) * D;
      for (std::int64_t j = 0; j < D; ++j) to[j] += weight * y[i * D + j];
    }
  });
}

std::byte* Transformer::Impl::gather_rows(const ExpertRows& rows, const std::byte* from, Buffer& to) {
  const std::int64_t row_bytes = D * static_cast<std::int64_t>(esize);
  auto* out = to.get<std::byte>(rows.count * row_bytes);
  pool.parallel_for(rows.count, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      std::memcpy(out + i * row_bytes, from + rows.token(i) * row_bytes, static_cast<std::size_t>(row_bytes));
  });
  return out;
}

void Transformer::Impl::routed_forward(std::int64_t l, std::int64_t n, const std::byte* x_rows, ExpertActivations& a, float* h_rows) {
  const MoeWeights& m = *layers[static_cast<std::size_t>(l)].moe;
  const MixtureOfExperts& moe = *config.moe;
  const std::int64_t K = moe.experts_per_token, width = 2 * moe.intermediate_size * static_cast<std::int64_t>(esize);
  route(l, n, x_rows, a);
  if (parallel.experts) {
    distant_forward(m, x_rows, a, h_rows);
    count_computed(l, a);
    return;
  }
  auto* gate_up = a.gate_up.get<std::byte>(n * K * width);
  for (std::size_t e = 0; e < m.experts.size(); ++e) {
    const std::int64_t first = a.offsets[e], count = a.offsets[e + 1] - first;
    if (count == 0) continue;
    const ExpertRows rows{a.rows.data() + first, count, K};
    const float* y = expert_forward(m.experts[e], gather_rows(rows, x_rows, expert_x), count, gate_up + first * width, expert_out.get<float>(count * D));
    add_expert(rows, a.weights.as<float>(), y, h_rows);
  }
  count_computed(l, a);
}

void Transformer::Impl::count_computed(std::int64_t l, const ExpertActivations& a) {
  const std::int64_t at = moe_layers[static_cast<std::size_t>(l)], E = config.moe->num_experts, held = config.moe->held();
  if (!count_load || at < 0) return;  // a prediction layer's do not count
  std::int64_t* load = expert_load.data() + at * E;
  if (!parallel.experts)
    for (std::int64_t e = 0; e < E; ++e) load[e] += a.offsets[static_cast<std::size_t>(e + 1)] - a.offsets[static_cast<std::size_t>(e)];
  else  // what came here
    for (std::size_t i = 0; i < a.came.size(); ++i) load[config.moe->first_held + static_cast<std::int64_t>(i) % held] += a.came[i];
}

void Transformer::Impl::moe_forward(std::int64_t l, std::int64_t n, const std::byte* x_rows, LayerActivations& activations, float* h_rows) {
  const MoeWeights& m = *layers[static_cast<std::size_t>(l)].moe;
  ExpertActivations& a = activations.moe;
  if (parallel.experts && stepping) step_experts(l, n, x_rows, a, h_rows);
  else routed_forward(l, n, x_rows, a, h_rows);
  if (m.shared.width == 0 || n == 0) return;
  const float* shared_weight = nullptr;
  if (m.shared_gate != nullptr) {
    float* weight = a.shared_weight.get<float>(n);
    gemm(as_float(x_rows, n * D), n, D, m.shared_gate_p, weight, cpu::Type::kF32, cpu::Store::kStore);
    for (std::int64_t i = 0; i < n; ++i) weight[i] = 1 / (1 + std::exp(-weight[i]));
    shared_weight = weight;
  }
  auto* gate_up = a.shared_gate_up.get<std::byte>(n * 2 * m.shared.width * static_cast<std::int64_t>(esize));
  add_expert({nullptr, n, 1}, shared_weight, expert_forward(m.shared, x_rows, n, gate_up, expert_out.get<float>(n * D)), h_rows);
}

void Transformer::Impl::balance_gradient(const MoeWeights&, const PackedBatch& batch, ExpertActivations& a, float* d_logits) {
  if (balance_weight == 0) return;
  const MixtureOfExperts& moe = *config.moe;
  for (const cpu::AttentionSequence& s : batch.sequences)
    balance_value += balance_weight * balance_loss(moe, a.scores.as<float>() + s.begin * moe.num_experts,
                                                   a.chosen.as<std::int32_t>() + s.begin * moe.experts_per_token, s.end - s.begin,
                                                   balance_weight, d_logits + s.begin * moe.num_experts);
}

// y = weight * down(inner): d weight = dy . down(inner) = (dy W_down) . inner, so no product of the forward pass is needed again.
void Transformer::Impl::expert_backward(const MlpWeights& e, std::int64_t count, const std::byte* x_rows, const std::byte* dy, const float* weights,
                                        const std::byte* gate_up, float* dweights, float* dx, float* grad) {
  const std::int64_t F = e.width, size = static_cast<std::int64_t>(esize);
  auto* inner = expert_act.get<std::byte>(count * F * size);
  cpu::swiglu(pool, gate_up, count, F, inner, type, activation);
  auto* da = d_act.get<std::byte>(count * F * size);
  gemm(dy, count, D, e.down_pt, da, type, cpu::Store::kStore);
  if (weights != nullptr) {
    const auto weigh = [&](auto* inner_rows, auto* da_rows) {
      pool.parallel_for(count, 8, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          dweights[i] = dot_row(da_rows + i * F, inner_rows + i * F, F);
          scale_row(inner_rows + i * F, weights[i], F);
          scale_row(da_rows + i * F, weights[i], F);
        }
      });
    };
    if (type == cpu::Type::kF32) weigh(reinterpret_cast<float*>(inner), reinterpret_cast<float*>(da));
    else weigh(reinterpret_cast<cpu::bf16*>(inner), reinterpret_cast<cpu::bf16*>(da));
  }
  pack_input(inner, count, F);
  weight_gradient(dy, D, D, grad + e.down->offset);
  auto* dgu = d_gate_up.get<std::byte>(count * 2 * F * size);
  cpu::swiglu_backward(pool, gate_up, da, count, F, dgu, type, activation);
  pack_input(x_rows, count, D);
  weight_gradient(dgu, 2 * F, 2 * F, grad + e.gate->offset);
  gemm(dgu, count, 2 * F, e.gate_up_pt, dx, cpu::Type::kF32, cpu::Store::kStore);
}

void Transformer::Impl::moe_backward(std::int64_t l, std::int64_t n, const std::byte* x_rows, const void* dy_rows, const PackedBatch& batch,
                                     LayerActivations& activations, float* grad, std::byte* dx) {
  const MoeWeights& m = *layers[static_cast<std::size_t>(l)].moe;
  const MixtureOfExperts& moe = *config.moe;
  ExpertActivations& a = activations.moe;
  const auto size = static_cast<std::int64_t>(esize);
  const std::int64_t E = moe.num_experts, K = moe.experts_per_token;
  const auto* dy = static_cast<const std::byte*>(dy_rows);
  const auto g = [&](const Parameter* p) { return grad + p->offset; };
  float* dx32 = d_x32.get<float>(n * D);
  std::memset(dx32, 0, static_cast<std::size_t>(n * D) * 4);

  float* dweights = d_weights.get<float>(n * K);
  if (parallel.experts) {
    distant_backward(m, x_rows, dy, a, dweights, dx32, grad);
  } else {
    for (std::size_t e = 0; e < m.experts.size(); ++e) {
      const std::int64_t first = a.offsets[e], count = a.offsets[e + 1] - first;
      if (count == 0) continue;
      const ExpertRows rows{a.rows.data() + first, count, K};
      row_weights.resize(static_cast<std::size_t>(count)), d_row_weights.resize(static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i) row_weights[static_cast<std::size_t>(i)] = a.weights.as<float>()[rows.entry(i)];
      float* back = expert_out.get<float>(count * D);
      expert_backward(m.experts[e], count, gather_rows(rows, x_rows, expert_x), gather_rows(rows, dy, d_expert_x), row_weights.data(),
                      a.gate_up.data() + first * 2 * moe.intermediate_size * size, d_row_weights.data(), back, grad);
      for (std::int64_t i = 0; i < count; ++i) dweights[rows.entry(i)] = d_row_weights[static_cast<std::size_t>(i)];
      add_expert(rows, nullptr, back, dx32);
    }
  }
  if (n == 0) return;
  float* dlogits = d_scores.get<float>(n * E);
  std::memset(dlogits, 0, static_cast<std::size_t>(n * E) * 4);
  pool.parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      route_token_backward(moe, a.scores.as<float>() + i * E, a.chosen.as<std::int32_t>() + i * K, dweights + i * K, dlogits + i * E);
  });
  balance_gradient(m, batch, a, dlogits);
  // Small float32 products, in the order of tokens.
  const float* x = as_float(x_rows, n * D);
  gemm(dlogits, n, E, m.router_pt, dx32, cpu::Type::kF32, cpu::Store::kAdd);
  pool.parallel_for(E, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t e = begin; e < end; ++e)
        for (std::int64_t j = 0; j < D; ++j) g(m.router)[e * D + j] += dlogits[i * E + e] * x[i * D + j];
  });
  if (m.shared.width > 0) {
    float* dgate = d_weights.get<float>(n);
    float* back = expert_out.get<float>(n * D);
    expert_backward(m.shared, n, x_rows, dy, m.shared_gate ? a.shared_weight.as<float>() : nullptr, a.shared_gate_up.data(), dgate, back, grad);
    add_expert({nullptr, n, 1}, nullptr, back, dx32);
    if (m.shared_gate != nullptr) {
      x = as_float(x_rows, n * D);
      const std::byte* gate_row = w(m.shared_gate);
      for (std::int64_t i = 0; i < n; ++i) {
        const float s = a.shared_weight.as<float>()[i], dlogit = dgate[i] * s * (1 - s);
        for (std::int64_t j = 0; j < D; ++j) {
          const float weight = type == cpu::Type::kF32 ? reinterpret_cast<const float*>(gate_row)[j] : cpu::to_float(reinterpret_cast<const cpu::bf16*>(gate_row)[j]);
          g(m.shared_gate)[j] += dlogit * x[i * D + j];
          dx32[i * D + j] += dlogit * weight;
        }
      }
    }
  }
  if (type == cpu::Type::kF32) std::memcpy(dx, dx32, static_cast<std::size_t>(n * D) * 4);
  else cpu::convert(pool, dx32, reinterpret_cast<cpu::bf16*>(dx), n * D);
}

double ExpertLoad::max_over_mean() const {
  double sum = 0;
  std::int64_t counted = 0;
  for (std::int64_t l = 0; l < layers; ++l) {
    const std::int64_t* row = tokens.data() + l * experts;
    std::int64_t total = 0, largest = 0;
    for (std::int64_t e = 0; e < experts; ++e) total += row[e], largest = std::max(largest, row[e]);
    if (total == 0) continue;
    sum += static_cast<double>(largest) * static_cast<double>(experts) / static_cast<double>(total);
    ++counted;
  }
  return counted > 0 ? sum / static_cast<double>(counted) : 0;
}

std::int64_t Transformer::expert_choices() const { return impl_->choices(); }

void Transformer::read_experts(const std::byte* block, std::int32_t position, std::uint16_t* out) const {
  const auto bytes = static_cast<std::size_t>(impl_->choices()) * sizeof(std::uint16_t);
  std::memcpy(out, block + impl_->routes_offset() + static_cast<std::size_t>(position % cpu::kKvBlock) * bytes, bytes);
}

LogprobRows Transformer::evaluate_experts(const PackedBatch& batch, float temperature, std::vector<std::uint16_t>& experts) {
  R1_CHECK(!impl_->parallel.experts, "the experts of a batch whose rows are shared out");
  experts.assign(batch.tokens.size() * static_cast<std::size_t>(impl_->choices()), 0);
  impl_->record = experts.empty() ? nullptr : experts.data();
  LogprobRows rows = evaluate(batch, temperature, false);
  impl_->record = nullptr;
  return rows;
}

void Transformer::set_balance_loss(double weight) { impl_->balance_weight = weight; }

double Transformer::take_balance_loss() { return std::exchange(impl_->balance_value, 0); }

ExpertLoad Transformer::take_expert_load() {
  Impl& m = *impl_;
  ExpertLoad load;
  if (!m.config.moe) return load;
  load.layers = m.num_moe_layers, load.experts = m.config.moe->num_experts;
  load.tokens = m.expert_load;
  load.dropped = m.expert_rows * m.config.moe->experts_per_token;
  for (const std::int64_t tokens : load.tokens) load.dropped -= tokens;
  std::fill(m.expert_load.begin(), m.expert_load.end(), 0);
  m.expert_rows = 0;
  return load;
}

void Transformer::update_correction_biases(const ExpertLoad& load, double speed) {
  Impl& m = *impl_;
  if (!m.config.moe || !m.config.moe->correction_bias)
    throw ConfigError(message("moe.bias_update: a ", m.config.model_type, " model has no correction bias; set it to 0"));
  R1_CHECK(load.layers == m.num_moe_layers && load.experts == m.config.moe->num_experts, "the load of another model");
  for (std::int64_t l = 0; l < m.L; ++l) {
    const LayerWeights& lw = m.layers[static_cast<std::size_t>(l)];
    if (!lw.moe) continue;
    update_correction_bias({load.tokens.data() + m.moe_layers[static_cast<std::size_t>(l)] * load.experts, static_cast<std::size_t>(load.experts)}, speed,
                           m.store.buffer(*lw.moe->bias));
  }
}

}  // namespace r1
