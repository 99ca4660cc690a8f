// Small tokenizers with every implemented component, against the ids of the Python package `tokenizers`
// (tests/golden/make_tokenizer_cases.py).
#include <doctest/doctest.h>

#include <fstream>

#include <nlohmann/json.hpp>

#include "text/tokenizer.h"

using r1::TokenId;
using Json = nlohmann::ordered_json;

namespace {

// The tokenizer.json of a case; make_tokenizer_cases.py does the same.
Json build(Json tokenizer, const Json& patch) {
  Json& model = tokenizer["model"];
  for (const auto& [key, value] : patch.items()) {
    if (key != "model" && key != "added_tokens") tokenizer[key] = value;
  }
  const Json changes = patch.value("model", Json::object()), added = patch.value("added_tokens", Json::array());
  for (const auto& [key, value] : changes.items()) {
    if (key == "drop") {
      for (const Json& s : value) model["vocab"].erase(s.get<std::string>());
      Json kept = Json::array();
      for (const Json& p : model["merges"]) {
        const std::string a = p[0], b = p[1];
        if (model["vocab"].contains(a) && model["vocab"].contains(b) && model["vocab"].contains(a + b))
          kept.push_back(p);
      }
      model["merges"] = kept;
    } else if (key == "add") {
      for (const Json& s : value) {
        TokenId largest = 0;
        for (const auto& [token, id] : model["vocab"].items()) largest = std::max(largest, id.get<TokenId>());
        model["vocab"][s.get<std::string>()] = largest + 1;
      }
    } else if (value == "text") {
      for (Json& p : model["merges"]) p = p[0].get<std::string>() + " " + p[1].get<std::string>();
    } else {
      model[key] = value;
    }
  }
  std::size_t count = model["vocab"].size();
  for (const Json& entry : added) {
    Json token = {
        {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}, {"special", true}};
    token.update(entry.is_string() ? Json{{"content", entry}} : entry);
    const std::string content = token["content"];
    const bool known = model["vocab"].contains(content);
    token["id"] = known ? model["vocab"][content].get<std::size_t>() : count++;
    tokenizer["added_tokens"].push_back(token);
  }
  return tokenizer;
}

}  // namespace

TEST_CASE("small tokenizers equal the Python package") {
  std::ifstream in(R1_SOURCE_DIR "/tests/golden/tokenizer_cases.json");
  const Json data = Json::parse(in);
  REQUIRE(data["cases"].size() > 70);
  for (const Json& c : data["cases"]) {
    const std::string name = c["name"];
    CAPTURE(name);
    const auto tokenizer =
        r1::Tokenizer::from_json(build(data["bases"][c["base"].get<std::string>()], c["patch"]).dump(), name);
    for (std::size_t i = 0; i < data["texts"].size(); ++i) {
      const std::string text = data["texts"][i];
      const Json& row = c["rows"][i];
      CAPTURE(text);
      const auto ids = row["ids"].get<std::vector<TokenId>>();
      const std::string decoded = row["decoded"];
      CHECK(tokenizer->encode(text) == ids);
      CHECK(tokenizer->encode(text, true) ==
            (row.contains("special") ? row["special"].get<std::vector<TokenId>>() : ids));
      CHECK(tokenizer->decode(ids, false) == decoded);
      CHECK(tokenizer->decode(ids, true) == row.value("skipped", decoded));
      if (name == "no decoder" || name == "word suffix") continue;  // a token's text there depends on what follows
      r1::IncrementalDecoder decoder(tokenizer, false);
      std::string streamed;
      for (TokenId id : ids) streamed += decoder.push(id);
      CHECK(streamed + decoder.finish() == decoded);
    }
  }
}
