// r1 convert: a model, a GGUF file, a LoRA adapter with its base, or fewer layers of a model becomes a Hugging Face directory or a GGUF file.
#include <cstdio>

#include "apps/command.h"
#include "apps/gguf_out.h"
#include "apps/hub_files.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "model/cut_layers.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"
#include "rl/lora_adapter.h"

namespace r1 {
namespace {

// Directories may hold float16, which weights in memory are not.
DType parse_saved_dtype(const std::string& name) { return name == "float16" || name == "f16" ? DType::kF16 : parse_dtype(name); }

struct Args {
  std::string in, out, base, dtype = "bfloat16", type = "f16";
  bool force = false, verify = true;
  std::int64_t layers = 0;
};

// The adapter's base, which model and tokenizer come from.
std::filesystem::path base_of(const Args& args) {
  const std::string name = args.base.empty() ? LoraAdapter::base_model(args.in) : args.base;
  if (name.empty()) throw ConfigError(message(args.in, " names no base model; name it with --base"));
  return find_model(name);
}

// The base with the adapter merged into it.
LoadedModel merged(const Args& args, const std::filesystem::path& base, ComputePool& pool) {
  LoadedModel model = load_model(base, DType::kF32);  // one rounding, at the end
  LoraAdapter::load(args.in, model.config).merge_into(model.weights, pool);
  return model;
}

// A model of some of the layers; nothing is trained.
LoadedModel cut(const Args& args, const std::filesystem::path& in) {
  const LoadedModel model = load_model(in, DType::kF32);
  const std::vector<std::int64_t> kept = kept_layers(model.config.num_hidden_layers, args.layers);
  LoadedModel out{with_layers(model.config, args.layers), WeightStore(with_layers(model.config, args.layers), DType::kF32)};
  for (const TensorView& tensor : cut_layers(model.weights.snapshot(0).tensors, kept)) out.weights.set(tensor);
  std::string text;
  for (const std::int64_t layer : kept) text += (text.empty() ? "" : ", ") + std::to_string(layer);
  std::printf("layers %s of %lld\n", text.c_str(), static_cast<long long>(model.config.num_hidden_layers));
  return out;
}

void save_directory(const Args& args, const LoadedModel& model, const std::filesystem::path& side_files) {
  SaveModelOptions save;
  save.dtype = parse_saved_dtype(args.dtype);
  save.overwrite = args.force;
  if (is_gguf(side_files)) save.side_files = GgufModel(side_files).side_files();
  else save.side_files_from = side_files;
  save_model_directory(args.out, model.config, model.weights.snapshot(0).tensors, save);
}

void convert(const Args& args, int threads) {
  const bool to_gguf = args.out.ends_with(".gguf"), is_adapter = LoraAdapter::is_adapter(args.in);
  if (args.layers > 0 && is_adapter) throw ConfigError(message("--layers takes a model, but ", args.in, " is an adapter; merge it first"));
  if (!is_adapter && !args.base.empty()) throw ConfigError("--base belongs to an adapter, but " + args.in + " holds no adapter_config.json");
  const GgmlType type = parse_gguf_type(args.type);
  const std::filesystem::path in = is_adapter ? base_of(args) : find_model(args.in);
  if (!to_gguf && args.layers == 0 && !is_adapter) {
    if (!is_gguf(in))
      throw ConfigError(message(in.string(), " is a Hugging Face directory already; r1 convert makes a GGUF file of it (OUT.gguf), and --layers N a smaller model"));
    return convert_gguf_to_hf(in, args.out, parse_saved_dtype(args.dtype), args.force);
  }
  ComputePool pool(threads);
  LoadedModel model = is_adapter ? merged(args, in, pool) : args.layers > 0 ? cut(args, in) : load_model(in, DType::kF32);
  if (to_gguf) write_gguf(std::move(model), {in, args.out, type, args.force, args.verify}, pool);
  else save_directory(args, model, in);
}

}  // namespace

void add_convert(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("convert", "model, GGUF file, PEFT adapter and its base, or fewer layers of a model -> Hugging Face directory or GGUF file");
  cmd->add_option("in", args->in, "GGUF file, Hugging Face directory, or a folder with adapter_config.json")->required();
  cmd->add_option("out", args->out, "directory to make; a name that ends in .gguf: a GGUF file")->required();
  cmd->add_option("--base", args->base, "the adapter's base model (default: the one that its adapter_config.json names)");
  cmd->add_option("--dtype", args->dtype, "of a directory: bfloat16 (default), float16 or float32");
  cmd->add_option("--layers", args->layers, "keep so many of the model's layers, evenly spread, first and last among them: the start of a small student")
      ->check(CLI::PositiveNumber);
  cmd->add_option("--type", args->type, "of a GGUF file: f16 (default), bf16, f32, q8_0 or q4_k");
  cmd->add_flag("--verify,!--no-verify", args->verify, "read a GGUF file back and compare its logits and tokenizer with the model's (default)");
  cmd->add_flag("--force", args->force, "replace an existing model directory or file");
  cmd->footer("Example: r1 convert SmolLM2-135M-Instruct.Q4_1.gguf models/SmolLM2-135M-Instruct\n"
              "Example: r1 convert runs/quickstart/checkpoints/latest quickstart.gguf --type q8_0");
  cmd->callback([args, &globals] {
    convert(*args, globals.threads);
    if (args->out.ends_with(".gguf")) return;
    const ModelConfig config = ModelConfig::load(args->out);
    std::printf("%s: %s, %lld parameters\n", args->out.c_str(), config.model_type.c_str(), static_cast<long long>(config.num_parameters()));
  });
}

}  // namespace r1
