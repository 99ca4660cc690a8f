// r1 convert: a GGUF file becomes a Hugging Face directory.
#include <cstdio>

#include "apps/command.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"

namespace r1 {

void add_convert(CLI::App& app, const Globals&, int&) {
  struct Args { std::string in, out, dtype = "bfloat16"; bool force = false; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("convert", "GGUF file -> Hugging Face model directory");
  cmd->add_option("in", args->in, "GGUF file")->required();
  cmd->add_option("out", args->out, "directory to make")->required();
  cmd->add_option("--dtype", args->dtype, "bfloat16 (default), float16 or float32");
  cmd->add_flag("--force", args->force, "replace an existing model directory");
  cmd->footer("Example: r1 convert SmolLM2-135M-Instruct.Q4_1.gguf models/SmolLM2-135M-Instruct");
  cmd->callback([args] {
    const std::filesystem::path in = resolve_model(args->in);
    if (!is_gguf(in)) throw ConfigError(message(in.string(), " is no GGUF file; r1 convert reads GGUF and writes a Hugging Face directory"));
    const DType dtype = args->dtype == "float16" || args->dtype == "f16" ? DType::kF16 : parse_dtype(args->dtype);
    convert_gguf_to_hf(in, args->out, dtype, args->force);
    const ModelConfig config = ModelConfig::load(args->out);
    std::printf("%s: %s, %lld parameters\n", args->out.c_str(), config.model_type.c_str(), static_cast<long long>(config.num_parameters()));
  });
}

}  // namespace r1
