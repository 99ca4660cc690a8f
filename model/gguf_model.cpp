#include "model/gguf_model.h"

#include <array>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "model/gguf_config.h"
#include "model/gguf_tokenizer.h"
#include "model/hf_directory.h"

namespace r1 {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kLayerNames{{
    {"input_layernorm", "attn_norm"}, {"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"}, {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"}, {"mlp.down_proj", "ffn_down"},
}};

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"
std::string gguf_name(const std::string& hf) {
  if (hf == "model.embed_tokens.weight") return "token_embd.weight";
  if (hf == "model.norm.weight") return "output_norm.weight";
  if (hf == "lm_head.weight") return "output.weight";
  constexpr std::string_view kPrefix = "model.layers.";
  const std::size_t dot = hf.find('.', kPrefix.size()), last = hf.rfind('.');
  const std::string_view part = std::string_view(hf).substr(dot + 1, last - dot - 1);
  for (const auto& [from, to] : kLayerNames)
    if (part == from) return "blk." + hf.substr(kPrefix.size(), dot - kPrefix.size()) + "." + std::string(to) + hf.substr(last);
  R1_CHECK(false, "no GGUF name for ", hf);
  return {};
}

// Stored [head, D/2, 2, in] -> HF's [head, 2, D/2, in]; a bias has in = 1.
std::vector<float> unpermute(const std::vector<float>& stored, std::int64_t heads, std::int64_t head_dim) {
  std::vector<float> out(stored.size());
  const auto half = static_cast<std::size_t>(head_dim / 2);
  const std::size_t in = stored.size() / (static_cast<std::size_t>(heads) * half * 2);
  for (std::size_t h = 0; h < static_cast<std::size_t>(heads); ++h)
    for (std::size_t i = 0; i < half; ++i)
      for (std::size_t part = 0; part < 2; ++part)
        std::memcpy(&out[((h * 2 + part) * half + i) * in], &stored[((h * half + i) * 2 + part) * in], in * sizeof(float));
  return out;
}

}  // namespace

GgufModel::GgufModel(const std::filesystem::path& path)
    : file_(path), config_(config_of_gguf(file_)), parameters_(parameter_layout(config_)) {
  std::set<std::string> expected = {"rope_freqs.weight"};
  for (const Parameter& p : parameters_) {
    const std::string name = gguf_name(p.name);
    expected.insert(name);
    if (file_.at(name).shape != p.shape)
      throw CheckpointError(message(path.string(), ": tensor ", name, " has another shape than ", p.name,
                                    " of the architecture (", p.elements, " elements expected, ", file_.at(name).elements, " found)"));
  }
  for (const GgufTensor& tensor : file_.tensors())
    if (!expected.contains(tensor.name))
      throw CheckpointError(message(path.string(), ": tensor ", tensor.name, " is not part of a ", config_.model_type, " model"));
}

std::vector<float> GgufModel::tensor(const Parameter& parameter) const {
  std::vector<float> values = file_.floats(file_.at(gguf_name(parameter.name)));
  if (config_.model_type != "llama") return values;
  if (parameter.name.find(".q_proj.") != std::string::npos) return unpermute(values, config_.num_attention_heads, config_.head_dim);
  if (parameter.name.find(".k_proj.") != std::string::npos) return unpermute(values, config_.num_key_value_heads, config_.head_dim);
  return values;
}

void GgufModel::load_into(WeightStore& store) const {
  for (const Parameter& p : parameters_) {
    const std::vector<float> values = tensor(p);
    store.set({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(values.data()), -1});
  }
}

std::map<std::string, std::string> GgufModel::side_files() const { return hf_tokenizer_files(file_, config_); }

void convert_gguf_to_hf(const std::filesystem::path& gguf, const std::filesystem::path& out_dir, DType dtype, bool overwrite) {
  const GgufModel model(gguf);
  const std::map<std::string, std::string> side_files = model.side_files();  // before the long part: it may refuse
  std::vector<TensorView> views;
  std::map<std::string, const Parameter*> by_name;
  for (const Parameter& p : model.parameters()) {
    views.push_back({p.name, DType::kF32, p.shape, nullptr, -1});
    by_name[p.name] = &p;
  }
  std::vector<float> values;
  SaveModelOptions options;
  options.dtype = dtype;
  options.overwrite = overwrite;
  options.side_files = side_files;
  options.materialise = [&](const TensorView& wanted) {
    values = model.tensor(*by_name.at(wanted.name));
    TensorView view = wanted;
    view.data = reinterpret_cast<const std::byte*>(values.data());
    return view;
  };
  save_model_directory(out_dir, model.config(), views, options);
}

}  // namespace r1
