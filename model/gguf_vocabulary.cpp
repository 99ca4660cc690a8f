#include "model/gguf_vocabulary.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"
#include "model/gguf_pre_tokenizers.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& why) { throw CheckpointError("a GGUF file cannot carry this tokenizer: " + why); }

struct Tokens {
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;

  void set(std::int64_t id, const std::string& text, std::int32_t type) {
    if (id < 0 || id >= static_cast<std::int64_t>(texts.size()))
      refuse(message("token \"", text, "\" has id ", id, ", the model's vocabulary ", texts.size(), " rows"));
    texts[static_cast<std::size_t>(id)] = text, types[static_cast<std::size_t>(id)] = type;
  }
};

Tokens tokens_of(const nlohmann::json& tokenizer, std::int64_t vocab_size) {
  Tokens out;
  out.types.assign(static_cast<std::size_t>(vocab_size), kUnused);
  for (std::int64_t i = 0; i < vocab_size; ++i) out.texts.push_back(message("[PAD", i, "]"));
  for (const auto& [text, id] : tokenizer.at("model").at("vocab").items()) out.set(id.get<std::int64_t>(), text, kNormal);
  for (const nlohmann::json& token : tokenizer.value("added_tokens", nlohmann::json::array()))
    out.set(token.at("id").get<std::int64_t>(), token.at("content").get<std::string>(), token.value("special", false) ? kControl : kUserDefined);
  return out;
}

std::vector<std::string> merges_of(const nlohmann::json& model) {
  std::vector<std::string> merges;
  for (const nlohmann::json& merge : model.at("merges"))
    merges.push_back(merge.is_string() ? merge.get<std::string>() : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
  return merges;
}

// The token that the post-processor puts before a text; none = nothing is put anywhere.
std::optional<TokenId> leading_token(const nlohmann::json& processor) {
  if (processor.is_null()) return std::nullopt;
  const std::string type = processor.value("type", "");
  if (type == "ByteLevel") return std::nullopt;
  if (type == "Sequence") {
    std::optional<TokenId> found;
    for (const nlohmann::json& part : processor.at("processors"))
      if (const auto token = leading_token(part)) found = token;
    return found;
  }
  if (type != "TemplateProcessing") refuse("its post_processor is of type " + type);
  const nlohmann::json& pieces = processor.at("single");
  if (pieces.size() == 1 && pieces[0].contains("Sequence")) return std::nullopt;
  if (pieces.size() != 2 || !pieces[0].contains("SpecialToken") || !pieces[1].contains("Sequence"))
    refuse("it puts other tokens around a text than one start token");
  const std::string name = pieces[0]["SpecialToken"].at("id").get<std::string>();
  return processor.at("special_tokens").at(name).at("ids").at(0).get<TokenId>();
}

void put(const GgufTokenizer& given, const ModelConfig& config, GgufHeader& header) {
  const nlohmann::json tokenizer = nlohmann::json::parse(given.tokenizer_json);
  const nlohmann::json& model = tokenizer.at("model");
  if (model.value("type", "") != "BPE" || model.value("byte_fallback", false))
    refuse("only byte-level BPE is supported, model.type is " + model.value("type", "absent"));
  const auto part = [&](const char* key) { return Json(tokenizer.value(key, nlohmann::json())); };
  const PreTokenizerKind* kind = find_pre_tokenizer(part("normalizer"), part("pre_tokenizer"), model.value("ignore_merges", false));
  if (kind == nullptr) {
    std::string known;
    for (const PreTokenizerKind& k : pre_tokenizer_kinds()) known += std::string(known.empty() ? "" : ", ") + k.names.front();
    refuse("its normalizer and pre_tokenizer are of no kind known here (" + known + ")");
  }
  const Tokens tokens = tokens_of(tokenizer, config.vocab_size);
  header.text("tokenizer.ggml.model", "gpt2");
  header.text("tokenizer.ggml.pre", kind->names.front());
  header.texts("tokenizer.ggml.tokens", tokens.texts);
  header.integers("tokenizer.ggml.token_type", tokens.types);
  header.texts("tokenizer.ggml.merges", merges_of(model));

  const auto leading = leading_token(tokenizer.value("post_processor", nlohmann::json()));
  if (const auto bos = leading ? leading : config.bos_token_id) header.integer("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(*bos));
  header.flag("tokenizer.ggml.add_bos_token", leading.has_value());
  // The tokenizer's own end token first: templates name it.
  std::vector<TokenId> ends = config.eos_token_ids;
  if (given.eos) {
    if (const auto it = std::find(ends.begin(), ends.end(), *given.eos); it != ends.end()) ends.erase(it);
    ends.insert(ends.begin(), *given.eos);
  }
  constexpr const char* kEnds[] = {"eos", "eot", "eom"};
  if (ends.size() > std::size(kEnds)) refuse(message("the model has ", ends.size(), " end tokens, a file names ", std::size(kEnds)));
  for (std::size_t i = 0; i < ends.size(); ++i) header.integer(message("tokenizer.ggml.", kEnds[i], "_token_id"), static_cast<std::uint32_t>(ends[i]));
  if (const auto pad = config.pad_token_id ? config.pad_token_id : given.pad) header.integer("tokenizer.ggml.padding_token_id", static_cast<std::uint32_t>(*pad));
  if (!given.chat_template.empty()) header.text("tokenizer.chat_template", given.chat_template);
}

}  // namespace

void put_vocabulary(const GgufTokenizer& tokenizer, const ModelConfig& config, GgufHeader& header) {
  try {
    put(tokenizer, config, header);
  } catch (const nlohmann::json::exception& e) {
    refuse(message("its tokenizer.json is damaged (", e.what(), ")"));
  }
}

}  // namespace r1
