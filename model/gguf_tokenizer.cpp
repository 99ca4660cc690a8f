#include "model/gguf_tokenizer.h"

#include <algorithm>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/gguf_pre_tokenizers.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(const GgufFile& file, const std::string& why) {
  throw CheckpointError(message(file.path().string(), ": ", why));
}

const PreTokenizerKind& kind_of(const GgufFile& file) {
  if (file.text("tokenizer.ggml.model") != "gpt2")
    refuse(file, message("tokenizer.ggml.model is ", file.text("tokenizer.ggml.model"), "; only gpt2 (byte-level BPE) is supported"));
  const std::string name = file.has("tokenizer.ggml.pre") ? file.text("tokenizer.ggml.pre") : "absent";
  std::string supported;
  for (const PreTokenizerKind& kind : pre_tokenizer_kinds())
    for (const char* known : kind.names) {
      if (name == known) return kind;
      supported += (supported.empty() ? "" : ", ") + std::string(known);
    }
  refuse(file, message("tokenizer.ggml.pre is ", name, "; supported: ", supported));
}

struct Vocabulary {
  Json added = Json::array();
  nlohmann::json vocab = nlohmann::json::object();  // sorted by name: fast to build; its order means nothing
};

Vocabulary read_vocabulary(const GgufFile& file) {
  const std::vector<std::string>& tokens = file.texts("tokenizer.ggml.tokens");
  const std::vector<std::int64_t>& types = file.integers("tokenizer.ggml.token_type");
  if (tokens.size() != types.size())
    refuse(file, message("tokenizer.ggml.tokens has ", tokens.size(), " entries, token_type ", types.size()));
  // Released files keep special tokens in the vocabulary where they stand among the others (SmolLM2), and outside
  // where they follow it (Qwen, Llama 3).
  std::size_t end_of_base = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (types[i] == kNormal || types[i] == kByteToken) end_of_base = i + 1;
  Vocabulary out;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (types[i] == kUnused) continue;  // padding of the embedding
    const bool is_added = types[i] == kControl || types[i] == kUserDefined || types[i] == kUnknown;
    if (is_added)
      out.added.push_back({{"id", i}, {"content", tokens[i]}, {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                           {"normalized", false}, {"special", types[i] != kUserDefined}});
    if ((!is_added || i < end_of_base) && !out.vocab.emplace(tokens[i], i).second)
      refuse(file, message("token \"", tokens[i], "\" is in the vocabulary twice"));
  }
  return out;
}

Json merges_of(const GgufFile& file) {
  Json merges = Json::array();
  for (const std::string& merge : file.texts("tokenizer.ggml.merges")) {
    const std::size_t space = merge.find(' ', 1);  // a piece is never empty
    if (space == std::string::npos || space + 1 == merge.size()) refuse(file, message("merge \"", merge, "\" is not a pair"));
    merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
  return merges;
}

// Puts the start token before a text, and before each of a pair.
Json bos_processor(const std::string& token, TokenId id) {
  const auto special = [&](int type) { return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}}; };
  const auto text = [](const char* name, int type) { return Json{{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  return {{"type", "TemplateProcessing"},
          {"single", {special(0), text("A", 0)}},
          {"pair", {special(0), text("A", 0), special(1), text("B", 1)}},
          {"special_tokens", {{token, {{"id", token}, {"ids", {id}}, {"tokens", {token}}}}}}};
}

Json tokenizer_json(const GgufFile& file, const PreTokenizerKind& kind, Vocabulary vocabulary, Json post_processor) {
  const Json model = {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                      {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", false},
                      {"ignore_merges", kind.ignore_merges}};
  Json out = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", std::move(vocabulary.added)},
              {"normalizer", kind.normalizer},
              {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", kind.pre_tokenizers}}},
              {"post_processor", std::move(post_processor)}, {"decoder", byte_level_json(true, true)}, {"model", model}};
  out["model"]["merges"] = merges_of(file);
  return out;
}

std::string with_vocab(Json tokenizer, const nlohmann::json& vocab) {
  // ordered_json looks names up one by one, too slow for 150,000: the vocabulary goes in as text.
  constexpr const char* kMark = "@vocab@";
  tokenizer["model"]["vocab"] = kMark;
  std::string text = tokenizer.dump();
  const std::string quoted = message('"', kMark, '"');
  const std::size_t at = text.rfind(quoted);
  return text.replace(at, quoted.size(), vocab.dump()) + "\n";
}

}  // namespace

static std::map<std::string, std::string> make_files(const GgufFile& file, const ModelConfig& config) {
  const PreTokenizerKind& kind = kind_of(file);
  const std::vector<std::string>& tokens = file.texts("tokenizer.ggml.tokens");
  const auto name_of = [&](std::optional<TokenId> id) -> std::optional<std::string> {
    if (!id || static_cast<std::size_t>(*id) >= tokens.size()) return std::nullopt;
    return tokens[static_cast<std::size_t>(*id)];
  };
  std::optional<TokenId> unknown;
  if (file.has("tokenizer.ggml.unknown_token_id")) unknown = static_cast<TokenId>(file.integer("tokenizer.ggml.unknown_token_id"));
  std::optional<TokenId> eos;
  if (!config.eos_token_ids.empty()) eos = config.eos_token_ids.front();

  Json special = Json::object();
  if (const auto name = name_of(config.bos_token_id)) special["bos_token"] = *name;
  if (const auto name = name_of(eos)) special["eos_token"] = *name;
  if (const auto name = name_of(unknown)) special["unk_token"] = *name;
  if (const auto name = name_of(config.pad_token_id)) special["pad_token"] = *name;

  const bool add_bos = file.flag("tokenizer.ggml.add_bos_token", kind.bos_by_default) && config.bos_token_id.has_value();
  Vocabulary vocabulary = read_vocabulary(file);
  Json tokenizer_config = {{"add_prefix_space", false}, {"add_bos_token", add_bos}, {"added_tokens_decoder", Json::object()}};
  for (const Json& token : vocabulary.added) {
    Json entry = token;
    entry.erase("id");
    tokenizer_config["added_tokens_decoder"][std::to_string(token["id"].get<int>())] = entry;
  }
  tokenizer_config.update(special);
  const std::string chat_template = file.has("tokenizer.chat_template") ? file.text("tokenizer.chat_template") : "";
  if (!chat_template.empty()) tokenizer_config["chat_template"] = chat_template;
  tokenizer_config["clean_up_tokenization_spaces"] = false;
  tokenizer_config["model_input_names"] = {"input_ids", "attention_mask"};
  tokenizer_config["model_max_length"] = config.max_position_embeddings;
  tokenizer_config["tokenizer_class"] = "PreTrainedTokenizerFast";

  Json generation = {{"_from_model_config", true}};
  if (config.bos_token_id) generation["bos_token_id"] = *config.bos_token_id;
  if (config.eos_token_ids.size() == 1) generation["eos_token_id"] = config.eos_token_ids.front();
  else if (!config.eos_token_ids.empty()) generation["eos_token_id"] = config.eos_token_ids;
  if (config.pad_token_id) generation["pad_token_id"] = *config.pad_token_id;

  Json processor = nullptr;
  if (add_bos) processor = bos_processor(*name_of(config.bos_token_id), *config.bos_token_id);
  const nlohmann::json vocab = std::move(vocabulary.vocab);
  std::map<std::string, std::string> files = {
      {"tokenizer.json", with_vocab(tokenizer_json(file, kind, std::move(vocabulary), processor), vocab)},
      {"tokenizer_config.json", tokenizer_config.dump(2) + "\n"},
      {"special_tokens_map.json", special.dump(2) + "\n"},
      {"generation_config.json", generation.dump(2) + "\n"}};
  if (!chat_template.empty()) files["chat_template.jinja"] = chat_template;
  return files;
}

std::map<std::string, std::string> hf_tokenizer_files(const GgufFile& file, const ModelConfig& config) {
  try {
    return make_files(file, config);
  } catch (const Json::exception& e) {
    refuse(file, message("the tokenizer has a text that is not UTF-8, so that it cannot become tokenizer.json (", e.what(), ")"));
  }
}

}  // namespace r1
