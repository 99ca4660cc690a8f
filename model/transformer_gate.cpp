// Passes over weights that are spread over processes: each stretch is fetched before it is used and released after, with its packed form.
// Order of a forward and a backward pass: embedding, layers upwards, head (held until its own backward pass), layers downwards.
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "model/transformer_impl.h"

namespace r1 {

void Transformer::Impl::require_whole(const char* pass) const { R1_CHECK(!gate, pass, " over weights that are in shares: all of them are to be there first"); }

void Transformer::Impl::for_packed(LayerWeights& l, FunctionRef<void(cpu::PackedMatrix&, bool)> use) {
  const auto of_mlp = [&](MlpWeights& m) { use(m.gate_up_p, false), use(m.down_p, false), use(m.gate_up_pt, true), use(m.down_pt, true); };
  use(l.qkv_p, false), use(l.o_p, false), use(l.qkv_pt, true), use(l.o_pt, true);
  of_mlp(l.mlp);
  if (l.latent) {
    use(l.latent->down_p, false), use(l.latent->q_b_p, false), use(l.latent->down_pt, true), use(l.latent->q_b_pt, true);
    for (auto* list : {&l.latent->key_p, &l.latent->value_p})
      for (cpu::PackedMatrix& m : *list) use(m, false);
    for (auto* list : {&l.latent->key_pt, &l.latent->value_pt})
      for (cpu::PackedMatrix& m : *list) use(m, true);
  }
  if (!l.moe) return;
  use(l.moe->router_p, false), use(l.moe->shared_gate_p, false), use(l.moe->router_pt, true);
  for (MlpWeights& e : l.moe->experts) of_mlp(e);
  of_mlp(l.moe->shared);
}

void Transformer::Impl::drop_packed() {
  for (LayerWeights& l : layers) for_packed(l, [](cpu::PackedMatrix& m, bool) { m = {}; });
  head_p = {}, head_pt = {};
  if (prediction) prediction->eh_p = {}, prediction->eh_pt = {}, prediction->packed = false;
  packed = packed_transposed = head_packed = head_packed_transposed = false;
}

void Transformer::Impl::hold_layer(std::int64_t l, bool forward, bool transposed) {
  if (!gate) return;
  const auto [begin, end] = gradient_stretches()[static_cast<std::size_t>(L - 1 - l)];
  gate.fetch(begin, end);
  LayerWeights& w = layers[static_cast<std::size_t>(l)];
  if (forward) pack_layer(w, false);
  if (transposed) pack_layer(w, true);
}

void Transformer::Impl::drop_layer(std::int64_t l) {
  if (!gate) return;
  const auto [begin, end] = gradient_stretches()[static_cast<std::size_t>(L - 1 - l)];
  gate.release(begin, end);
  for_packed(layers[static_cast<std::size_t>(l)], [](cpu::PackedMatrix& m, bool) { m = {}; });
}

void Transformer::Impl::hold_embedding() {
  if (!gate) return;
  const auto [begin, end] = gradient_stretches()[static_cast<std::size_t>(L)];
  gate.fetch(begin, end);
}

void Transformer::Impl::drop_embedding() {
  if (!gate) return;
  const auto [begin, end] = gradient_stretches()[static_cast<std::size_t>(L)];
  gate.release(begin, end);
}

void Transformer::Impl::hold_head() {
  if (!gate) return;
  const auto [begin, end] = gradient_stretches()[static_cast<std::size_t>(L + 1)];
  gate.fetch(begin, end);
  if (head == embed) hold_embedding();
  head_held = true;
}

void Transformer::Impl::drop_head() {
  if (!gate || !head_held) return;
  head_held = head_packed = head_packed_transposed = false;
  head_p = {}, head_pt = {};
  const auto [begin, end] = gradient_stretches()[static_cast<std::size_t>(L + 1)];
  gate.release(begin, end);
  if (head == embed) drop_embedding();
}

void Transformer::set_weight_gate(WeightGate gate) {
  Impl& m = *impl_;
  m.drop_head();
  if (gate) m.drop_packed();
  m.gate = std::move(gate);
  weights_changed();
}

void Transformer::absent_pass() {
  Impl& m = *impl_;
  const auto stretches = m.gradient_stretches();
  m.drop_head();
  if (m.gate) {
    const auto meet = [&](std::int64_t i) {
      const auto [begin, end] = stretches[static_cast<std::size_t>(i)];
      m.gate.fetch(begin, end);
      m.gate.release(begin, end);
    };
    meet(m.L);
    for (std::int64_t l = 0; l < m.L; ++l) meet(m.L - 1 - l);
    meet(m.L + 1);
    if (m.head == m.embed) meet(m.L);
  }
  for (std::size_t i = 0; i < stretches.size(); ++i) {
    const auto [begin, end] = stretches[i];
    if (m.gate && i < static_cast<std::size_t>(m.L)) {
      m.gate.fetch(begin, end);
      m.gate.release(begin, end);
    }
    if (m.gradient_hook) m.gradient_hook(begin, end);
  }
}

std::size_t Transformer::packed_bytes() const {
  Impl& m = *impl_;
  std::size_t bytes = m.head_p.bytes() + m.head_pt.bytes();
  for (LayerWeights& l : m.layers) m.for_packed(l, [&](cpu::PackedMatrix& p, bool) { bytes += p.bytes(); });
  return bytes;
}

}  // namespace r1
