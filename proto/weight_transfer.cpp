#include "proto/weight_transfer.h"

#include <algorithm>
#include <cstring>

#include "core/digest.h"

namespace r1 {
namespace {

using Kind = WeightUpdateError::Kind;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return out + "]";
}

void begin_tensor(Hasher& hash, const TensorView& t) {
  hash.update_field(t.name);
  hash.update_field(safetensors_name(t.dtype));
}

bool same_layout(std::span<const TensorView> a, std::span<const TensorView> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const TensorView& x, const TensorView& y) { return x.name == y.name && x.dtype == y.dtype && x.shape == y.shape; });
}

}  // namespace

std::string to_string(const WeightKey& key) { return message("version ", key.version, " (digest ", to_hex(key.digest), ")"); }

std::uint64_t check_sum(std::string_view data) {
  const Digest digest = digest_of(data);
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < 8; ++i) out = out << 8 | digest[i];
  return out;
}

WeightDigest digest_of(std::span<const TensorView> tensors) {
  Hasher hash;
  for (const TensorView& t : tensors) {
    begin_tensor(hash, t);
    hash.update(t.data, t.bytes());
  }
  return hash.digest();
}

WeightImage::WeightImage(const WeightSnapshot& snapshot, const WeightImage* before, WeightImage* spent, bool shared, const WeightDigest* name) : tensors_(snapshot.tensors) {
  for (const TensorView& t : tensors_) {
    if (t.device != -1) throw Error(message("tensor ", t.name, " lies on device ", t.device, "; weights are sent from the host"));
    if (t.dtype != DType::kBF16 && t.dtype != DType::kF32)
      throw Error(message("tensor ", t.name, " has type ", safetensors_name(t.dtype), "; weights are sent as BF16 or F32"));
    bytes_ += t.bytes();
  }
  if (spent != nullptr && spent->bytes_ == bytes_ && (spent->shared_ != nullptr) == shared) {
    memory_ = std::move(spent->memory_);
    shared_ = std::move(spent->shared_);
  } else {
    if (shared) shared_ = SharedMemory::make(bytes_);
    if (!shared_) memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes_);
  }
  auto delta = before != nullptr && same_layout(tensors_, before->tensors_) ? std::make_unique<WeightDelta>() : nullptr;
  // Range by range, so that what is copied is hashed and compared while it is near.
  Hasher hash;
  std::byte* at = shared_ ? shared_->data() : memory_.get();
  for (std::uint32_t i = 0; i < tensors_.size(); ++i) {
    TensorView& t = tensors_[i];
    const std::size_t width = size_of(t.dtype);
    const auto all = static_cast<std::uint64_t>(t.elements());
    begin_tensor(hash, t);
    for (std::uint64_t first = 0; first < all; first += kChunkElements) {
      const auto n = static_cast<std::uint32_t>(std::min<std::uint64_t>(kChunkElements, all - first));
      const std::size_t offset = first * width;
      std::memcpy(at + offset, t.data + offset, n * width);
      hash.update(at + offset, n * width);
      if (!delta) continue;
      std::string data = encode_change(before->tensors_[i].data + offset, at + offset, n, width, delta->changed);
      if (data.empty()) continue;
      delta->bytes += data.size();
      const std::uint64_t check = check_sum(data);
      delta->chunks.push_back({i, first, n, std::move(data), check});
      if (delta->bytes >= bytes_) delta.reset();
    }
    t.data = at;
    at += t.bytes();
  }
  check_ = hash.digest();
  key_ = {snapshot.version, name != nullptr ? *name : check_};
  if (delta) delta->base = before->key_;
  delta_ = std::move(delta);
}

WeightChunk WeightImage::whole_chunk(std::uint32_t tensor, std::uint64_t first) const {
  const TensorView& t = tensors_[tensor];
  const std::size_t width = size_of(t.dtype);
  WeightChunk out;
  out.tensor = tensor;
  out.first = first;
  out.elements = static_cast<std::uint32_t>(std::min<std::uint64_t>(kChunkElements, static_cast<std::uint64_t>(t.elements()) - first));
  out.data.assign(reinterpret_cast<const char*>(t.data + first * width), out.elements * width);
  out.check = check_sum(out.data);
  return out;
}

void check_weight_layout(std::span<const TensorView> tensors, std::span<const TensorView> layout) {
  const auto fail = [](Kind kind, const std::string& text) { throw WeightUpdateError(kind, text); };
  for (std::size_t i = 0; i < std::min(tensors.size(), layout.size()); ++i) {
    const TensorView &theirs = tensors[i], &ours = layout[i];
    if (theirs.name != ours.name) fail(Kind::kOther, message("tensor ", i, " is ", theirs.name, ", this server's model has ", ours.name, " there; is it another architecture?"));
    if (theirs.dtype != ours.dtype)
      fail(Kind::kOther, message("tensor ", ours.name, ": type is ", safetensors_name(theirs.dtype), ", this server computes in ", safetensors_name(ours.dtype), "; start it with the trainer's --dtype"));
    if (theirs.shape != ours.shape) fail(Kind::kOther, message("tensor ", ours.name, ": shape is ", shape_text(theirs.shape), ", this server's model has ", shape_text(ours.shape)));
  }
  if (tensors.size() < layout.size()) fail(Kind::kOther, message("tensor ", layout[tensors.size()].name, " of this server's model is missing"));
  if (tensors.size() > layout.size()) fail(Kind::kOther, message("tensor ", tensors[layout.size()].name, " is none of this server's model"));
}

WeightReceiver::WeightReceiver(std::vector<TensorView> layout) : layout_(std::move(layout)) {
  for (const TensorView& t : layout_) bytes_ += t.bytes();
}

void WeightReceiver::fail(Kind kind, const std::string& text) {
  running_ = false;
  changes_.clear();
  throw WeightUpdateError(kind, text);
}

void WeightReceiver::begin(const Header& header) {
  running_ = false;
  check_weight_layout(header.tensors, layout_);
  if (header.delta && (!has_base_ || held_ != header.base))
    fail(Kind::kStale, message("the delta is from ", to_string(header.base), ", this server has ", has_base_ ? to_string(held_) : "none that it was sent"));
  if (!memory_) {
    memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes_);
    std::byte* at = memory_.get();
    for (TensorView& t : layout_) {
      t.data = at;
      at += t.bytes();
    }
  }
  header_ = header;
  if (!header.delta) has_base_ = false;
  running_ = true;
  changes_.clear();
  chunks_ = tensor_ = 0;
  element_ = 0;
  change_bytes_ = 0;
}

std::string WeightReceiver::expected() const {
  return tensor_ < layout_.size() ? message("tensor ", layout_[tensor_].name, ", element ", element_) : "the end";
}

void WeightReceiver::add(WeightChunk&& c) {
  if (!running_) throw WeightUpdateError(Kind::kOther, "a chunk came before the header");
  if (c.tensor >= layout_.size()) fail(Kind::kOther, message("a chunk is of tensor ", c.tensor, ", there are ", layout_.size()));
  const TensorView& t = layout_[c.tensor];
  const auto all = static_cast<std::uint64_t>(t.elements());
  const std::string where = message("tensor ", t.name, ", elements ", c.first, " to ", c.first + c.elements);
  if (c.elements == 0 || c.first > all || c.elements > all - c.first) fail(Kind::kOther, message(where, ": the tensor has ", all));
  if (check_sum(c.data) != c.check) fail(Kind::kLost, message(where, ": the chunk is damaged, its check sum is not the promised one"));
  const bool in_order = header_.delta ? c.tensor > tensor_ || (c.tensor == tensor_ && c.first >= element_) : c.tensor == tensor_ && c.first == element_;
  if (!in_order) fail(Kind::kLost, message(where, ": expected ", expected(), "; a chunk was lost or came twice"));
  const std::size_t width = size_of(t.dtype);
  ++chunks_;
  tensor_ = c.tensor;
  element_ = c.first + c.elements;
  if (header_.delta) {
    change_bytes_ += c.data.size();
    if (change_bytes_ > bytes_) fail(Kind::kOther, message(where, ": the delta is longer than the ", bytes_, " bytes of the weights"));
    changes_.push_back(std::move(c));
  } else {
    if (c.data.size() != c.elements * width) fail(Kind::kOther, message(where, ": ", c.data.size(), " bytes came for ", c.elements, " elements of ", width, " bytes"));
    std::memcpy(const_cast<std::byte*>(t.data) + c.first * width, c.data.data(), c.data.size());
    if (element_ == all) ++tensor_, element_ = 0;
  }
}

void WeightReceiver::apply_all() {
  has_base_ = false;  // until all are applied
  for (const WeightChunk& c : changes_) {
    const TensorView& t = layout_[c.tensor];
    const std::size_t width = size_of(t.dtype);
    try {
      apply_change(c.data, const_cast<std::byte*>(t.data) + c.first * width, c.elements, width);
    } catch (const Error& e) {
      fail(Kind::kOther, message("tensor ", t.name, ", elements ", c.first, " to ", c.first + c.elements, ": the change cannot be read: ", e.what()));
    }
  }
  changes_.clear();
}

WeightSnapshot WeightReceiver::finish(std::uint32_t chunks) {
  if (!running_) throw WeightUpdateError(Kind::kOther, "an end came before the header");
  if (chunks != chunks_) fail(Kind::kLost, message(chunks, " chunks were sent, ", chunks_, " came; the last before ", expected()));
  if (!header_.delta && tensor_ < layout_.size()) fail(Kind::kLost, message("the update ends before ", expected()));
  if (header_.delta) apply_all();
  const WeightDigest digest = digest_of(std::span<const TensorView>(layout_));
  if (digest != header_.check) fail(Kind::kLost, message("the weights that came have digest ", to_hex(digest), ", promised was ", to_hex(header_.check), " for ", to_string(header_.key)));
  running_ = false;
  has_base_ = true;
  held_ = header_.key;
  return {held_.version, layout_, nullptr};
}

WeightSnapshot WeightReceiver::map(const Header& header, const SharedName& name) {
  running_ = false;
  check_weight_layout(header.tensors, layout_);
  const std::shared_ptr<SharedMemory> memory = SharedMemory::open(name, bytes_);
  if (!memory) fail(Kind::kUnreachable, message("no shared memory of ", bytes_, " bytes can be opened as descriptor ", name.descriptor, " of process ", name.process));
  WeightSnapshot out{header.key.version, layout_, memory};
  const std::byte* at = memory->data();
  for (TensorView& t : out.tensors) {
    t.data = at;
    at += t.bytes();
  }
  const WeightDigest digest = digest_of(std::span<const TensorView>(out.tensors));
  if (digest != header.check) fail(Kind::kLost, message("the weights in shared memory have digest ", to_hex(digest), ", promised was ", to_hex(header.check), " for ", to_string(header.key)));
  has_base_ = false;  // a delta needs a copy of its own
  memory_.reset();
  return out;
}

}  // namespace r1
