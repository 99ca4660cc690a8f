#include "proto/weight_arena.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "core/sum_digest.h"

namespace r1 {
namespace {

using Kind = WeightUpdateError::Kind;

[[noreturn]] void fail(Kind kind, const std::string& text) { throw WeightUpdateError(kind, text); }

}  // namespace

WeightArena::WeightArena(std::shared_ptr<WeightDevice> device, std::vector<TensorView> layout, WeightPlaces places)
    : device_(std::move(device)), layout_(std::move(layout)), places_(std::move(places)) {
  R1_CHECK(places_.offsets.size() == layout_.size() && places_.bytes % 16 == 0, places_.offsets.size(), " places in ", places_.bytes, " bytes for ", layout_.size(), " tensors");
  for (std::size_t i = 0; i < layout_.size(); ++i)
    ends_.push_back(i + 1 < layout_.size() ? (places_.offsets[i + 1] + 15) / 16 * 16 : places_.bytes);
  memory_ = device_->allocate(places_.bytes);
  for (std::size_t i = 0; i < layout_.size(); ++i) {
    layout_[i].data = memory_.get() + places_.offsets[i];
    layout_[i].device = device_->device();
  }
}

void WeightArena::fill(const WeightSnapshot& snapshot) {
  std::unordered_map<std::string_view, const TensorView*> given;
  bool on_device = false;
  for (const TensorView& t : snapshot.tensors) {
    given[t.name] = &t;
    on_device = on_device || t.device >= 0;
  }
  std::vector<WeightDevice::Copy> copies;
  for (const TensorView& t : layout_) {
    const auto found = given.find(t.name);
    if (found == given.end()) throw Error(message("tensor ", t.name, " is missing"));
    if (found->second->dtype != t.dtype || found->second->shape != t.shape) throw Error(message("tensor ", t.name, " has another type or shape than the model's"));
    copies.push_back({const_cast<std::byte*>(t.data), found->second->data, t.bytes()});
  }
  if (given.size() != layout_.size()) throw Error(message(given.size(), " tensors for ", layout_.size(), " of the model"));
  if (on_device) device_->settle();  // what writes them
  device_->copy(copies);
  sum_up();
}

void WeightArena::sum_up() {
  sums_ = device_->sums(memory_.get(), ends_);
  WeightDevice::Sum all{};
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < layout_.size(); ++i) {
    names.push_back(layout_[i].name);
    all[0] += sums_[i][0];
    all[1] += sums_[i][1];
  }
  digest_ = digest_of_sums(names, all[0], all[1]);
}

WeightSnapshot WeightArena::snapshot(WeightVersion version) const { return {version, layout_, memory_}; }

WeightSnapshot WeightArena::download(WeightVersion version) const {
  const std::shared_ptr<std::byte[]> host(new std::byte[places_.bytes]);
  const WeightDevice::Copy all{host.get(), memory_.get(), places_.bytes};
  device_->copy({&all, 1});
  WeightSnapshot out{version, layout_, host};
  for (std::size_t i = 0; i < out.tensors.size(); ++i) {
    out.tensors[i].data = host.get() + places_.offsets[i];
    out.tensors[i].device = -1;
  }
  return out;
}

DeviceReceiver::DeviceReceiver(std::shared_ptr<WeightDevice> device, std::string missing, std::vector<TensorView> layout, WeightPlaces places)
    : device_(std::move(device)), missing_(std::move(missing)), layout_(std::move(layout)), places_(std::move(places)) {}

DeviceReceiver::~DeviceReceiver() { leave(); }

void DeviceReceiver::leave() {
  if (communicator_) communicator_->abort();  // the other end may be gone: nothing is waited for
  communicator_.reset();
  group_.clear();
}

void DeviceReceiver::check(const WeightUpdateHeader& header, const DeviceHeader& from) const {
  if (!device_) fail(Kind::kUnreachable, message("weights in a GPU's memory cannot be taken here: ", missing_));
  check_weight_layout(header.tensors, layout_);
  if (from.places.offsets.size() != layout_.size()) fail(Kind::kOther, message("header.device.offsets has ", from.places.offsets.size(), " places for ", layout_.size(), " tensors"));
  for (std::size_t i = 0; i < layout_.size(); ++i)
    if (from.places.offsets[i] != places_.offsets[i])
      fail(Kind::kOther, message("tensor ", layout_[i].name, ": it lies at byte ", from.places.offsets[i], " of the memory, here at ", places_.offsets[i]));
  if (from.places.bytes != places_.bytes) fail(Kind::kOther, message("header.device.bytes is ", from.places.bytes, ", this server's weights have ", places_.bytes));
  if (from.sums.size() != layout_.size()) fail(Kind::kOther, message("header.device.sums has ", from.sums.size(), " pairs for ", layout_.size(), " tensors"));
  if (from.memory.empty() == from.group.empty()) fail(Kind::kOther, "header.device names either memory or a group");
  if (!from.memory.empty() && from.gpu != device_->id()) fail(Kind::kUnreachable, "the memory lies on another GPU than this server's");
  if (from.group.empty()) return;
  if (const std::string why = device_->nccl_missing(); !why.empty()) fail(Kind::kUnreachable, "no group of GPUs can be joined here: " + why);
  if (from.gpu == device_->id()) fail(Kind::kUnreachable, "a group has different GPUs, this server's is the learner's");
  if (from.piece == 0) fail(Kind::kOther, "header.device.piece is 0");
  if (from.joined && (!communicator_ || group_ != from.group)) fail(Kind::kStale, "this server is not in that group of GPUs; make another one");
}

void DeviceReceiver::open(const DeviceHeader& from) {
  std::shared_ptr<const std::byte> memory;
  try {
    memory = device_->open(from.memory);
  } catch (const Error& e) {
    fail(Kind::kUnreachable, message("the memory of the other process cannot be opened: ", e.what()));
  }
  const WeightDevice::Copy all{arena_->data(), memory.get(), places_.bytes};
  device_->copy({&all, 1});
}

void DeviceReceiver::receive(const DeviceHeader& from, const std::function<void()>& joins, const std::function<bool()>& give_up) {
  give_up_ = give_up;
  struct Forget {
    std::function<bool()>& f;
    ~Forget() { f = nullptr; }
  } forget{give_up_};
  joins();
  if (!from.joined) {
    leave();
    Communicator::Options options;
    options.give_up = [this] { return give_up_ && give_up_(); };
    try {
      communicator_ = device_->join(from.group, 1, options);
    } catch (const Error& e) {
      fail(Kind::kUnreachable, message("the group of GPUs cannot be joined: ", e.what()));
    }
    group_ = from.group;
  }
  for (std::uint64_t at = 0; at < places_.bytes; at += from.piece) {
    try {
      communicator_->receive(0, arena_->data() + at, std::min(from.piece, places_.bytes - at), "new weights");
    } catch (const Error& e) {
      leave();
      const auto tensor = std::upper_bound(places_.offsets.begin(), places_.offsets.end(), at) - places_.offsets.begin() - 1;
      fail(Kind::kLost, message("the update was torn before tensor ", layout_[static_cast<std::size_t>(std::max<std::ptrdiff_t>(tensor, 0))].name, " was whole: ", e.what()));
    }
  }
}

WeightSnapshot DeviceReceiver::take(const WeightUpdateHeader& header, const DeviceHeader& from, const std::function<void()>& joins, const std::function<bool()>& give_up) {
  check(header, from);
  try {
    if (!arena_) arena_ = std::make_unique<WeightArena>(device_, layout_, places_);
  } catch (const DeviceError& e) {
    fail(Kind::kUnreachable, message("no memory for weights on their way: ", e.what()));
  }
  if (from.group.empty()) open(from);
  else receive(from, joins, give_up);
  arena_->sum_up();
  for (std::size_t i = 0; i < layout_.size(); ++i)
    if (arena_->sums()[i] != from.sums[i]) fail(Kind::kLost, message("tensor ", layout_[i].name, ": other bits came than ", to_string(header.key), " has; it was damaged, or newer weights took its place"));
  if (arena_->digest() != header.check) fail(Kind::kOther, message("header.check is ", to_hex(header.check), ", the sums of its tensors give ", to_hex(arena_->digest())));
  return arena_->snapshot(header.key.version);
}

}  // namespace r1
