#include "apps/runtime.h"

#include <fstream>

#include <unistd.h>

#include "apps/hub_files.h"
#include "core/error.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"
#include "model/model_shapes.h"

namespace r1 {

namespace {

// Tokenizer files that exist inside a GGUF only are written to a folder that lives as long as loading them takes.
std::shared_ptr<const Tokenizer> gguf_tokenizer(const std::filesystem::path& gguf) {
  std::string pattern = (std::filesystem::temp_directory_path() / "r1_tokenizer_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr)
    throw IoError(message("no folder can be made in ", std::filesystem::temp_directory_path().string(), "; set TMPDIR to one that is writable"));
  const std::filesystem::path dir = pattern;
  struct Remove {
    std::filesystem::path dir;
    ~Remove() { std::error_code ignored; std::filesystem::remove_all(dir, ignored); }
  } remove{dir};
  for (const auto& [name, text] : GgufModel(gguf).side_files()) std::ofstream(dir / name, std::ios::binary) << text;
  return Tokenizer::load(dir);
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  return is_gguf(path) ? gguf_tokenizer(path) : Tokenizer::load(path);
}

DType parse_dtype(const std::string& name) {
  if (name == "bfloat16" || name == "bf16" || name == "auto") return DType::kBF16;
  if (name == "float32" || name == "f32") return DType::kF32;
  throw ConfigError(message("dtype '", name, "' is not known here; use bfloat16 or float32"));
}

Runtime open_model(const std::string& name, DType dtype, int threads, const std::string& device, const ModelParallel& parallel, bool long_context) {
  const DeviceKind kind = choose_device(device, dtype);
  if (kind == DeviceKind::kGpu && parallel.any())
    throw ConfigError(message(parallel.key(), " above 1 runs on the CPU, not yet on GPUs; use model.device: cpu, or on GPUs train.zero to save memory"));
  Runtime run;
  run.path = find_model(name);
  run.pool = std::make_unique<ComputePool>(threads);
  const bool gguf = is_gguf(run.path);
  run.tokenizer = load_tokenizer(run.path);
  const auto open = [&](const auto& source) {
    if (source.config().scalar_head)
      throw ConfigError(message(run.path.string(), " is a reward model: it writes no text; use it in a recipe as rewards: [{model: ", run.path.string(), "}]"));
    BackendModel model{source.config(), dtype, [&](WeightStore& store) { source.load_into(store); }, 0, parallel};
    if (long_context && model.config.rope_scaling.kind != RopeScaling::Kind::kLong)
      throw ConfigError(message("model.long_context: ", run.path.string(), " has no LongRoPE factors; leave it out"));
    model.config.rope_scaling.long_context = long_context;
    if (const std::int64_t known = run.tokenizer->vocab_size(); known < model.config.vocab_size) model.vocab_limit = known;
    run.backend = make_backend(kind, model, *run.pool);
  };
  if (gguf) open(GgufModel(run.path));
  else open(ModelDirectory(run.path));
  return run;
}

Runtime open_scorer(const std::string& name, DType dtype, int threads, const std::string& device) {
  const DeviceKind kind = choose_device(device, dtype);
  Runtime run;
  run.path = find_model(name);
  run.pool = std::make_unique<ComputePool>(threads);
  const bool gguf = is_gguf(run.path);
  run.tokenizer = load_tokenizer(run.path);
  const auto backbone = [](WeightSnapshot weights, WeightStore& store) {
    std::erase_if(weights.tensors, [](const TensorView& t) { return t.name == "lm_head.weight" || t.name == "score.weight"; });
    store.load(weights);
  };
  const auto open = [&](const ModelConfig& config, std::function<void(WeightStore&)> load) {
    run.backend = make_backend(kind, {config.scalar_head ? config : config.as_scorer(), dtype, std::move(load), 0}, *run.pool);
  };
  if (gguf) {
    open(GgufModel(run.path).config(), [&](WeightStore& store) { backbone(load_model(run.path, store.dtype()).weights.snapshot(0), store); });
  } else {
    const ModelDirectory directory(run.path);
    open(directory.config(), [&](WeightStore& store) { backbone(directory.snapshot(), store); });
  }
  return run;
}

void load_head(const std::filesystem::path& path, ValueModel& value) {
  if (is_gguf(path)) return;
  const ModelDirectory directory(path);
  if (directory.config().scalar_head) value.load_head(directory.snapshot());
}

Runtime open_shape(const std::string& shape, DType dtype, int threads, const std::string& device) {
  const DeviceKind kind = choose_device(device, dtype);
  Runtime run;
  run.path = shape;
  run.pool = std::make_unique<ComputePool>(threads);
  run.backend = make_backend(kind, {model_shape(shape), dtype, {}, 0}, *run.pool);
  return run;
}

ChatTemplate::Options template_options(const Tokenizer& tokenizer) {
  ChatTemplate::Options options;
  const auto text = [&](std::optional<TokenId> id) { return id ? tokenizer.token_bytes(*id) : std::string(); };
  options.bos_token = text(tokenizer.bos());
  options.eos_token = text(tokenizer.eos());
  return options;
}

}  // namespace r1
