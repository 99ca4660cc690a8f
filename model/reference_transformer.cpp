#include "model/reference_transformer.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/error.h"
#include "model/element_convert.h"
#include "model/weight_store.h"

namespace r1 {
namespace {

// The type of statistics: float32, or float64 for a float64 model.
at::ScalarType wide(at::ScalarType type) { return type == at::kDouble ? at::kDouble : at::kFloat; }

at::Tensor rotate_half(const at::Tensor& x) {
  const std::int64_t half = x.size(-1) / 2;
  return at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
}

// [B,K,T,h] -> [B,K*repeat,T,h]: query head j uses key head j / repeat.
at::Tensor repeat_heads(const at::Tensor& x, std::int64_t repeat) {
  const auto s = x.sizes();
  return x.unsqueeze(2).expand({s[0], s[1], repeat, s[2], s[3]}).reshape({s[0], s[1] * repeat, s[2], s[3]});
}

}  // namespace

ReferenceTransformer::ReferenceTransformer(ModelConfig config, at::ScalarType dtype, at::Device device)
    : config_(std::move(config)), dtype_(dtype), device_(device) {
  for (const Parameter& p : parameter_layout(config_))
    parameters_[p.name] = at::zeros(p.shape, at::TensorOptions().dtype(dtype_).device(device_)).requires_grad_();
}

void ReferenceTransformer::load(const WeightSnapshot& snapshot) {
  WeightStore store(config_, DType::kF32);  // checks names and shapes, converts
  store.load(snapshot);
  for (const Parameter& p : store.parameters()) {
    const at::Tensor view = at::from_blob(store.at(p), p.shape, at::kFloat);
    parameters_[p.name] = view.to(device_, dtype_, /*non_blocking=*/false, /*copy=*/true).requires_grad_();
  }
}

at::Tensor ReferenceTransformer::parameter(std::string_view name) const {
  const auto it = parameters_.find(name);
  if (it == parameters_.end()) throw CheckpointError(message("tensor ", name, " is not a parameter of this model"));
  return it->second;
}

at::Tensor ReferenceTransformer::gradient(std::string_view name) const {
  const at::Tensor p = parameter(name);
  return p.grad().defined() ? p.grad() : at::zeros_like(p);
}

void ReferenceTransformer::zero_gradients() {
  for (auto& [name, p] : parameters_) p.mutable_grad().reset();
}

at::Tensor ReferenceTransformer::rms_norm(const at::Tensor& x, const std::string& name) const {
  const at::Tensor y = x.to(wide(dtype_));
  const at::Tensor variance = y.pow(2).mean(-1, /*keepdim=*/true);
  return parameter(name) * (y * at::rsqrt(variance + static_cast<double>(config_.rms_norm_eps))).to(dtype_);
}

at::Tensor ReferenceTransformer::project(const at::Tensor& x, const std::string& name) const {
  const auto bias = parameters_.find(name + ".bias");
  return at::linear(x, parameter(name + ".weight"), bias == parameters_.end() ? at::Tensor() : bias->second);
}

at::Tensor ReferenceTransformer::attention(const at::Tensor& x, const std::string& layer, const at::Tensor& cos,
                                           const at::Tensor& sin) const {
  const std::int64_t batch = x.size(0), length = x.size(1), h = config_.head_dim;
  const auto heads = [&](const at::Tensor& y, const char* norm) {
    at::Tensor z = y.view({batch, length, -1, h});
    if (norm != nullptr && config_.qk_norm) z = rms_norm(z, layer + norm);
    return z.transpose(1, 2);
  };
  at::Tensor q = heads(project(x, layer + "q_proj"), "q_norm.weight");
  at::Tensor k = heads(project(x, layer + "k_proj"), "k_norm.weight");
  at::Tensor v = heads(project(x, layer + "v_proj"), nullptr);
  q = q * cos + rotate_half(q) * sin;
  k = k * cos + rotate_half(k) * sin;
  const std::int64_t repeat = config_.num_attention_heads / config_.num_key_value_heads;
  k = repeat_heads(k, repeat);
  v = repeat_heads(v, repeat);
  const double scale = 1 / std::sqrt(static_cast<double>(h));
  const at::Tensor future =
      at::full({length, length}, -std::numeric_limits<double>::infinity(), q.options().requires_grad(false)).triu(1);
  const at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * scale + future;
  const at::Tensor weights = at::softmax(scores, -1, wide(dtype_)).to(dtype_);
  return project(at::matmul(weights, v).transpose(1, 2).reshape({batch, length, -1}), layer + "o_proj");
}

at::Tensor ReferenceTransformer::logits(const at::Tensor& tokens) const {
  const std::int64_t length = tokens.size(1);
  std::vector<float> frequencies = rope_inverse_frequencies(config_);
  std::vector<float> angles;  // [T, h/2] in float32, as the tables of transformers
  for (std::int64_t t = 0; t < length; ++t)
    for (const float f : frequencies) angles.push_back(static_cast<float>(t) * f);
  const at::Tensor half = at::from_blob(angles.data(), {length, config_.head_dim / 2}, at::kFloat).clone();
  const at::Tensor angle = at::cat({half, half}, -1);
  const at::Tensor cos = angle.cos().to(device_, dtype_), sin = angle.sin().to(device_, dtype_);

  const at::Tensor embedding = parameter("model.embed_tokens.weight");
  at::Tensor x = at::embedding(embedding, tokens.to(device_));
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    x = x + attention(rms_norm(x, layer + "input_layernorm.weight"), layer + "self_attn.", cos, sin);
    const at::Tensor y = rms_norm(x, layer + "post_attention_layernorm.weight");
    x = x + project(at::silu(project(y, layer + "mlp.gate_proj")) * project(y, layer + "mlp.up_proj"), layer + "mlp.down_proj");
  }
  x = rms_norm(x, "model.norm.weight");
  return at::linear(x, config_.tie_word_embeddings ? embedding : parameter("lm_head.weight"));
}

at::Tensor ReferenceTransformer::logprobs(const at::Tensor& tokens, double temperature) const {
  const std::int64_t next = tokens.size(1) - 1;
  const at::Tensor z = logits(tokens).narrow(1, 0, next).to(wide(dtype_)) / temperature;
  return at::log_softmax(z, -1).gather(-1, tokens.to(device_).narrow(1, 1, next).unsqueeze(-1)).squeeze(-1);
}

at::Tensor ReferenceTransformer::entropies(const at::Tensor& tokens, double temperature) const {
  const at::Tensor z = logits(tokens).narrow(1, 0, tokens.size(1) - 1).to(wide(dtype_)) / temperature;
  const at::Tensor logp = at::log_softmax(z, -1);
  return -(logp.exp() * logp).sum(-1);
}

at::Tensor ReferenceTransformer::loss(const at::Tensor& tokens) const { return -logprobs(tokens).mean(); }

}  // namespace r1
