#include "apps/eval_model.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "apps/runtime.h"
#include "core/digest.h"
#include "core/error.h"
#include "proto/http_text.h"
#include "rewards/completion_text.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kThink = "<think>\n";

// Names, sizes and both ends of the files that hold weights: trained weights differ there, and a 600 GB model is named
// in a moment.
std::string weights_fingerprint(const fs::path& model) {
  constexpr std::uint64_t kEnd = 1 << 20;
  std::vector<fs::path> files;
  if (fs::is_regular_file(model)) files = {model};
  else
    for (const auto& entry : fs::directory_iterator(model))
      if (const auto kind = entry.path().extension(); kind == ".safetensors" || kind == ".gguf") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Hasher hash;
  for (const fs::path& file : files) {
    const std::uint64_t size = fs::file_size(file);
    hash.update_field(file.filename().string());
    hash.update_field(std::to_string(size));
    std::ifstream in(file, std::ios::binary);
    std::string piece(std::min(size, kEnd), '\0');
    for (const std::uint64_t at : {std::uint64_t{0}, size - piece.size()}) {
      in.seekg(static_cast<std::streamoff>(at));
      in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
      if (!in) throw IoError(message("cannot read ", file.string()));
      hash.update(piece);
    }
  }
  return to_hex(hash.digest());
}

Json form_of(const EvalModelOptions& o, const std::string& prompt_template) {
  return {{"template", prompt_template},
          {"template_file", o.template_file},
          {"system", o.system_prompt},
          {"template_variables", o.template_variables},
          {"think", o.think}};
}

class LocalModel : public EvalModel {
 public:
  explicit LocalModel(const EvalModelOptions& o)
      : options_(o),
        run_(open_model(o.name, parse_dtype(o.dtype), o.threads, o.device)),
        parts_(run_.backend->make(device_default(), run_.tokenizer)),
        source_(make_engine_source(*parts_.engine)) {
    template_ = !o.prompt_template.empty() ? o.prompt_template : run_.tokenizer->chat_template().empty() ? "none" : "chat";
  }

  std::vector<Prompt> prompts(const std::vector<Row>& rows, const DatasetOptions& columns) const override {
    DatasetOptions o = columns;
    o.prompt_template = template_;
    o.template_file = options_.template_file;
    o.system_prompt = options_.system_prompt;
    o.template_variables = options_.template_variables;
    const PromptMaker maker(o, run_.tokenizer);
    std::vector<Prompt> out;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      out.push_back(maker.make_prompt(rows[i], static_cast<std::int64_t>(i) + 1));
      Prompt& p = out.back();
      if (!options_.think || prompt_opens_think(p)) continue;
      p.text += kThink;
      p.tokens = run_.tokenizer->encode(p.text, template_ != "chat");  // a chat template writes its own BOS
    }
    return out;
  }

  int budget(const std::vector<Prompt>& prompts, int wanted) const override {
    std::size_t longest = 0;
    for (const Prompt& p : prompts) longest = std::max(longest, p.tokens.size());
    const std::int64_t room = run_.backend->config().max_position_embeddings - static_cast<std::int64_t>(longest);
    if (room < 1)
      throw ConfigError(message("the longest prompt has ", longest, " tokens, the model's context ", run_.backend->config().max_position_embeddings));
    return static_cast<int>(std::min<std::int64_t>(wanted, room));
  }
  CompletionSource& source() override { return *source_; }
  std::string identity() const override {
    Json j = form_of(options_, template_);
    j["weights"] = weights_fingerprint(run_.path);
    j["dtype"] = options_.dtype;
    return j.dump();
  }

 private:
  EvalModelOptions options_;
  Runtime run_;
  BackendParts parts_;
  std::unique_ptr<CompletionSource> source_;
  std::string template_;
};

class UrlModel : public EvalModel {
 public:
  explicit UrlModel(const EvalModelOptions& o) : options_(o) {
    if (o.served_model.empty()) throw ConfigError(message(o.name, ": --served-model is missing: the model's name at that server"));
    if (!o.template_file.empty() || !o.template_variables.empty())
      throw ConfigError("a model behind a URL applies its own chat template; --template-file and --template-variables have no effect on it");
    template_ = !o.prompt_template.empty() ? o.prompt_template : o.completions_api ? "none" : "chat";
    if ((template_ == "chat") == o.completions_api || (template_ != "chat" && template_ != "none" && template_ != "r1_zero"))
      throw ConfigError(
          message("--template ", template_, " does not fit: messages (--api chat) take chat; texts (--api completions) take none or r1_zero"));
    if (o.completions_api && !o.system_prompt.empty()) throw ConfigError("--system has an effect with messages only (--api chat)");
    HttpTextOptions h;
    h.url = o.name;
    h.model = o.served_model;
    h.chat = !o.completions_api;
    if (o.think && h.chat) h.opening = kThink;
    h.api_key = api_key_from(o.api_key_env, o.name);
    h.ca_file = o.ca_file;
    h.extra_json = o.extra_json;
    h.timeout_s = o.timeout_s;
    h.retries = o.retries;
    source_ = make_text_source(make_http_text(std::move(h)), o.concurrency);
  }

  std::vector<Prompt> prompts(const std::vector<Row>& rows, const DatasetOptions& columns) const override {
    std::vector<Prompt> out;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Prompt p = unrendered_prompt(columns, rows[i], static_cast<std::int64_t>(i) + 1);
      if (p.messages.empty()) throw DataError(message(rows[i].file, ":", rows[i].line, ": no prompt column was found; name it with --prompt"));
      if (!columns.prompt_suffix.empty()) p.text = p.messages.back().content += columns.prompt_suffix;
      if (!options_.system_prompt.empty() && p.messages[0].role != "system")
        p.messages.insert(p.messages.begin(), {"system", options_.system_prompt});
      if (template_ == "r1_zero") {
        std::string filled = kR1ZeroTemplate;
        p.text = filled.replace(filled.find("{question}"), 10, p.text);
      }
      // Also with messages: rewards see by the prompt's end that the completion begins inside the block.
      if (options_.think && !prompt_opens_think(p)) p.text += options_.completions_api ? kThink : std::string("\n") + kThink;
      out.push_back(std::move(p));
    }
    return out;
  }
  int budget(const std::vector<Prompt>&, int wanted) const override { return wanted; }  // the server knows its context
  CompletionSource& source() override { return *source_; }
  std::string identity() const override {
    Json j = form_of(options_, template_);
    j["url"] = options_.name;
    j["served_model"] = options_.served_model;
    j["extra"] = options_.extra_json;
    return j.dump();
  }

 private:
  EvalModelOptions options_;
  std::unique_ptr<CompletionSource> source_;
  std::string template_;
};

}  // namespace

std::unique_ptr<EvalModel> open_eval_model(const EvalModelOptions& o) {
  if (is_url(o.name)) return std::make_unique<UrlModel>(o);
  if (!o.served_model.empty() || o.completions_api || !o.api_key_env.empty() || !o.ca_file.empty() || !o.extra_json.empty())
    throw ConfigError(message(o.name, " is no URL; --served-model, --api, --api-key-env, --ca-file and --extra have an effect on one only"));
  return std::make_unique<LocalModel>(o);
}

}  // namespace r1
