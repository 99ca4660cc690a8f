#include "model/gguf_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "model/mapped_file.h"

namespace r1 {
namespace {

enum : std::uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

// Reads forward; every read checks that the bytes are there.
class Cursor {
 public:
  Cursor(const MappedFile& file) : file_(file) {}

  template <class T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }
  std::string text(const char* what) {
    const auto length = number<std::uint64_t>(what);
    const auto* p = reinterpret_cast<const char*>(take(length, what));
    return {p, length};
  }
  // A list of n things of at least `bytes` each cannot be longer than the rest of the file.
  void expect(std::uint64_t n, std::uint64_t bytes, const char* what) const {
    if (n > (file_.size() - position_) / bytes)
      fail(message("the file is cut off or damaged: ", n, " entries of ", what, " at byte ", position_, ", but only ",
                   file_.size() - position_, " bytes are left"));
  }
  std::uint64_t position() const { return position_; }
  [[noreturn]] void fail(const std::string& why) const { throw CheckpointError(message(file_.path().string(), ": ", why)); }

 private:
  const std::byte* take(std::uint64_t bytes, const char* what) {
    if (bytes > file_.size() - position_)
      fail(message("the file is cut off: ", what, " at byte ", position_, " needs ", bytes, " bytes, ",
                   file_.size() - position_, " are left of ", file_.size()));
    const std::byte* p = file_.data() + position_;
    position_ += bytes;
    return p;
  }
  const MappedFile& file_;
  std::uint64_t position_ = 0;
};

std::int64_t read_integer(Cursor& in, std::uint32_t type) {
  switch (type) {
    case kU8: return in.number<std::uint8_t>("a value");
    case kI8: return in.number<std::int8_t>("a value");
    case kU16: return in.number<std::uint16_t>("a value");
    case kI16: return in.number<std::int16_t>("a value");
    case kU32: return in.number<std::uint32_t>("a value");
    case kI32: return in.number<std::int32_t>("a value");
    case kI64: return in.number<std::int64_t>("a value");
    default: {
      const auto value = in.number<std::uint64_t>("a value");
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        in.fail(message("the metadata value ", value, " is too large"));
      return static_cast<std::int64_t>(value);
    }
  }
}

double read_float(Cursor& in, std::uint32_t type) {
  return type == kF32 ? static_cast<double>(in.number<float>("a value")) : in.number<double>("a value");
}

template <class T, class Read>
std::vector<T> read_list(Cursor& in, std::uint64_t n, Read read) {
  std::vector<T> list;
  list.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) list.push_back(read());
  return list;
}

GgufArray read_array(Cursor& in, const std::string& key) {
  const auto type = in.number<std::uint32_t>("an array's type");
  const auto n = in.number<std::uint64_t>("an array's length");
  in.expect(n, type == kString ? 8 : 1, key.c_str());
  switch (type) {
    case kF32: case kF64: return read_list<double>(in, n, [&] { return read_float(in, type); });
    case kBool: return read_list<bool>(in, n, [&] { return in.number<std::uint8_t>("a flag") != 0; });
    case kString: return read_list<std::string>(in, n, [&] { return in.text("a text"); });
    case kArray: in.fail(message("metadata key ", key, " is an array of arrays, which is not supported"));
    default:
      if (type > kF64) in.fail(message("metadata key ", key, " has unknown element type ", type));
      return read_list<std::int64_t>(in, n, [&] { return read_integer(in, type); });
  }
}

GgufValue read_value(Cursor& in, const std::string& key) {
  const auto type = in.number<std::uint32_t>("a value's type");
  switch (type) {
    case kF32: case kF64: return read_float(in, type);
    case kBool: return in.number<std::uint8_t>("a flag") != 0;
    case kString: return in.text("a text");
    case kArray: return read_array(in, key);
    default:
      if (type > kF64) in.fail(message("metadata key ", key, " has unknown type ", type));
      return read_integer(in, type);
  }
}

struct PlacedTensor {
  GgufTensor tensor;
  std::uint64_t offset = 0, bytes = 0;
};

PlacedTensor read_tensor_info(Cursor& in) {
  PlacedTensor out;
  GgufTensor& t = out.tensor;
  t.name = in.text("a tensor's name");
  const auto dims = in.number<std::uint32_t>("a tensor's dimensions");
  if (dims < 1 || dims > 4) in.fail(message("tensor ", t.name, " has ", dims, " dimensions, 1 to 4 expected"));
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dims; ++i) {
    const auto size = in.number<std::uint64_t>("a tensor's size");
    if (size == 0 || __builtin_mul_overflow(elements, size, &elements) || elements > std::uint64_t{1} << 48)
      in.fail(message("tensor ", t.name, " has an impossible size ", size));
    t.shape.insert(t.shape.begin(), static_cast<std::int64_t>(size));
  }
  const auto type = in.number<std::uint32_t>("a tensor's type");
  const auto format = ggml_format(type);
  if (!format)
    in.fail(message("tensor ", t.name, " has format ", ggml_type_name(type), "; supported are ", kSupportedGgmlTypes));
  if (t.shape.back() % static_cast<std::int64_t>(format->block_elements) != 0)
    in.fail(message("tensor ", t.name, " has rows of ", t.shape.back(), " elements, not a multiple of the ", format->name,
                    " block of ", format->block_elements));
  out.offset = in.number<std::uint64_t>("a tensor's offset");
  t.type = static_cast<GgmlType>(type);
  t.elements = static_cast<std::int64_t>(elements);
  t.blocks = elements / format->block_elements;
  out.bytes = t.blocks * format->block_bytes;
  return out;
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path) : path_(path) {
  const auto file = MappedFile::open(path);
  Cursor in(*file);
  if (file->size() < 24 || std::memcmp(file->data(), "GGUF", 4) != 0)
    in.fail(message("not a GGUF file (", file->size(), " bytes, the first four should be \"GGUF\")"));
  in.number<std::uint32_t>("the magic");
  const auto version = in.number<std::uint32_t>("the version");
  if (version != 2 && version != 3)
    in.fail(message("GGUF version ", version, version > 0xFFFF ? " (big-endian?)" : "", "; supported are little-endian 2 and 3"));
  const auto n_tensors = in.number<std::uint64_t>("the number of tensors");
  const auto n_metadata = in.number<std::uint64_t>("the number of metadata entries");
  in.expect(n_metadata, 12, "metadata");
  for (std::uint64_t i = 0; i < n_metadata; ++i) {
    std::string key = in.text("a key");
    GgufValue value = read_value(in, key);
    if (!metadata_.emplace(std::move(key), std::move(value)).second) in.fail("a metadata key is there twice");
  }
  in.expect(n_tensors, 24, "tensors");
  std::vector<PlacedTensor> placed;
  for (std::uint64_t i = 0; i < n_tensors; ++i) placed.push_back(read_tensor_info(in));

  const std::int64_t alignment = has("general.alignment") ? integer("general.alignment") : 32;
  if (alignment < 1 || alignment > 1 << 20) in.fail(message("general.alignment is ", alignment));
  const auto unit = static_cast<std::uint64_t>(alignment);
  const std::uint64_t start = (in.position() + unit - 1) / unit * unit;
  for (PlacedTensor& p : placed) {
    std::uint64_t end = 0;
    if (__builtin_add_overflow(start + p.bytes, p.offset, &end) || end > file->size())
      in.fail(message("the file is cut off: tensor ", p.tensor.name, " ends at byte ", end, ", the file has ", file->size(),
                      "; copy it again"));
    if (p.offset % unit != 0)
      in.fail(message("tensor ", p.tensor.name, " starts at data byte ", p.offset, ", not a multiple of ", alignment));
    if (find(p.tensor.name) != nullptr) in.fail(message("tensor ", p.tensor.name, " is there twice"));
    p.tensor.data = file->data() + start + p.offset;
    tensors_.push_back(std::move(p.tensor));
  }
  owner_ = file;
}

template <class T>
const T& GgufFile::get(const std::string& key, const char* wanted) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end()) throw CheckpointError(message(path_.string(), ": metadata key ", key, " is missing"));
  if constexpr (std::is_same_v<T, std::vector<std::string>> || std::is_same_v<T, std::vector<std::int64_t>>) {
    if (const auto* array = std::get_if<GgufArray>(&it->second))
      if (const T* value = std::get_if<T>(array)) return *value;
  } else {
    if (const T* value = std::get_if<T>(&it->second)) return *value;
  }
  throw CheckpointError(message(path_.string(), ": metadata key ", key, " is not ", wanted));
}

std::int64_t GgufFile::integer(const std::string& key) const { return get<std::int64_t>(key, "an integer"); }
const std::string& GgufFile::text(const std::string& key) const { return get<std::string>(key, "a text"); }
const std::vector<std::string>& GgufFile::texts(const std::string& key) const {
  return get<std::vector<std::string>>(key, "a list of texts");
}
const std::vector<std::int64_t>& GgufFile::integers(const std::string& key) const {
  return get<std::vector<std::int64_t>>(key, "a list of integers");
}
bool GgufFile::flag(const std::string& key, bool missing) const { return has(key) ? get<bool>(key, "a flag") : missing; }
double GgufFile::number(const std::string& key) const {
  const auto it = metadata_.find(key);
  if (it != metadata_.end())
    if (const auto* whole = std::get_if<std::int64_t>(&it->second)) return static_cast<double>(*whole);
  return get<double>(key, "a number");
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  for (const GgufTensor& t : tensors_)
    if (t.name == name) return &t;
  return nullptr;
}

const GgufTensor& GgufFile::at(std::string_view name) const {
  if (const GgufTensor* tensor = find(name)) return *tensor;
  throw CheckpointError(message(path_.string(), ": tensor ", name, " is missing (", tensors_.size(), " tensors are there)"));
}

std::vector<float> GgufFile::floats(const GgufTensor& tensor) const {
  std::vector<float> out(static_cast<std::size_t>(tensor.elements));
  dequantize(tensor.type, tensor.data, tensor.blocks, out.data());
  return out;
}

}  // namespace r1
