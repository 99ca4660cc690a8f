#include "model/cut_layers.h"

#include <algorithm>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::string_view kLayers = "model.layers.";

}  // namespace

std::vector<std::int64_t> kept_layers(std::int64_t layers, std::int64_t keep) {
  if (keep < 1 || keep >= layers)
    throw ConfigError(message("a model of ", layers, " layers can be cut to 1 to ", layers - 1, " layers, not to ", keep));
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < keep; ++i) out.push_back(keep == 1 ? 0 : (i * (layers - 1) * 2 + keep - 1) / ((keep - 1) * 2));  // to the nearest
  return out;
}

ModelConfig with_layers(const ModelConfig& config, std::int64_t layers) {
  ModelConfig out = config;
  out.num_hidden_layers = layers;
  if (out.json.empty()) return out;
  auto json = nlohmann::ordered_json::parse(out.json);
  json["num_hidden_layers"] = layers;
  if (const auto types = json.find("layer_types"); types != json.end() && types->is_array())  // Qwen's list, an entry a layer; all alike here
    types->erase(types->begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(types->size(), static_cast<std::size_t>(layers))), types->end());
  out.json = json.dump(2);
  return out;
}

std::vector<TensorView> cut_layers(const std::vector<TensorView>& tensors, const std::vector<std::int64_t>& kept) {
  std::vector<TensorView> out;
  for (const TensorView& tensor : tensors) {
    if (!tensor.name.starts_with(kLayers)) {
      out.push_back(tensor);
      continue;
    }
    const std::size_t dot = tensor.name.find('.', kLayers.size());
    const std::int64_t layer = std::atoll(tensor.name.c_str() + kLayers.size());
    const auto at = std::find(kept.begin(), kept.end(), layer);
    if (at == kept.end()) continue;
    TensorView renamed = tensor;
    renamed.name = message(kLayers, at - kept.begin(), tensor.name.substr(dot));
    out.push_back(std::move(renamed));
  }
  return out;
}

}  // namespace r1
