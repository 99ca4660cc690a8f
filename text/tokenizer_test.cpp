// Loading and its errors, special ids, invalid bytes, long words, threads, streams.
#include <doctest/doctest.h>

#include <fstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "tests/support/support.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/decoder.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

using r1::TokenId;
using r1::Tokenizer;
using Json = nlohmann::ordered_json;

namespace {

// All bytes, and words from merges.
Json byte_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges = {{"l", "o"}, {"lo", "w"}}) {
  Json vocab = Json::object();
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    vocab[r1::to_byte_alphabet({&c, 1})] = b;
  }
  Json list = Json::array();
  for (const auto& [a, b] : merges) {
    list.push_back({a, b});
    if (!vocab.contains(a + b)) vocab[a + b] = vocab.size();
  }
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json special = {{"id", vocab.size()}, {"content", "<|end|>"}, {"special", true}, {"normalized", false}};
  return {{"version", "1.0"},
          {"added_tokens", {special}},
          {"normalizer", nullptr},
          {"pre_tokenizer", bytes},
          {"post_processor", nullptr},
          {"decoder", bytes},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

std::string error_of(const Json& json) {
  try {
    Tokenizer::from_json(json.dump(), "tok.json");
    return "no error";
  } catch (const r1::DataError& e) {
    return e.what();
  }
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// The textbook loop: the best pair of all, again and again.
std::vector<TokenId> slow_bpe(const r1::BpeConfig& config, const std::string& word) {
  std::map<std::string, TokenId> vocab(config.vocab.begin(), config.vocab.end());
  std::vector<std::string> symbols;
  for (char c : word) symbols.emplace_back(1, c);
  while (true) {
    std::size_t best = config.merges.size(), at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (std::size_t rank = 0; rank < best; ++rank) {
        if (config.merges[rank] == std::pair(symbols[i], symbols[i + 1])) best = rank, at = i;
      }
    }
    if (best == config.merges.size()) break;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  std::vector<TokenId> out;
  for (const auto& s : symbols) out.push_back(vocab.at(s));
  return out;
}

}  // namespace

TEST_CASE("a run of byte tokens is text, or one replacement character for each token") {
  const r1::DecoderChain chain = r1::make_decoder(nlohmann::json::parse(R"({"type": "ByteFallback"})"));
  std::vector<std::string> text = {"<0xC3>", "<0xA9>", "a"}, broken = {"<0xE9>", "<0xFF>", "a"};
  chain.steps.at(0)->apply(text);
  chain.steps.at(0)->apply(broken);
  CHECK(text == std::vector<std::string>{"\u00E9", "a"});
  CHECK(broken == std::vector<std::string>{"\uFFFD", "\uFFFD", "a"});
}

TEST_CASE("ids, bytes and special tokens") {
  const auto t = Tokenizer::from_json(byte_tokenizer().dump(), "test");
  CHECK(t->vocab_size() == 259);
  CHECK(t->encode("low<|end|>lo") == std::vector<TokenId>{257, 258, 256});
  CHECK(t->decode({257, 258, 256}) == "lowlo");
  CHECK(t->decode({257, 258, 256}, false) == "low<|end|>lo");
  CHECK(t->decode({257, -5, 100000, 256}) == "lowlo");  // ids without a token, as padded vocabularies have them
  CHECK(t->token_bytes(257) == "low");
  CHECK(t->token_bytes(255) == "\xFF");
  CHECK(t->token_bytes(258) == "<|end|>");
  CHECK(t->is_special(258));
  CHECK_FALSE(t->is_special(257));
  CHECK_FALSE(t->is_special(-1));
  CHECK(t->token_id("<|end|>") == 258);
  CHECK(t->token_id("low") == 257);
  CHECK(t->token_id("Ġ") == 32);
  CHECK_FALSE(t->token_id("nothing").has_value());
  CHECK_FALSE(t->eos().has_value());
  CHECK_THROWS_AS(t->token_bytes(259), r1::DataError);
  CHECK_THROWS_AS(t->token_bytes(-1), r1::DataError);
  CHECK(t->encode("").empty());
}

TEST_CASE("invalid UTF-8 is read as U+FFFD; every byte string survives a round trip of its repair") {
  const auto t = Tokenizer::from_json(byte_tokenizer().dump(), "test");
  CHECK(t->encode("a\xFF") == std::vector<TokenId>{'a', 0xEF, 0xBF, 0xBD});
  r1::StreamRng rng(1, 2);
  for (int i = 0; i < 500; ++i) {
    std::string bytes;
    for (std::uint64_t n = rng.below(40); n > 0; --n) bytes += static_cast<char>(rng.below(256));
    CHECK(t->decode(t->encode(bytes)) == r1::unicode::repair(bytes));
  }
}

TEST_CASE("a stream never cuts a character and adds up to the whole text") {
  const auto t = Tokenizer::from_json(byte_tokenizer().dump(), "test");
  r1::StreamRng rng(3, 4);
  for (int i = 0; i < 300; ++i) {
    std::vector<TokenId> ids;
    for (std::uint64_t n = rng.below(30); n > 0; --n) ids.push_back(static_cast<TokenId>(rng.below(259)));
    for (char c : std::string("é你😀")) ids.push_back(static_cast<unsigned char>(c));
    r1::IncrementalDecoder decoder(t);
    std::string text;
    for (TokenId id : ids) {
      const std::string part = decoder.push(id);
      CHECK(r1::unicode::is_valid(part));
      text += part;
    }
    CHECK(text + decoder.finish() == t->decode(ids));
  }
  r1::IncrementalDecoder decoder(t);
  CHECK(decoder.push(0xE4) == "");
  CHECK(decoder.push(0xBD) == "");
  CHECK(decoder.push(0xA0) == "你");
  CHECK(decoder.push(0xF0) == "");
  CHECK(decoder.push(258) == "");    // special: left out
  CHECK(decoder.push(9999) == "");
  CHECK(decoder.finish() == "\xEF\xBF\xBD");
  CHECK(decoder.finish() == "");
}

TEST_CASE("merging equals the textbook loop for short and long words") {
  r1::BpeConfig config;
  config.raw_bytes = true;
  for (const char* c : {"a", "b", "c"}) config.vocab.emplace_back(c, static_cast<TokenId>(config.vocab.size()));
  r1::StreamRng rng(5, 6);
  std::map<std::pair<std::string, std::string>, bool> seen;
  while (config.merges.size() < 40) {  // random merges, so that ranks and overlaps take every order
    const std::string a = config.vocab[rng.below(config.vocab.size())].first,
                      b = config.vocab[rng.below(config.vocab.size())].first;
    if (a.size() + b.size() > 9 || seen[{a, b}]) continue;
    seen[{a, b}] = true;
    config.merges.emplace_back(a, b);
    bool known = false;
    for (const auto& [token, id] : config.vocab) known |= token == a + b;
    if (!known) config.vocab.emplace_back(a + b, static_cast<TokenId>(config.vocab.size()));
  }
  const r1::Bpe bpe(config);
  for (int i = 0; i < 400; ++i) {
    std::string word;
    for (std::uint64_t n = 1 + rng.below(i % 4 ? 30 : 150); n > 0; --n) word += static_cast<char>('a' + rng.below(3));
    std::vector<TokenId> ids, again;
    bpe.encode(word, ids);
    bpe.encode(word, again);  // from the cache
    CHECK(ids == slow_bpe(config, word));
    CHECK(again == ids);
  }
}

TEST_CASE("a megabyte in one word is done in time") {
  const auto t = Tokenizer::from_json(byte_tokenizer({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}).dump(), "test");
  CHECK(t->encode(std::string(1 << 20, 'a')).size() == (1 << 20) / 8);
  CHECK(t->encode(std::string(1 << 20, ' ')).size() == 1 << 20);
  std::string marks;
  for (int i = 0; i < 100'000; ++i) marks += "\xCC\x81";
  CHECK(t->decode(t->encode(marks)) == marks);
}

TEST_CASE("threads share a tokenizer") {
  const auto t = Tokenizer::from_json(byte_tokenizer().dump(), "test");
  std::vector<std::string> texts;
  r1::StreamRng rng(8, 9);
  for (int i = 0; i < 400; ++i) {
    std::string s;
    for (std::uint64_t n = rng.below(60); n > 0; --n) s += "lowe x"[rng.below(6)];
    texts.push_back(s);
  }
  std::vector<std::vector<TokenId>> expected;
  const auto fresh = Tokenizer::from_json(byte_tokenizer().dump(), "test");
  for (const auto& s : texts) expected.push_back(fresh->encode(s));
  std::vector<std::vector<std::vector<TokenId>>> got(4);
  std::vector<std::thread> threads;
  for (auto& mine : got) threads.emplace_back([&] { for (const auto& s : texts) mine.push_back(t->encode(s)); });
  for (auto& thread : threads) thread.join();
  for (const auto& mine : got) CHECK(mine == expected);
}

TEST_CASE("a directory: settings, special tokens, chat template") {
  const r1::test::TempDir dir;
  write(dir / "tokenizer.json", byte_tokenizer().dump());
  write(
      dir / "tokenizer_config.json",
      R"({"eos_token": {"content": "<|end|>"}, "pad_token": null, "chat_template": [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]})");
  write(dir / "special_tokens_map.json", R"({"bos_token": "low", "pad_token": "<|end|>"})");
  const auto t = Tokenizer::load(dir.path());
  CHECK(t->eos() == 258);
  CHECK(t->bos() == 257);
  CHECK(t->pad() == 258);
  CHECK(t->chat_template() == "D");
  write(dir / "chat_template.jinja", "J\n");
  CHECK(Tokenizer::load(dir.path())->chat_template() == "J\n");
  CHECK(Tokenizer::load(dir / "tokenizer.json")->chat_template().empty());
  write(dir / "tokenizer_config.json", "{");
  CHECK_THROWS_WITH_AS(Tokenizer::load(dir.path()), doctest::Contains("tokenizer_config.json"), r1::DataError);
  const r1::test::TempDir empty;
  CHECK_THROWS_WITH_AS(Tokenizer::load(empty.path()), doctest::Contains("no tokenizer.json"), r1::DataError);
  CHECK_THROWS_WITH_AS(Tokenizer::load(empty / "x.json"), doctest::Contains("no file"), r1::DataError);
}

TEST_CASE("what is not implemented is refused with file and field") {
  const auto with = [](const char* pointer, const Json& value) {
    Json json = byte_tokenizer();
    json[Json::json_pointer(pointer)] = value;
    return error_of(json);
  };
  CHECK(error_of(byte_tokenizer()) == "no error");
  CHECK(with("/normalizer", {{"type", "Nmt"}}).find("tok.json: field \"normalizer\": normalizer type \"Nmt\"") == 0);
  CHECK(with("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Precompiled"}}}}}).find("Precompiled") !=
        std::string::npos);
  CHECK(with("/pre_tokenizer", {{"type", "BertPreTokenizer"}}).find("field \"pre_tokenizer\"") != std::string::npos);
  CHECK(with("/pre_tokenizer",
             {{"type", "Split"}, {"pattern", {{"Regex", "(a)\\1"}}}, {"behavior", "Isolated"}, {"invert", false}})
            .find("regex") != std::string::npos);
  CHECK(with("/pre_tokenizer",
             {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Odd"}, {"invert", false}})
            .find("Odd") != std::string::npos);
  CHECK(with("/pre_tokenizer", {{"type", "Digits"}}).find("individual_digits") != std::string::npos);
  CHECK(with("/decoder", {{"type", "WordPiece"}}).find("field \"decoder\"") != std::string::npos);
  CHECK(with("/post_processor", {{"type", "Odd"}}).find("field \"post_processor\"") != std::string::npos);
  CHECK(with("/model/type", "Unigram").find("Unigram") != std::string::npos);
  CHECK(with("/model/dropout", 0.1).find("dropout") != std::string::npos);
  CHECK(with("/model/vocab", Json::object()).find("model.vocab") != std::string::npos);
  CHECK(with("/model/vocab/x", -3).find("\"x\" has the id -3") != std::string::npos);
  CHECK(with("/model/merges", Json::array({Json::array({"l", "zz"})})).find("\"zz\" is not in the vocabulary") !=
        std::string::npos);
  CHECK(with("/model/merges", {"l o w"}).find("is no pair") != std::string::npos);
  CHECK(with("/added_tokens/0/id", 300).find("has the id 300, but by its place it is 258") != std::string::npos);
  CHECK(with("/added_tokens", 3).find("added_tokens") != std::string::npos);
  Json json = byte_tokenizer();
  json.erase("model");
  CHECK(error_of(json).find("\"model\" is missing") != std::string::npos);
  CHECK_THROWS_WITH_AS(Tokenizer::from_json("{", "t"), doctest::Contains("no valid JSON"), r1::DataError);
  CHECK_THROWS_AS(Tokenizer::from_json("[]", "t"), r1::DataError);
  CHECK_THROWS_AS(Tokenizer::from_json("", "t"), r1::DataError);
}
