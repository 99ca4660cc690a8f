// The "decoder" part of a tokenizer.json: token texts back to text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace r1 {

// Immutable and thread-safe. Texts may hold any bytes on the way; the end result is valid UTF-8.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
  // What this step makes of one token in the middle of a text.
  virtual std::string piece(std::string token) const { return token; }
};

struct DecoderChain {
  std::vector<std::unique_ptr<Decoder>> steps;
  bool byte_level = false;     // just ByteLevel: decoding is concatenation of bytes
  bool join_by_space = false;  // no decoder at all
};

// ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, BPEDecoder, Sequence. Throws DataError for another type.
DecoderChain make_decoder(const nlohmann::json& config);

}  // namespace r1
