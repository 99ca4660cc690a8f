#include "rl/rank_group.h"

#include <algorithm>
#include <cstring>
#include <memory>
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
  for (const TensorView& t : parts.tensors) {
    const Parameter* p = parameter_of(store, t.name);
    if (p == nullptr || store.cut(*p).all) {
      if (group.rank() == 0) out.tensors.push_back(t);
      continue;
    }
    std::vector<std::byte> whole = join(cuts_of(store.whole_config(), store, *p), t.data, size_of(t.dtype), group, 0);
    if (group.rank() != 0) continue;
    owned->first.push_back(std::move(whole));
    out.tensors.push_back({t.name, t.dtype, store.cut(*p).whole, owned->first.back().data(), -1});
  }
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
  for (const Parameter& p : store.parameters()) {
    hash.update_field(p.name);
    hash.update_field(safetensors_name(store.dtype()));
    const std::size_t esize = size_of(store.dtype());
    if (store.cut(p).all) {
      hash.update(store.at(p), static_cast<std::size_t>(p.elements) * esize);
      continue;
    }
    const std::vector<std::byte> whole = join(cuts_of(store.whole_config(), store, p), store.at(p), esize, group, -1);
    hash.update(whole.data(), whole.size());
  }
  return hash.digest();
}

}  // namespace r1
