// r1 inspect: what a model is, from its configuration and files, without loading weights.
#include <cstdio>

#include "apps/command.h"
#include "apps/hub_files.h"
#include "core/error.h"
#include "core/files.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"
#include "model/model_summary.h"
#include "text/tokenizer.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

void print(const std::string& name, const std::string& value) { std::printf("%-18s %s\n", name.c_str(), value.c_str()); }

// A folder with a config.json alone is enough: a shape can be judged before its weights are there.
fs::path find(const std::string& given) {
  if (fs::exists(fs::path(given) / "config.json")) return given;
  return find_model(given);
}

std::string weights_line(const fs::path& path) {
  if (is_gguf(path)) return "GGUF file";
  bool any = false;
  for (const auto& entry : fs::directory_iterator(path)) any = any || entry.path().extension() == ".safetensors";
  if (!any) return "none in this folder (configuration only)";
  const ModelDirectory directory(path);  // checks every name, shape and type
  std::int64_t bytes = 0;
  for (const TensorView& t : directory.snapshot().tensors) bytes += static_cast<std::int64_t>(t.bytes());
  return message(directory.snapshot().tensors.size(), " tensors, ", bytes, " bytes, names and shapes as the configuration asks");
}

std::string template_of(const fs::path& path) {
  if (fs::exists(path / "chat_template.jinja")) return "chat_template.jinja";
  if (fs::exists(path / "tokenizer_config.json") && read_file(path / "tokenizer_config.json").find("\"chat_template\"") != std::string::npos)
    return "in tokenizer_config.json";
  return "none";
}

}  // namespace

void add_inspect(CLI::App& app, const Globals&, int& exit_code) {
  auto model = std::make_shared<std::string>();
  CLI::App* cmd = app.add_subcommand("inspect", "what a model is: family, shape, parameters, cache and memory, what is not supported");
  cmd->add_option("model", *model, "model folder, GGUF file or hub name in the local cache")->required();
  cmd->footer("Example: r1 inspect models/SmolLM2-135M-Instruct");
  cmd->callback([model, &exit_code] {
    const fs::path path = find(*model);
    print("model", path.string());
    const bool gguf = is_gguf(path);
    try {
      const ModelConfig config = gguf ? GgufModel(path).config() : ModelConfig::load(path);
      for (const auto& [name, value] : model_summary(config)) print(name, value);
      print("weights", weights_line(path));
    } catch (const CheckpointError& e) {
      print("not supported", e.what());
      exit_code = kExitFailure;
    }
    if (gguf) return;
    if (!fs::exists(path / "tokenizer.json")) {
      print("tokenizer", "none (no tokenizer.json)");
    } else {
      try {
        print("tokenizer", message(Tokenizer::load(path)->vocab_size(), " ids"));
      } catch (const Error& e) {
        print("tokenizer", message("not supported: ", e.what()));
        exit_code = kExitFailure;
      }
    }
    print("chat template", template_of(path));
  });
}

}  // namespace r1
