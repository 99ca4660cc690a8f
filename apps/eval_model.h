// What `r1 eval` asks: a model in this process or one behind a URL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rl/eval/completion_source.h"
#include "text/dataset.h"

namespace r1 {

struct EvalModelOptions {
  std::string name;               // directory, GGUF file, hub name, or http(s)://
  std::string dtype = "bfloat16", device = "auto";
  int threads = 0;
  // What stands around a question. template "" = chat where the model has such a template (and for messages to a URL), else none.
  std::string prompt_template, template_file, system_prompt, template_variables;
  bool think = false;             // the reply is forced to open with <think>
  // Behind a URL.
  std::string served_model;       // as the server calls it
  bool completions_api = false;   // the prompt as text to /completions
  std::string api_key_env, ca_file, extra_json;
  int concurrency = 16, retries = 4;
  double timeout_s = 1800;        // of a completion with its retries
};

class EvalModel {
 public:
  virtual ~EvalModel() = default;
  // `columns` names the rows' columns. Throws ConfigError, DataError.
  virtual std::vector<Prompt> prompts(const std::vector<Row>& rows, const DatasetOptions& columns) const = 0;
  // The token budget that fits the model's context beside the longest prompt: `wanted` or less.
  virtual int budget(const std::vector<Prompt>& prompts, int wanted) const = 0;
  virtual CompletionSource& source() = 0;
  // JSON object: what changes if the model or its prompts' form does. Of a local model names, sizes and both ends of its
  // weight files are digested.
  virtual std::string identity() const = 0;
};

// Throws ConfigError: also for options that have no effect on this kind of model.
std::unique_ptr<EvalModel> open_eval_model(const EvalModelOptions& options);
inline bool is_url(const std::string& name) { return name.starts_with("http://") || name.starts_with("https://"); }

}  // namespace r1
