// The ways of cutting a text that GGUF files know by name, and what each is in a tokenizer.json; internal to model/.
#pragma once

#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

namespace r1 {

// ggml's token_type
enum GgmlTokenType : std::int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByteToken = 6 };

struct PreTokenizerKind {
  std::vector<const char*> names;  // of tokenizer.ggml.pre; files are written with the first
  nlohmann::ordered_json normalizer;
  nlohmann::ordered_json pre_tokenizers;  // a list
  bool ignore_merges = false;
  bool bos_by_default = false;
};

const std::vector<PreTokenizerKind>& pre_tokenizer_kinds();
// The kind of a tokenizer.json's "normalizer" and "pre_tokenizer"; null if none cuts the same way.
const PreTokenizerKind* find_pre_tokenizer(const nlohmann::ordered_json& normalizer, const nlohmann::ordered_json& pre_tokenizer,
                                           bool ignore_merges);
nlohmann::ordered_json byte_level_json(bool use_regex, bool add_prefix_space = false);

}  // namespace r1
