#include "model/gguf_model.h"

#include <set>

#include "core/error.h"
#include "core/files.h"
#include "model/gguf_config.h"
#include "model/gguf_names.h"
#include "model/gguf_tokenizer.h"
#include "model/hf_directory.h"

namespace r1 {

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
  return from_gguf_rows(file_.floats(file_.at(gguf_name(parameter.name))), parameter.name, config_);
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
