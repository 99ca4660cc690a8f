#include "text/tokenizer.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/hf_tokenizer.h"
#include "text/unicode.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in.is_open() || in.bad()) throw DataError(message("cannot read ", path.string()));
  return text;
}

Json read_json(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  try {
    Json value = Json::parse(read_file(path));
    if (!value.is_object()) throw DataError(message(path.string(), ": is no JSON object"));
    return value;
  } catch (const Json::exception& e) {
    throw DataError(message(path.string(), ": is no valid JSON: ", e.what()));
  }
}

// A token's text: a string, or an object with "content".
std::string token_text(const Json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) return "";
  if (it->is_string()) return it->get<std::string>();
  return it->is_object() ? it->value("content", std::string()) : "";
}

// A template, or a list of named ones of which "default" is taken.
std::string template_text(const Json& config, const fs::path& file) {
  const auto it = config.find("chat_template");
  if (it == config.end() || it->is_null()) return "";
  if (it->is_string()) return it->get<std::string>();
  if (it->is_array()) {
    for (const Json& entry : *it) {
      if (entry.is_object() && entry.value("name", "") == "default") return entry.value("template", std::string());
    }
  }
  throw DataError(message(file.string(),
                          ": field \"chat_template\" is neither a text nor a list with a template named \"default\""));
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const fs::path& path) {
  const bool is_directory = fs::is_directory(path);
  const fs::path file = is_directory ? path / "tokenizer.json" : path;
  if (!fs::exists(file)) {
    throw DataError(message(is_directory ? "there is no tokenizer.json in " : "there is no file ", path.string(),
                            "; give a Hugging Face model directory or a tokenizer.json"));
  }
  HfTokenizer::Settings settings;
  if (is_directory) {
    const fs::path config_file = path / "tokenizer_config.json";
    const Json config = read_json(config_file), map = read_json(path / "special_tokens_map.json");
    const auto text = [&](const char* name) {
      const std::string first = token_text(config, name);
      return first.empty() ? token_text(map, name) : first;
    };
    settings.bos = text("bos_token");
    settings.eos = text("eos_token");
    settings.pad = text("pad_token");
    const fs::path jinja = path / "chat_template.jinja";  // where it exists it wins, as in transformers
    settings.chat_template = fs::exists(jinja) ? read_file(jinja) : template_text(config, config_file);
  }
  return with_context(file.string(), [&] { return std::make_shared<const HfTokenizer>(read_file(file), settings); });
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view json, const std::string& name) {
  return with_context(name, [&] { return std::make_shared<const HfTokenizer>(json, HfTokenizer::Settings{}); });
}

IncrementalDecoder::IncrementalDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

std::string IncrementalDecoder::push(TokenId id) {
  if (id < 0 || id >= tokenizer_->vocab_size() || (skip_special_ && tokenizer_->is_special(id))) return "";
  if (!tokenizer_->decodes_bytewise()) return push_window(id, false);
  held_ += tokenizer_->token_bytes(id);
  const std::size_t whole = unicode::complete_prefix(held_);
  std::string out = unicode::repair(std::string_view(held_).substr(0, whole));
  held_.erase(0, whole);
  return out;
}

std::string IncrementalDecoder::finish() {
  if (!tokenizer_->decodes_bytewise()) return push_window(-1, true);
  std::string out = unicode::repair(held_);
  held_.clear();
  return out;
}

// The text of the window minus the text of its first `context_` ids, once it does not end in a broken character. The
// context stays in the window because a token's text depends on the one before it.
std::string IncrementalDecoder::push_window(TokenId id, bool last) {
  if (!last) window_.push_back(id);
  const std::string before =
      tokenizer_->decode({window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(context_)}, skip_special_);
  std::string text = tokenizer_->decode(window_, skip_special_);
  if (text.size() <= before.size() || (!last && text.ends_with("\xEF\xBF\xBD"))) return "";
  window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(context_));
  context_ = window_.size();
  return text.substr(before.size());
}

}  // namespace r1
