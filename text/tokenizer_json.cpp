// Builds the tokenizer from the text of a tokenizer.json.
#include <algorithm>

#include "text/byte_alphabet.h"
#include "text/hf_tokenizer.h"
#include "text/json_fields.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
constexpr TokenId kMostIds = 1 << 24;  // no vocabulary is near; an id above is a broken file, not a request for memory

TokenId id_of(const Json& value, const std::string& token) {
  const auto id = value.is_number_integer() ? value.get<std::int64_t>() : -1;
  if (id < 0 || id >= kMostIds)
    throw DataError(message("token \"", token, "\" has the id ", value.dump(), ", allowed are 0 to ", kMostIds - 1));
  return static_cast<TokenId>(id);
}

std::vector<std::pair<std::string, std::string>> read_merges(const Json& list) {
  if (!list.is_array()) throw DataError("field \"model.merges\" is no array");
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Json& m = list[i];
    if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string()) {
      merges.emplace_back(m[0].get_ref<const std::string&>(), m[1].get_ref<const std::string&>());
      continue;
    }
    const std::string* line = m.is_string() ? m.get_ptr<const std::string*>() : nullptr;
    if (line && line->starts_with("#version")) continue;
    const std::size_t space = line ? line->find(' ') : std::string::npos;
    if (space == std::string::npos || line->find(' ', space + 1) != std::string::npos) {
      throw DataError(message("field \"model.merges\", entry ", i, ": ", m.dump(), " is no pair"));
    }
    merges.emplace_back(line->substr(0, space), line->substr(space + 1));
  }
  return merges;
}

BpeConfig read_model(const Json& model) {
  // Old files have no type; a list of merges tells BPE.
  const std::string type = json_get<std::string>(model, "type", model.contains("merges") ? "BPE" : "");
  if (type != "BPE") throw DataError(message("model type \"", type, "\" is not implemented, only BPE is"));
  if (const auto it = model.find("dropout"); it != model.end() && !it->is_null() && *it != 0) {
    throw DataError(message("model.dropout ", it->dump(), " is not implemented: encoding would be random"));
  }
  BpeConfig config;
  const Json& vocab = json_field(model, "vocab");
  if (!vocab.is_object() || vocab.empty()) throw DataError("field \"model.vocab\" is no object or empty");
  config.vocab.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) config.vocab.emplace_back(token, id_of(id, token));
  config.merges = read_merges(json_field(model, "merges"));
  config.ignore_merges = json_get<bool>(model, "ignore_merges", false);
  config.byte_fallback = json_get<bool>(model, "byte_fallback", false);
  config.fuse_unk = json_get<bool>(model, "fuse_unk", false);
  config.continuing_subword_prefix = json_get<std::string>(model, "continuing_subword_prefix", "");
  config.end_of_word_suffix = json_get<std::string>(model, "end_of_word_suffix", "");
  if (const auto it = model.find("unk_token"); it != model.end() && !it->is_null())
    config.unk_token = json_get<std::string>(model, "unk_token");
  return config;
}

Json parse(std::string_view text) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    throw DataError(message("is no valid JSON: ", e.what()));
  }
}

const Json& optional_field(const Json& object, const char* name) {
  static const Json null;
  const auto it = object.find(name);
  return it == object.end() ? null : *it;
}

}  // namespace

HfTokenizer::HfTokenizer(std::string_view json, const Settings& settings) : chat_template_(settings.chat_template) {
  const Json root = parse(json);
  if (!root.is_object()) throw DataError("is no JSON object");
  // "truncation" and "padding" are left alone: transformers resets both on every call too.
  BpeConfig config = with_context("field \"model\"", [&] { return read_model(json_field(root, "model")); });
  with_context("field \"normalizer\"", [&] { normalizer_ = make_normalizer(optional_field(root, "normalizer")); });
  const bool plain =
      !config.byte_fallback && config.continuing_subword_prefix.empty() && config.end_of_word_suffix.empty();
  with_context("field \"pre_tokenizer\"",
               [&] { pre_tokenizer_ = make_pre_tokenizer(optional_field(root, "pre_tokenizer"), plain); });
  with_context("field \"decoder\"", [&] { decoder_ = make_decoder(optional_field(root, "decoder")); });
  config.raw_bytes = pre_tokenizer_.raw_bytes;
  with_context("field \"added_tokens\"",
               [&] { load_added_tokens(optional_field(root, "added_tokens"), config.vocab); });
  load_token_bytes(config.vocab);
  with_context("field \"post_processor\"", [&] { load_post_processor(optional_field(root, "post_processor")); });
  with_context("field \"model\"", [&] { bpe_ = std::make_unique<Bpe>(std::move(config)); });
  const auto named = [&](const std::string& text) { return text.empty() ? std::nullopt : token_id(text); };
  bos_ = named(settings.bos);
  eos_ = named(settings.eos);
  pad_ = named(settings.pad);
}

void HfTokenizer::load_added_tokens(const Json& list, const Vocabulary& vocab) {
  if (list.is_null()) return;
  if (!list.is_array()) throw DataError("is no array");
  std::unordered_map<std::string_view, TokenId> in_vocab;
  in_vocab.reserve(vocab.size());
  for (const auto& [token, id] : vocab) in_vocab[token] = id;
  // The crate counts ids up by itself; a file that disagrees with that count would be read otherwise there.
  auto next = static_cast<TokenId>(in_vocab.size());
  std::unordered_map<TokenId, AddedToken> by_id;
  std::vector<TokenId> order;
  for (const Json& entry : list) {
    AddedToken t;
    t.content = json_get<std::string>(entry, "content");
    if (t.content.empty()) continue;
    t.id = id_of(json_field(entry, "id"), t.content);
    t.single_word = json_get<bool>(entry, "single_word", false);
    t.lstrip = json_get<bool>(entry, "lstrip", false);
    t.rstrip = json_get<bool>(entry, "rstrip", false);
    t.special = json_get<bool>(entry, "special", false);
    t.normalized = json_get<bool>(entry, "normalized", !t.special);
    TokenId expected = next;
    if (const auto it = added_ids_.find(t.content); it != added_ids_.end()) {
      expected = it->second;
    } else if (const auto v = in_vocab.find(t.content); v != in_vocab.end()) {
      expected = v->second;
    } else {
      ++next;
    }
    if (t.id != expected) {
      throw DataError(message("token \"", t.content, "\" has the id ", t.id, ", but by its place it is ", expected,
                              "; sort the added tokens by id, without gaps, behind the vocabulary"));
    }
    added_ids_[t.content] = t.id;
    if (!by_id.contains(t.id)) order.push_back(t.id);
    by_id[t.id] = t;
  }
  for (const TokenId id : order) {
    const AddedToken& t = by_id[id];
    std::string pattern = t.content;
    if (t.normalized && normalizer_) normalizer_->apply(t.content, pattern);
    (t.normalized ? normalized_ : plain_).add(pattern, t);
    added_texts_[id] = pattern;
    added_.push_back(t);
  }
}

void HfTokenizer::load_token_bytes(const Vocabulary& vocab) {
  TokenId largest = -1;
  for (const auto& [token, id] : vocab) largest = std::max(largest, id);
  for (const AddedToken& t : added_) largest = std::max(largest, t.id);
  const auto size = static_cast<std::size_t>(largest + 1);
  bytes_.resize(size);
  kinds_.resize(size);
  if (!decoder_.byte_level) written_.resize(size);
  const auto piece = [&](std::string text) {
    for (const auto& step : decoder_.steps) text = step->piece(std::move(text));
    return text;
  };
  for (const auto& [token, id] : vocab) {
    const auto i = static_cast<std::size_t>(id);
    bytes_[i] = piece(token);
    kinds_[i] = kExists;
    if (!decoder_.byte_level) written_[i] = token;
  }
  for (const AddedToken& t : added_) {
    const auto i = static_cast<std::size_t>(t.id);
    // As in the crate, ByteLevel maps added tokens back to bytes too where all their characters are stand-ins: nothing
    // changes for ASCII, but "é" in an added token becomes one (broken) byte.
    bytes_[i] = decoder_.byte_level ? piece(added_texts_[t.id]) : t.content;
    kinds_[i] = static_cast<std::uint8_t>(kExists | (t.special ? kSpecial : 0));
  }
}

void HfTokenizer::load_post_processor(const Json& config) {
  if (config.is_null()) return;
  const std::string type = json_type(config);
  if (type == "Sequence") {
    for (const Json& part : json_field(config, "processors")) load_post_processor(part);
  } else if (type == "ByteLevel") {
    // trims offsets only
  } else if (type == "TemplateProcessing") {
    const Json& single = json_field(config, "single");
    const Json& specials = json_field(config, "special_tokens");
    if (!single.is_array()) throw DataError("TemplateProcessing: field \"single\" is no array");
    std::vector<TokenId> before, after;
    int texts = 0;
    for (const Json& part : single) {
      if (part.contains("Sequence")) {
        ++texts;
      } else {
        const auto name = json_get<std::string>(json_field(part, "SpecialToken"), "id");
        for (const Json& id : json_field(json_field(specials, name.c_str()), "ids"))
          (texts ? after : before).push_back(id_of(id, name));
      }
    }
    if (texts != 1)
      throw DataError(message("TemplateProcessing: \"single\" holds the text ", texts, " times, 1 is implemented"));
    before_.insert(before_.begin(), before.begin(), before.end());
    after_.insert(after_.end(), after.begin(), after.end());
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto token = [&](const char* field) {
      const Json& pair = json_field(config, field);
      if (!pair.is_array() || pair.size() != 2)
        throw DataError(message(type, ": field \"", field, "\" is no [token, id]"));
      return id_of(pair[1], field);
    };
    before_.insert(before_.begin(), token("cls"));
    after_.push_back(token("sep"));
  } else {
    throw DataError(message("post-processor type \"", type,
                            "\" is not implemented (Sequence, ByteLevel, TemplateProcessing, BertProcessing ",
                            "and RobertaProcessing are)"));
  }
}

}  // namespace r1
