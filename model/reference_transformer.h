// The dense decoder (Llama, Qwen2, Qwen3) in plain ATen operations with autograd: the independent truth that tests hold the
// hand-written kernels against, and the first form of a new architecture. Follows transformers' modeling_llama.py,
// modeling_qwen2.py and modeling_qwen3.py with eager attention, rounding for rounding. Slow; not for training runs.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "core/weights.h"
#include "model/model_config.h"

namespace r1 {

// Not thread-safe. Tensors returned carry their graph: backward() of any scalar made of them fills the gradients.
class ReferenceTransformer {
 public:
  // dtype: at::kFloat, at::kDouble or at::kBFloat16; norms, rotary tables and softmax are in float32 at least.
  ReferenceTransformer(ModelConfig config, at::ScalarType dtype, at::Device device = at::kCPU);

  const ModelConfig& config() const { return config_; }
  // Sets every parameter (host tensors of F32, F16, BF16). Throws CheckpointError for a missing, unknown or misshapen one.
  void load(const WeightSnapshot& snapshot);

  // tokens [B,T] int64 -> [B,T,V] in the model's type. All sequences have length T: there is no padding mask.
  at::Tensor logits(const at::Tensor& tokens) const;
  // ln p(tokens[b,t+1] | tokens[b,0..t]) -> [B,T-1], nats, float32 (float64 if the model is), at the temperature.
  at::Tensor logprobs(const at::Tensor& tokens, double temperature = 1) const;
  // Entropy of the next token's distribution -> [B,T-1], nats.
  at::Tensor entropies(const at::Tensor& tokens, double temperature = 1) const;
  // Mean of -logprobs: a scalar.
  at::Tensor loss(const at::Tensor& tokens) const;

  // Leaves with requires_grad, by HF name.
  const std::map<std::string, at::Tensor, std::less<>>& parameters() const { return parameters_; }
  at::Tensor parameter(std::string_view name) const;  // throws CheckpointError
  at::Tensor gradient(std::string_view name) const;   // zeros where nothing arrived
  void zero_gradients();

 private:
  at::Tensor rms_norm(const at::Tensor& x, const std::string& name) const;
  at::Tensor project(const at::Tensor& x, const std::string& name) const;  // x W^T, + bias where there is one
  at::Tensor attention(const at::Tensor& x, const std::string& layer, const at::Tensor& cos, const at::Tensor& sin) const;

  ModelConfig config_;
  at::ScalarType dtype_;
  at::Device device_;
  std::map<std::string, at::Tensor, std::less<>> parameters_;
};

}  // namespace r1
