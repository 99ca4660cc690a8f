#include "rl/rank_group.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/digest.h"
#include "core/error.h"
#include "model/tensor_split.h"

namespace r1 {
namespace {

// The parameter that a tensor is of; null for others (rollout.NAME).
const Parameter* parameter_of(const WeightStore& store, const std::string& name) {
  for (const Parameter& p : store.parameters())
    if (name.ends_with(p.name) && (name.size() == p.name.size() || name[name.size() - p.name.size() - 1] == '.')) return &p;
  return nullptr;
}

std::int64_t elements_of(const TensorCut& c) {
  std::int64_t rows = 0;
  for (const auto& [first, last] : c.rows) rows += last - first;
  return rows * (c.last_column - c.first_column);
}

// The whole model's parameters: their order, and who has which.
class Whole {
 public:
  explicit Whole(const WeightStore& store) : store_(store), parameters_(parameter_layout(store.whole_config())) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) places_.emplace(parameters_[i].name, i);
  }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::size_t size() const { return parameters_.size(); }
  std::size_t place(const std::string& name) const { return places_.at(name); }
  int owner(const std::string& name) const { return expert_owner(store_.whole_config(), name, store_.split()); }
  // An expert's tensor, as the rank `of` has one at this place.
  std::string counterpart(const std::string& name, int of) const {
    constexpr std::string_view kMark = ".experts.";
    const std::size_t begin = name.find(kMark) + kMark.size(), end = name.find('.', begin);
    const std::int64_t held = store_.whole_config().moe->num_experts / store_.split().size, e = std::stoll(name.substr(begin, end - begin)) % held + held * of;
    return name.substr(0, begin) + std::to_string(e) + name.substr(end);
  }

 private:
  const WeightStore& store_;
  std::vector<Parameter> parameters_;
  std::map<std::string, std::size_t> places_;
};

// Everyone's bytes, as many, at `root`; nothing elsewhere.
std::vector<std::vector<std::byte>> to_root(std::span<const std::byte> mine, ModelGroup& group, int root) {
  const auto size = static_cast<std::size_t>(group.size());
  std::vector<std::span<const std::byte>> sends(size);
  std::vector<std::span<std::byte>> receives(size);
  std::vector<std::vector<std::byte>> all(group.rank() == root ? size : 0, std::vector<std::byte>(mine.size()));
  sends[static_cast<std::size_t>(root)] = mine;
  for (std::size_t r = 0; r < all.size(); ++r) receives[r] = all[r];
  group.exchange(sends, receives, "whole weights");
  return all;
}

void from_owner(std::span<std::byte> bytes, ModelGroup& group, int owner) {
  const auto size = static_cast<std::size_t>(group.size());
  std::vector<std::span<const std::byte>> sends(size);
  std::vector<std::span<std::byte>> receives(size);
  if (group.rank() != owner) receives[static_cast<std::size_t>(owner)] = bytes;
  else
    for (std::size_t r = 0; r < size; ++r)
      if (static_cast<int>(r) != owner) sends[r] = bytes;
  group.exchange(sends, receives, "an expert's weights");
}

// Everyone's cuts of a parameter.
std::vector<TensorCut> cuts_of(const ModelConfig& whole, const WeightStore& store, const Parameter& p) {
  std::vector<TensorCut> out;
  for (int r = 0; r < store.split().size; ++r) out.push_back(cut_of(whole, p.name, store.cut(p).whole, {r, store.split().size}));
  return out;
}

// The whole of a cut tensor, from everyone's parts; on `root` alone, or on all ranks with -1.
std::vector<std::byte> join(const std::vector<TensorCut>& cuts, const std::byte* mine, std::size_t esize, ModelGroup& group, int root) {
  const auto size = static_cast<std::size_t>(group.size()), rank = static_cast<std::size_t>(group.rank());
  const bool takes = root < 0 || group.rank() == root;
  const auto bytes_of = [&](std::size_t r) { return static_cast<std::size_t>(elements_of(cuts[r])) * esize; };
  std::vector<std::vector<std::byte>> parts(size);
  std::vector<std::span<const std::byte>> sends(size);
  std::vector<std::span<std::byte>> receives(size);
  for (std::size_t r = 0; r < size; ++r) {
    if (root < 0 || static_cast<int>(r) == root) sends[r] = {mine, bytes_of(rank)};
    if (!takes) continue;
    parts[r].resize(bytes_of(r));
    receives[r] = parts[r];
  }
  group.exchange(sends, receives, "whole weights");
  std::vector<std::byte> whole;
  if (!takes) return whole;
  whole.resize(static_cast<std::size_t>(cuts[0].whole_elements()) * esize);
  for (std::size_t r = 0; r < size; ++r) cuts[r].put(parts[r].data(), whole.data(), esize);
  return whole;
}

}  // namespace

void RankGroup::exchange(std::span<const std::span<const std::byte>> sends, std::span<const std::span<std::byte>> receives, const char* what) {
  const auto own = static_cast<std::size_t>(rank());
  R1_CHECK(sends.size() == receives.size() && sends.size() == static_cast<std::size_t>(size()) && sends[own].size() == receives[own].size(), what, ": ",
           sends.size(), " parts for ", size(), " ranks");
  if (!sends[own].empty()) std::memcpy(receives[own].data(), sends[own].data(), sends[own].size());
  std::vector<Communicator::Part> out, in;
  for (std::size_t r = 0; r < sends.size(); ++r) {
    if (r == own) continue;
    out.push_back({static_cast<int>(r), const_cast<std::byte*>(sends[r].data()), sends[r].size()});
    in.push_back({static_cast<int>(r), receives[r].data(), receives[r].size()});
  }
  comm_.exchange(out, in, what);
}

WeightSnapshot gather_whole(const WeightStore& store, const WeightSnapshot& parts, ModelGroup& group) {
  WeightSnapshot out;
  out.version = parts.version;
  auto owned = std::make_shared<std::pair<std::vector<std::vector<std::byte>>, std::shared_ptr<const void>>>();
  owned->second = parts.owner;
  const Whole whole(store);
  std::vector<std::pair<std::size_t, TensorView>> found;  // with their places
  std::size_t run = 0;  // tensors of one prefix stay together, in the model's order
  std::string prefix;
  for (const TensorView& t : parts.tensors) {
    const Parameter* p = parameter_of(store, t.name);
    const std::string own_prefix = p == nullptr ? "" : t.name.substr(0, t.name.size() - p->name.size());
    if (p == nullptr || own_prefix != prefix) run += whole.size() + 1, prefix = p == nullptr ? "none" : own_prefix;
    if (p == nullptr || (store.cut(*p).all && whole.owner(p->name) < 0)) {
      if (group.rank() == 0) found.emplace_back(run + (p == nullptr ? 0 : whole.place(p->name)), t);
      continue;
    }
    if (whole.owner(p->name) >= 0) {  // an expert's, at the same place as the others' own
      const std::vector<std::vector<std::byte>> all = to_root({t.data, t.bytes()}, group, 0);
      for (std::size_t r = 0; r < all.size(); ++r) {
        const std::string name = whole.counterpart(p->name, static_cast<int>(r));
        owned->first.push_back(all[r]);
        found.emplace_back(run + whole.place(name), TensorView{own_prefix + name, t.dtype, t.shape, owned->first.back().data(), -1});
      }
      continue;
    }
    std::vector<std::byte> joined = join(cuts_of(store.whole_config(), store, *p), t.data, size_of(t.dtype), group, 0);
    if (group.rank() != 0) continue;
    owned->first.push_back(std::move(joined));
    found.emplace_back(run + whole.place(p->name), TensorView{t.name, t.dtype, store.cut(*p).whole, owned->first.back().data(), -1});
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  for (auto& [place, t] : found) out.tensors.push_back(std::move(t));
  out.owner = owned;
  return out;
}

WeightSnapshot take_parts(const WeightStore& store, const WeightSnapshot& whole) {
  WeightSnapshot out;
  out.version = whole.version;
  auto owned = std::make_shared<std::pair<std::vector<std::vector<std::byte>>, std::shared_ptr<const void>>>();
  owned->second = whole.owner;
  for (const TensorView& t : whole.tensors) {
    const Parameter* p = parameter_of(store, t.name);
    if (p == nullptr && store.elsewhere(t.name)) continue;
    if (p == nullptr || store.cut(*p).all || t.shape != store.cut(*p).whole) {
      out.tensors.push_back(t);
      continue;
    }
    std::vector<std::byte>& part = owned->first.emplace_back(static_cast<std::size_t>(p->elements) * size_of(t.dtype));
    store.cut(*p).take(t.data, part.data(), size_of(t.dtype));
    out.tensors.push_back({t.name, t.dtype, p->shape, part.data(), -1});
  }
  out.owner = owned;
  return out;
}

WeightDigest whole_digest(const WeightStore& store, ModelGroup& group) {
  Hasher hash;
  const std::size_t esize = size_of(store.dtype());
  const Whole whole(store);
  for (const Parameter& q : whole.parameters()) {
    hash.update_field(q.name);
    hash.update_field(safetensors_name(store.dtype()));
    if (const int owner = whole.owner(q.name); owner >= 0) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(q.elements) * esize);
      if (owner == group.rank()) std::memcpy(bytes.data(), store.at(store.find(q.name)), bytes.size());
      from_owner(bytes, group, owner);
      hash.update(bytes.data(), bytes.size());
      continue;
    }
    const Parameter& p = store.find(q.name);
    if (store.cut(p).all) {
      hash.update(store.at(p), static_cast<std::size_t>(p.elements) * esize);
      continue;
    }
    const std::vector<std::byte> joined = join(cuts_of(store.whole_config(), store, p), store.at(p), esize, group, -1);
    hash.update(joined.data(), joined.size());
  }
  for (const Parameter& p : store.buffers()) {
    hash.update_field(p.name);
    hash.update_field(safetensors_name(DType::kF32));
    hash.update(store.buffer(p), static_cast<std::size_t>(p.elements) * sizeof(float));
  }
  return hash.digest();
}

}  // namespace r1
