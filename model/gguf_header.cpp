#include "model/gguf_header.h"

namespace r1 {
namespace {

enum : std::uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9 };

std::uint64_t filled(std::uint64_t bytes) { return (bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment; }

template <class T>
void put(std::string& out, T value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }
void put_text(std::string& out, std::string_view text) { put(out, std::uint64_t{text.size()}), out += text; }

}  // namespace

void GgufHeader::entry(std::string_view key, std::uint32_t type) { ++entries_, put_text(meta_, key), put(meta_, type); }

void GgufHeader::text(std::string_view key, std::string_view value) { entry(key, kString), put_text(meta_, value); }
void GgufHeader::integer(std::string_view key, std::uint32_t value) { entry(key, kU32), put(meta_, value); }
void GgufHeader::number(std::string_view key, float value) { entry(key, kF32), put(meta_, value); }
void GgufHeader::flag(std::string_view key, bool value) { entry(key, kBool), put(meta_, static_cast<std::uint8_t>(value)); }

void GgufHeader::texts(std::string_view key, const std::vector<std::string>& values) {
  entry(key, kArray), put(meta_, std::uint32_t{kString}), put(meta_, std::uint64_t{values.size()});
  for (const std::string& value : values) put_text(meta_, value);
}

void GgufHeader::integers(std::string_view key, const std::vector<std::int32_t>& values) {
  entry(key, kArray), put(meta_, std::uint32_t{kI32}), put(meta_, std::uint64_t{values.size()});
  for (const std::int32_t value : values) put(meta_, value);
}

void GgufHeader::tensor(std::string_view name, const std::vector<std::int64_t>& shape, std::uint32_t type, std::uint64_t bytes) {
  ++tensors_;
  put_text(info_, name);
  put(info_, static_cast<std::uint32_t>(shape.size()));
  for (auto it = shape.rbegin(); it != shape.rend(); ++it) put(info_, static_cast<std::uint64_t>(*it));
  put(info_, type);
  put(info_, data_bytes_);
  data_bytes_ += filled(bytes);
}

std::string GgufHeader::bytes(std::uint32_t version) const {
  std::string out = "GGUF";
  put(out, version), put(out, tensors_), put(out, entries_);
  out += meta_ + info_;
  out.resize(filled(out.size()));
  return out;
}

}  // namespace r1
