#include "model/gguf_names.h"

#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kLayerNames{{
    {"input_layernorm", "attn_norm"}, {"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"}, {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"}, {"mlp.down_proj", "ffn_down"},
}};

constexpr std::string_view kPrefix = "model.layers.";

std::vector<float> reorder(const std::vector<float>& from, std::int64_t heads, std::int64_t head_dim, bool to_pairs) {
  std::vector<float> out(from.size());
  const auto half = static_cast<std::size_t>(head_dim / 2);
  const std::size_t in = from.size() / (static_cast<std::size_t>(heads) * half * 2);
  for (std::size_t h = 0; h < static_cast<std::size_t>(heads); ++h)
    for (std::size_t i = 0; i < half; ++i)
      for (std::size_t part = 0; part < 2; ++part) {
        const std::size_t halves = ((h * 2 + part) * half + i) * in, pairs = ((h * half + i) * 2 + part) * in;
        std::memcpy(&out[to_pairs ? pairs : halves], &from[to_pairs ? halves : pairs], in * sizeof(float));
      }
  return out;
}

// Rotated heads of a tensor whose rows ggml keeps in another order; 0 = the order is the same.
std::int64_t reordered_heads(const std::string& name, const ModelConfig& config) {
  if (config.model_type != "llama") return 0;
  if (name.find(".q_proj.") != std::string::npos) return config.num_attention_heads;
  return name.find(".k_proj.") != std::string::npos ? config.num_key_value_heads : 0;
}

}  // namespace

std::string gguf_name(const std::string& hf) {
  if (hf == "model.embed_tokens.weight") return "token_embd.weight";
  if (hf == "model.norm.weight") return "output_norm.weight";
  if (hf == "lm_head.weight") return "output.weight";
  const std::size_t dot = hf.find('.', kPrefix.size()), last = hf.rfind('.');
  const std::string_view part = std::string_view(hf).substr(dot + 1, last - dot - 1);
  for (const auto& [from, to] : kLayerNames)
    if (part == from) return "blk." + hf.substr(kPrefix.size(), dot - kPrefix.size()) + "." + std::string(to) + hf.substr(last);
  R1_CHECK(false, "no GGUF name for ", hf);
  return {};
}

std::vector<float> from_gguf_rows(std::vector<float> values, const std::string& hf_name, const ModelConfig& config) {
  const std::int64_t heads = reordered_heads(hf_name, config);
  return heads == 0 ? std::move(values) : reorder(values, heads, config.head_dim, false);
}

std::vector<float> to_gguf_rows(std::vector<float> values, const std::string& hf_name, const ModelConfig& config) {
  const std::int64_t heads = reordered_heads(hf_name, config);
  return heads == 0 ? std::move(values) : reorder(values, heads, config.head_dim, true);
}

}  // namespace r1
