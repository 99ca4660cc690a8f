// What every command needs of a model: weights on their device, tokenizer, chat template, compute threads.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/backend.h"
#include "core/compute_pool.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace r1 {

// A model ready to run. Members are destroyed in reverse order: the backend goes before its pool.
struct Runtime {
  std::filesystem::path path;  // what the name resolved to
  std::unique_ptr<ComputePool> pool;
  std::unique_ptr<Backend> backend;
  std::shared_ptr<const Tokenizer> tokenizer;
};

// "bfloat16", "float32", "auto" (bfloat16). Throws ConfigError for others.
DType parse_dtype(const std::string& name);

// `name`: HF directory, GGUF file or a hub name in the local cache. threads 0 = all usable cores. Ids that the tokenizer
// does not know are never sampled. `device`: auto, cpu or cuda. Throws ConfigError for a device that is not there.
// `parallel`: the ranks that run the model together; the CPU's alone, a GPU throws ConfigError. long_context: of a LongRoPE model's rotation.
Runtime open_model(const std::string& name, DType dtype, int threads, const std::string& device, const ModelParallel& parallel = {}, bool long_context = false);
// The same model as the backbone of a scorer, without its LM head: a language model, or a reward model that was saved. On the CPU.
Runtime open_scorer(const std::string& name, DType dtype, int threads, const std::string& device);
// Gives a scorer's head what the files at `path` hold of it; nothing for a language model.
void load_head(const std::filesystem::path& path, ValueModel& value);
// A model of random weights by one of model_shape_names(), without a tokenizer.
Runtime open_shape(const std::string& shape, DType dtype, int threads, const std::string& device);

// Of a model at `path`, a folder or a GGUF file.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path);
// The chat template's options with the tokenizer's own bos and eos texts.
ChatTemplate::Options template_options(const Tokenizer& tokenizer);

}  // namespace r1
