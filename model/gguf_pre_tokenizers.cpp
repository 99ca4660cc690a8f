#include "model/gguf_pre_tokenizers.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

// A GGUF file names its pre-tokenizer only; what the name stands for is in the released models' tokenizer.json.
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepseekV3Words =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

Json split(const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}
Json single_digits() { return {{"type", "Digits"}, {"individual_digits", true}}; }

// What decides where a text is cut; offsets and defaults that are written by some files only do not.
Json essence(const Json& step) {
  Json out = step;
  out.erase("trim_offsets");
  if (out.value("type", "") == "ByteLevel" && !out.contains("use_regex")) out["use_regex"] = true;
  if (out.value("type", "") == "Split") out["invert"] = out.value("invert", false);
  return out;
}

// A sequence's members, or the one there is; none for null.
Json steps_of(const Json& step, const char* members) {
  if (!step.is_object()) return Json::array();
  return step.value("type", "") == "Sequence" ? step.value(members, Json::array()) : Json::array({step});
}

bool same(const Json& a, const Json& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (nlohmann::json(essence(a[i])) != nlohmann::json(essence(b[i]))) return false;  // whatever the order of keys
  return true;
}

}  // namespace

nlohmann::ordered_json byte_level_json(bool use_regex, bool add_prefix_space) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

const std::vector<PreTokenizerKind>& pre_tokenizer_kinds() {
  static const std::vector<PreTokenizerKind> kKinds = {
      {{"gpt-2", "phi-2"}, nullptr, Json::array({byte_level_json(true)})},
      {{"smollm", "starcoder", "refact"}, nullptr, Json::array({single_digits(), byte_level_json(true)})},
      {{"llama-bpe", "llama3", "llama-v3"}, nullptr, Json::array({split(kLlama3Pattern), byte_level_json(false)}), true, true},
      {{"qwen2", "deepseek-r1-qwen"}, {{"type", "NFC"}}, Json::array({split(kQwen2Pattern), byte_level_json(false)})},
      {{"deepseek-v3", "deepseek-r1"}, nullptr,
       Json::array({split(R"(\p{N}{1,3})"), split("[一-龥぀-ゟ゠-ヿ]+"), split(kDeepseekV3Words), byte_level_json(false)})},
      {{"deepseek-coder"}, nullptr,
       Json::array({split("[\r\n]"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"), split("[一-龥ࠀ-一가-퟿]+"), single_digits(),
                    byte_level_json(false)})},
  };
  return kKinds;
}

const PreTokenizerKind* find_pre_tokenizer(const nlohmann::ordered_json& normalizer, const nlohmann::ordered_json& pre_tokenizer,
                                           bool ignore_merges) {
  const Json steps = steps_of(pre_tokenizer, "pretokenizers"), forms = steps_of(normalizer, "normalizers");
  for (const PreTokenizerKind& kind : pre_tokenizer_kinds())
    if (kind.ignore_merges == ignore_merges && same(steps, kind.pre_tokenizers) && same(forms, steps_of(kind.normalizer, "normalizers")))
      return &kind;
  return nullptr;
}

}  // namespace r1
