#include "text/decoder.h"

#include <cctype>

#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace r1 {
namespace {

std::string joined(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& t : tokens) out += t;
  return out;
}

class ByteLevel final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& t : tokens) bytes += from_byte_alphabet(t).value_or(t);
    tokens = {unicode::repair(bytes)};
  }
  std::string piece(std::string token) const override { return from_byte_alphabet(token).value_or(token); }
};

class Fuse final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override { tokens = {joined(tokens)}; }
};

// A run of <0xNN> tokens becomes text; a run that is no UTF-8 becomes one U+FFFD a token.
class ByteFallback final : public Decoder {
 public:
  std::string piece(std::string token) const override {
    const int byte = byte_of(token);
    return byte < 0 ? token : std::string(1, static_cast<char>(byte));
  }
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (unicode::is_valid(run)) {
        out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
      }
      run.clear();
    };
    for (std::string& t : tokens) {
      if (const int byte = byte_of(t); byte >= 0) {
        run += static_cast<char>(byte);
      } else {
        flush();
        out.push_back(std::move(t));
      }
    }
    flush();
    tokens = std::move(out);
  }

 private:
  static int byte_of(const std::string& t) {
    const auto hex = [&](std::size_t i) { return std::isxdigit(static_cast<unsigned char>(t[i])) != 0; };
    if (t.size() != 6 || !t.starts_with("<0x") || t[5] != '>' || !hex(4)) return -1;
    if (t[3] == '+') return std::stoi(t.substr(4, 1), nullptr, 16);  // Rust's from_str_radix also reads a plus sign
    return hex(3) ? std::stoi(t.substr(3, 2), nullptr, 16) : -1;
  }
};

class Strip final : public Decoder {
 public:
  Strip(std::string mark, std::size_t start, std::size_t stop) : mark_(std::move(mark)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& t : tokens) {
      std::size_t begin = 0, end = t.size();
      for (std::size_t i = 0; i < start_ && t.compare(begin, mark_.size(), mark_) == 0; ++i) begin += mark_.size();
      for (std::size_t i = 0;
           i < stop_ && end >= begin + mark_.size() && t.compare(end - mark_.size(), mark_.size(), mark_) == 0; ++i) {
        end -= mark_.size();
      }
      t = t.substr(begin, end - begin);
    }
  }

 private:
  std::string mark_;
  std::size_t start_, stop_;
};

class Replace final : public Decoder {
 public:
  explicit Replace(const nlohmann::json& config) : inner_(make_normalizer(config)) {}
  void apply(std::vector<std::string>& tokens) const override {
    std::string changed;
    for (std::string& t : tokens) {
      if (unicode::is_valid(t) && inner_->apply(t, changed)) t.swap(changed);
    }
  }
  std::string piece(std::string token) const override {
    std::string changed;
    return unicode::is_valid(token) && inner_->apply(token, changed) ? changed : token;
  }

 private:
  std::unique_ptr<Normalizer> inner_;
};

// Replaces every `from`; the callback gives the replacement for token i of n.
template <class F>
void replace_each(std::vector<std::string>& tokens, const std::string& from, F&& to) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string content = to(i, tokens.size());
    std::string out;
    std::size_t at = 0;
    for (std::size_t hit = tokens[i].find(from); hit != std::string::npos; hit = tokens[i].find(from, at)) {
      out.append(tokens[i], at, hit - at).append(content);
      at = hit + from.size();
    }
    if (at > 0) tokens[i] = out.append(tokens[i], at);
  }
}

std::string replace_all(std::string token, const std::string& from) {
  std::vector<std::string> one{std::move(token)};
  replace_each(one, from, [](std::size_t, std::size_t) { return std::string(" "); });
  return one[0];
}

class Metaspace final : public Decoder {
 public:
  Metaspace(std::string mark, bool prepends) : mark_(std::move(mark)), prepends_(prepends) {}
  void apply(std::vector<std::string>& tokens) const override {
    replace_each(tokens, mark_,
                 [&](std::size_t i, std::size_t) { return std::string(i == 0 && prepends_ ? "" : " "); });
  }
  std::string piece(std::string token) const override { return replace_all(std::move(token), mark_); }

 private:
  std::string mark_;
  bool prepends_;
};

class WordSuffix final : public Decoder {
 public:
  explicit WordSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    replace_each(tokens, suffix_, [](std::size_t i, std::size_t n) { return std::string(i + 1 == n ? "" : " "); });
  }
  std::string piece(std::string token) const override { return replace_all(std::move(token), suffix_); }

 private:
  std::string suffix_;
};

void append_steps(const nlohmann::json& config, DecoderChain& out) {
  const std::string type = json_type(config);
  if (type == "Sequence") {
    for (const auto& part : json_field(config, "decoders")) append_steps(part, out);
  } else if (type == "ByteLevel") {
    out.steps.push_back(std::make_unique<ByteLevel>());
  } else if (type == "ByteFallback") {
    out.steps.push_back(std::make_unique<ByteFallback>());
  } else if (type == "Fuse") {
    out.steps.push_back(std::make_unique<Fuse>());
  } else if (type == "Strip") {
    const auto start = json_get<std::int64_t>(config, "start"), stop = json_get<std::int64_t>(config, "stop");
    const auto mark = json_get<std::string>(config, "content");
    if (start < 0 || stop < 0 || mark.empty()) throw DataError("decoder Strip: bad content, start or stop");
    out.steps.push_back(std::make_unique<Strip>(mark, static_cast<std::size_t>(start), static_cast<std::size_t>(stop)));
  } else if (type == "Replace") {
    out.steps.push_back(std::make_unique<Replace>(config));
  } else if (type == "Metaspace") {
    const bool prepends = json_get<std::string>(config, "prepend_scheme", "always") != "never" &&
                          json_get<bool>(config, "add_prefix_space", true);
    const auto mark = json_get<std::string>(config, "replacement");
    if (mark.empty()) throw DataError("decoder Metaspace: replacement is empty");
    out.steps.push_back(std::make_unique<Metaspace>(mark, prepends));
  } else if (type == "BPEDecoder") {
    const auto suffix = json_get<std::string>(config, "suffix");
    if (suffix.empty()) throw DataError("decoder BPEDecoder: suffix is empty");
    out.steps.push_back(std::make_unique<WordSuffix>(suffix));
  } else {
    throw DataError(message("decoder type \"", type,
                            "\" is not implemented (ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, ",
                            "BPEDecoder and Sequence are)"));
  }
}

}  // namespace

DecoderChain make_decoder(const nlohmann::json& config) {
  DecoderChain chain;
  if (config.is_null()) {
    chain.join_by_space = true;
    return chain;
  }
  append_steps(config, chain);
  chain.byte_level = chain.steps.size() == 1 && dynamic_cast<const ByteLevel*>(chain.steps[0].get()) != nullptr;
  return chain;
}

}  // namespace r1
