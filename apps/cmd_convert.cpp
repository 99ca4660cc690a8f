// r1 convert: a GGUF file, a LoRA adapter with its base, or fewer layers of a model becomes a Hugging Face directory.
#include <cstdio>

#include "apps/command.h"
#include "apps/hub_files.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "model/cut_layers.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"
#include "rl/lora_adapter.h"

namespace r1 {
namespace {

// Writes the base with the adapter merged into it.
void merge_adapter(const std::filesystem::path& adapter, const std::string& base_given, const std::filesystem::path& out, DType dtype, bool force, int threads) {
  const std::string base_name = base_given.empty() ? LoraAdapter::base_model(adapter) : base_given;
  if (base_name.empty()) throw ConfigError(message(adapter.string(), " names no base model; name it with --base"));
  const std::filesystem::path base = find_model(base_name);
  LoadedModel model = load_model(base, DType::kF32);  // one rounding, at the end
  ComputePool pool(threads);
  LoraAdapter::load(adapter, model.config).merge_into(model.weights, pool);
  SaveModelOptions save;
  save.dtype = dtype;
  save.overwrite = force;
  if (is_gguf(base)) save.side_files = GgufModel(base).side_files();
  else save.side_files_from = base;
  save_model_directory(out, model.config, model.weights.snapshot(0).tensors, save);
}

// Writes a model of some of the layers; nothing is trained.
void cut_model(const std::filesystem::path& in, const std::filesystem::path& out, std::int64_t layers, DType dtype, bool force) {
  const LoadedModel model = load_model(in, DType::kF32);
  const std::vector<std::int64_t> kept = kept_layers(model.config.num_hidden_layers, layers);
  SaveModelOptions save;
  save.dtype = dtype;
  save.overwrite = force;
  if (is_gguf(in)) save.side_files = GgufModel(in).side_files();
  else save.side_files_from = in;
  save_model_directory(out, with_layers(model.config, layers), cut_layers(model.weights.snapshot(0).tensors, kept), save);
  std::string text;
  for (const std::int64_t layer : kept) text += (text.empty() ? "" : ", ") + std::to_string(layer);
  std::printf("layers %s of %lld\n", text.c_str(), static_cast<long long>(model.config.num_hidden_layers));
}

}  // namespace

void add_convert(CLI::App& app, const Globals& globals, int&) {
  struct Args { std::string in, out, base, dtype = "bfloat16"; bool force = false; std::int64_t layers = 0; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("convert", "GGUF file, PEFT adapter and its base, or fewer layers of a model -> Hugging Face model directory");
  cmd->add_option("in", args->in, "GGUF file, a folder with adapter_config.json, or with --layers any model")->required();
  cmd->add_option("out", args->out, "directory to make")->required();
  cmd->add_option("--base", args->base, "the adapter's base model (default: the one that its adapter_config.json names)");
  cmd->add_option("--dtype", args->dtype, "bfloat16 (default), float16 or float32");
  cmd->add_option("--layers", args->layers, "keep so many of the model's layers, evenly spread, first and last among them: the start of a small student")
      ->check(CLI::PositiveNumber);
  cmd->add_flag("--force", args->force, "replace an existing model directory");
  cmd->footer("Example: r1 convert SmolLM2-135M-Instruct.Q4_1.gguf models/SmolLM2-135M-Instruct");
  cmd->callback([args, &globals] {
    const DType dtype = args->dtype == "float16" || args->dtype == "f16" ? DType::kF16 : parse_dtype(args->dtype);
    if (args->layers > 0) {
      if (LoraAdapter::is_adapter(args->in)) throw ConfigError(message("--layers takes a model, but ", args->in, " is an adapter; merge it first"));
      cut_model(find_model(args->in), args->out, args->layers, dtype, args->force);
    } else if (LoraAdapter::is_adapter(args->in)) {
      merge_adapter(args->in, args->base, args->out, dtype, args->force, globals.threads);
    } else {
      if (!args->base.empty()) throw ConfigError("--base belongs to an adapter, but " + args->in + " holds no adapter_config.json");
      const std::filesystem::path in = find_model(args->in);
      if (!is_gguf(in)) throw ConfigError(message(in.string(), " is no GGUF file and no adapter; r1 convert reads these and writes a Hugging Face directory (--layers N cuts any model)"));
      convert_gguf_to_hf(in, args->out, dtype, args->force);
    }
    const ModelConfig config = ModelConfig::load(args->out);
    std::printf("%s: %s, %lld parameters\n", args->out.c_str(), config.model_type.c_str(), static_cast<long long>(config.num_parameters()));
  });
}

}  // namespace r1
