#include "rl/gpu_optimizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include "core/error.h"
#include "core/moment8.h"
#include "core/split_float.h"
#include "kernels/gpu/weights.h"
#include "rl/ranks.h"
#include "rl/state_tensors.h"
#include "rl/zeroed_array.h"

namespace r1 {

namespace {

std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
std::int64_t blocks_of(std::int64_t n) { return (n + kMomentBlock - 1) / kMomentBlock; }

float decode(bool second, std::uint8_t code, std::uint8_t scale) { return second ? decode_exp_avg_sq(code, scale) : decode_exp_avg(code, scale); }

struct Packed { std::vector<std::uint8_t> codes, scales; };
Packed encode(bool second, const float* values, std::int64_t n) {
  Packed out;
  for (std::int64_t b = 0; b < n; b += kMomentBlock) {
    const std::int64_t end = std::min(n, b + kMomentBlock);
    std::uint32_t most = 0;
    for (std::int64_t i = b; i < end; ++i) most = std::max(most, bits_of(values[i]) & 0x7FFFFFFFu);
    const std::uint8_t scale = moment_scale(most);
    out.scales.push_back(scale);
    for (std::int64_t i = b; i < end; ++i)
      out.codes.push_back(second ? encode_exp_avg_sq(values[i], scale, kNearestDither) : encode_exp_avg(values[i], scale, kNearestDither));
  }
  return out;
}

// Host tensors that a snapshot owns, made one by one.
struct Owned {
  std::vector<std::shared_ptr<const void>> parts;
  WeightSnapshot out;
  template <class T>
  void add(std::string name, DType dtype, std::vector<std::int64_t> shape, std::vector<T> values) {
    auto kept = std::make_shared<std::vector<T>>(std::move(values));
    out.tensors.push_back({std::move(name), dtype, std::move(shape), reinterpret_cast<const std::byte*>(kept->data()), -1});
    parts.push_back(kept);
  }
};

}  // namespace

GpuOptimizer::GpuOptimizer(GpuTransformer& model, OptimizerFormat format, MasterStart start, Shard shard)
    : model_(model), format_(format), start_(start), elements_(model.weights().elements()), shard_(shard), own_(shard.own(elements_)),
      memory_(format.bytes(elements_, static_cast<std::int64_t>(model.weights().parameters().size()), own_.size())), scratch_(gpu::reduce_scratch_bytes()), result_(64),
      moments_{{"exp_avg", false}, {"exp_avg_sq", true}} {
  if (sharded() && trains() && format_.moments == MomentFormat::k8Bit)
    throw ConfigError("train.zero 1 keeps a share of the moments, whose 8-bit blocks it would cut; set train.moments: float32, or train.zero: 0");
  gpu::fill_bytes(model_.stream(), memory_.data(), 0, memory_.bytes());
  std::byte* next = memory_.data();
  const auto take = [&]<class T>(T*& array, std::int64_t n) {
    array = reinterpret_cast<T*>(next);
    next += static_cast<std::size_t>(n) * sizeof(T);
  };
  const auto take_own = [&]<class T>(T*& array) {
    take(array, own_.size());
    array -= own_.begin;
  };
  if (format_.offload && format_.moments == MomentFormat::k8Bit) throw ConfigError("train.offload: optimizer needs train.moments: float32");
  if (trains() && !offloaded() && format_.master == MasterFormat::kSplit) take_own(rest_);
  else if (trains() && !offloaded()) take_own(master_);
  std::uint16_t* half = nullptr;
  float* whole = nullptr;
  if (format_.gradients == GradientFormat::kBFloat16) take(half, elements_), gradient_ = half;
  else take(whole, elements_), gradient_ = whole;
  for (Moment& m : moments_) {
    if (!trains() || offloaded()) continue;
    if (format_.moments == MomentFormat::k8Bit) take(m.codes, elements_);
    else take_own(m.values);
  }
  if (trains() && format_.moments == MomentFormat::k8Bit)
    for (Moment& m : moments_) take(m.scales, moment_scales(elements_, static_cast<std::int64_t>(model.weights().parameters().size())));
  if (offloaded()) {
    next = memory_.data() + static_cast<std::size_t>(next - memory_.data() + 255) / 256 * 256;
    lay_out_offload(next);
    next += kOffloadSlots * format_.host_bytes(std::min(format_.offload_piece, own_.size()));
  }
  R1_CHECK(next == memory_.data() + memory_.bytes(), "arrays of ", next - memory_.data(), " bytes in ", memory_.bytes());
  lay_out_tensors();
  start_master();
  model_.synchronize();
}

std::int64_t GpuOptimizer::scale_at(std::size_t tensor) const {
  return model_.weights().parameters()[tensor].offset / kMomentBlock + static_cast<std::int64_t>(tensor);
}

void GpuOptimizer::start_master() {
  if (!trains()) return;
  const bool spread = start_ == MasterStart::kSpread;
  if (offloaded())
    return stream_pieces(own_.begin, own_.end, false, [&](const Piece& p) {
      const gpu::bf16* from = model_.weights().data() + p.begin;
      if (p.rest) gpu::rest_from_live(model_.stream(), from, p.rest, p.n, spread, p.begin);
      else gpu::master_from_live(model_.stream(), from, p.master, p.n, spread, p.begin);
    });
  const gpu::bf16* live = model_.weights().data() + own_.begin;
  if (rest_) gpu::rest_from_live(model_.stream(), live, rest_ + own_.begin, own_.size(), spread, own_.begin);
  else gpu::master_from_live(model_.stream(), live, master_ + own_.begin, own_.size(), spread, own_.begin);
}

GpuGradient GpuOptimizer::gradient() const {
  if (format_.gradients == GradientFormat::kBFloat16) return static_cast<gpu::bf16*>(gradient_);
  return static_cast<float*>(gradient_);
}
void GpuOptimizer::zero_gradient() {
  gpu::fill_bytes(model_.stream(), gradient_, 0, static_cast<std::size_t>(elements_) * (gradient().is_bf16() ? 2 : 4));
}

double GpuOptimizer::gradient_sum_of_squares() {
  const GpuGradient g = gradient();
  const auto run = [&](const auto* x) { gpu::sum_of_squares(model_.stream(), x + own_.begin, own_.size(), result_.as<double>(), scratch_.data()); };
  if (g.is_bf16()) run(g.bf16());
  else run(g.f32());
  double out = 0;
  gpu::copy_to_host(model_.stream(), &out, result_.data(), sizeof out);
  model_.synchronize();
  if (!sharded()) return out;
  double total = 0;
  for (const std::string& bytes : session_->comm().gather_bytes(bytes_of(std::span<const double>(&out, 1)), "the gradient's norm")) total += values_of<double>(bytes)[0];
  return total;
}

void GpuOptimizer::sum_gradient() {
  if (!session_) return;
  model_.synchronize();
  const GpuGradient g = gradient();
  const DType type = g.is_bf16() ? DType::kBF16 : DType::kF32;
  Communicator& comm = session_->device_comm();
  if (sharded()) comm.reduce_scatter(gradient_, type, shard_.partition(elements_), 0, elements_, "the gradient's sum");
  else comm.all_reduce(gradient_, type, elements_, "the gradient's sum");
}

void GpuOptimizer::share_live() {
  if (!sharded()) return;
  model_.synchronize();
  session_->device_comm().all_gather(model_.weights().data(), DType::kBF16, shard_.partition(elements_), 0, elements_, "the new weights");
}

std::vector<float> GpuOptimizer::host_gradient() const {
  std::vector<float> out(static_cast<std::size_t>(elements_));
  if (!gradient().is_bf16()) {
    gpu::copy_to_host(model_.stream(), out.data(), gradient_, out.size() * sizeof(float));
    model_.synchronize();
    return out;
  }
  std::vector<std::uint16_t> half(out.size());
  gpu::copy_to_host(model_.stream(), half.data(), gradient_, half.size() * 2);
  model_.synchronize();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::bit_cast<float>(std::uint32_t{half[i]} << 16);
  return out;
}

void GpuOptimizer::step(const AdamWStep& step) {
  R1_CHECK(trains(), "an optimizer step of weights that have no master");
  const auto bias = [&](double beta) { return static_cast<float>(1.0 - std::pow(beta, static_cast<double>(step.update))); };
  const auto parameters = model_.weights().parameters();
  const GpuGradient g = gradient();
  const gpu::AdamWArgs decayed{static_cast<float>(step.learning_rate), static_cast<float>(step.beta1), static_cast<float>(step.beta2),
                               static_cast<float>(step.epsilon), static_cast<float>(step.weight_decay), bias(step.beta1), bias(step.beta2),
                               static_cast<float>(step.gradient_scale)};
  // Of the state from element `begin` on.
  const auto packed = [&](std::int64_t begin) {
    gpu::PackedAdamW t;
    t.live = model_.weights().data() + begin;
    if (rest_) t.rest = rest_ + begin;
    else t.master = master_ + begin;
    if (g.is_bf16()) t.gradient16 = g.bf16() + begin;
    else t.gradient = g.f32() + begin;
    return t;
  };
  if (format_.moments == MomentFormat::k8Bit) {
    gpu::PackedAdamW t = packed(0);
    t.exp_avg8 = moments_[0].codes, t.exp_avg_scale = moments_[0].scales, t.exp_avg_sq8 = moments_[1].codes, t.exp_avg_sq_scale = moments_[1].scales;
    const bool all = step.decay_vectors;
    gpu::adamw_packed(model_.stream(), t, tensors_.as<gpu::PackedTensor>() + (all ? std::ssize(parameters) : 0), std::ssize(parameters), blocks_,
                      decayed, static_cast<std::uint64_t>(step.update));
    return;
  }
  const auto run = [&](std::int64_t from, std::int64_t to, bool decays) {
    const auto [begin, end] = clip(from, to);
    if (begin >= end) return;
    gpu::AdamWArgs args = decayed;
    if (!decays) args.weight_decay = 0.f;
    const auto update = [&](const Piece& p) {
      if (format_.is_float32())
        return gpu::adamw(model_.stream(), p.master, p.moments[0], p.moments[1], g.f32() + p.begin, model_.weights().data() + p.begin, p.n, args);
      gpu::PackedAdamW t = packed(p.begin);
      t.master = p.master, t.rest = p.rest, t.exp_avg = p.moments[0], t.exp_avg_sq = p.moments[1];
      gpu::adamw_packed(model_.stream(), t, p.n, args, static_cast<std::uint64_t>(p.begin), static_cast<std::uint64_t>(step.update));
    };
    if (offloaded()) return stream_pieces(begin, end, true, update);
    update({begin, end - begin, master_ ? master_ + begin : nullptr, rest_ ? rest_ + begin : nullptr, {moments_[0].values + begin, moments_[1].values + begin}});
  };
  // One launch a run of parameters that decay alike; padding stays 0.
  const auto decays = [&](const Parameter& p) { return step.weight_decay != 0 && (step.decay_vectors || p.shape.size() > 1); };
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const bool last = i + 1 == parameters.size();
    if (!last && decays(parameters[i + 1]) == decays(parameters[i])) continue;
    const std::int64_t end = last ? elements_ : parameters[i + 1].offset;
    run(begin, end, decays(parameters[i]));
    begin = end;
  }
  share_live();
}

// Twice: matrices alone decay, or all.
void GpuOptimizer::lay_out_tensors() {
  if (!trains() || format_.moments != MomentFormat::k8Bit) return;
  std::vector<gpu::PackedTensor> tensors;
  const auto parameters = model_.weights().parameters();
  for (const bool all : {false, true}) {
    blocks_ = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Parameter& p = parameters[i];
      tensors.push_back({p.offset, p.elements, scale_at(i), blocks_, all || p.shape.size() > 1});
      blocks_ += blocks_of(p.elements);
    }
  }
  tensors_ = gpu::DeviceMemory(tensors.size() * sizeof(gpu::PackedTensor));
  gpu::copy_to_device(model_.stream(), tensors_.data(), tensors.data(), tensors_.bytes());
  model_.synchronize();
}

std::optional<NonFinite> GpuOptimizer::find_non_finite(ParameterPart which) {
  const gpu::Stream stream = model_.stream();
  auto* const found = result_.as<std::int64_t>();
  const GpuGradient g = gradient();
  const bool of_master = which == ParameterPart::kMaster;
  if (of_master && !trains()) return std::nullopt;
  // A master that is not finite has a live weight that is not; one that rounds to Inf is as bad.
  if (of_master && offloaded()) gpu::first_non_finite(stream, model_.weights().data() + own_.begin, own_.size(), found, scratch_.data());
  else if (of_master && rest_) gpu::first_non_finite_split(stream, model_.weights().data() + own_.begin, rest_ + own_.begin, own_.size(), found, scratch_.data());
  else if (of_master) gpu::first_non_finite(stream, master_ + own_.begin, own_.size(), found, scratch_.data());
  else if (g.is_bf16()) gpu::first_non_finite(stream, g.bf16(), elements_, found, scratch_.data());
  else gpu::first_non_finite(stream, g.f32(), elements_, found, scratch_.data());
  std::int64_t at = -1;
  gpu::copy_to_host(stream, &at, result_.data(), sizeof at);
  model_.synchronize();
  if (of_master && at >= 0) at += own_.begin;
  if (of_master && sharded()) {
    // Everyone's live weights are whole: the first of all has its value there.
    std::int64_t first = -1;
    for (const std::string& bytes : session_->comm().gather_bytes(bytes_of(std::span<const std::int64_t>(&at, 1)), "the weights' check"))
      if (const std::int64_t other = values_of<std::int64_t>(bytes)[0]; other >= 0 && (first < 0 || other < first)) first = other;
    at = first;
  }
  if (at < 0) return std::nullopt;
  // A master that is not finite has a live half that says so.
  std::uint16_t half = 0;
  float value = 0;
  if (of_master ? rest_ != nullptr || sharded() || offloaded() : g.is_bf16()) {
    gpu::copy_to_host(stream, &half, of_master ? model_.weights().data() + at : g.bf16() + at, sizeof half);
    model_.synchronize();
    value = std::bit_cast<float>(std::uint32_t{half} << 16);
  } else {
    gpu::copy_to_host(stream, &value, (of_master ? master_ : g.f32()) + at, sizeof value);
    model_.synchronize();
  }
  for (const Parameter& p : model_.weights().parameters())
    if (at >= p.offset && at < p.offset + p.elements) return NonFinite{p.name, at - p.offset, value};
  return NonFinite{"padding of the weight arena", at, value};
}

std::vector<float> GpuOptimizer::host_master(const Parameter& p) const {
  std::vector<float> out(static_cast<std::size_t>(p.elements));
  if (master_) {
    read(out.data(), master_ + p.offset, out.size() * sizeof(float));
    return out;
  }
  std::vector<std::uint16_t> high(out.size());
  std::vector<std::int16_t> rest(out.size());
  gpu::copy_to_host(model_.stream(), high.data(), model_.weights().data() + p.offset, high.size() * 2);
  read(rest.data(), rest_ + p.offset, rest.size() * 2);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::bit_cast<float>(join_float({high[i], rest[i]}));
  return out;
}

void GpuOptimizer::set_master(const Parameter& p, std::vector<float> values) {
  if (master_ && offloaded()) {
    write(master_ + p.offset, values.data(), values.size() * sizeof(float));
    stream_pieces(p.offset, p.offset + p.elements, true, [&](const Piece& piece) { gpu::to_bf16(model_.stream(), piece.master, model_.weights().data() + piece.begin, piece.n); });
    return settle();
  }
  if (master_) {
    gpu::copy_to_device(model_.stream(), master_ + p.offset, values.data(), values.size() * sizeof(float));
    gpu::to_bf16(model_.stream(), master_ + p.offset, model_.weights().data() + p.offset, p.elements);
    return model_.synchronize();
  }
  std::vector<std::uint16_t> high(values.size());
  std::vector<std::int16_t> rest(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const SplitFloat f = split_float(bits_of(values[i]));
    high[i] = f.high, rest[i] = f.rest;
  }
  gpu::copy_to_device(model_.stream(), model_.weights().data() + p.offset, high.data(), high.size() * 2);
  model_.synchronize();
  write(rest_ + p.offset, rest.data(), rest.size() * 2);
}

void GpuOptimizer::load_master(const WeightSnapshot& source) {
  if (!trains()) return;
  start_master();
  for (const TensorView& t : source.tensors) {
    if (sharded() || t.device >= 0 || t.dtype != DType::kF32) continue;  // a shard's master starts from the live weights alone
    std::vector<float> values(static_cast<std::size_t>(t.elements()));
    std::memcpy(values.data(), t.data, t.bytes());
    set_master(model_.weights().find(t.name), std::move(values));
  }
  model_.synchronize();
}

// On the host each array has the layout of the whole, of which a rank fills its part and rank 0 gets the others'.
WeightSnapshot GpuOptimizer::sharded_state() const {
  WeightSnapshot out;
  auto kept = std::make_shared<std::vector<ZeroedArray>>();
  const auto n = static_cast<std::size_t>(own_.size());
  const auto add = [&](const std::string& prefix, const std::function<void(float*)>& fill) {
    ZeroedArray& host = kept->emplace_back(static_cast<std::size_t>(elements_));
    if (n > 0) fill(host.data() + own_.begin);
    session_->comm().gather_to(0, host.data(), DType::kF32, shard_.partition(elements_), 0, elements_, "the optimizer's state");
    for (const Parameter& p : model_.weights().parameters())
      out.tensors.push_back({prefix + p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(host.data() + p.offset), -1});
  };
  kept->reserve(3);  // views stay
  add("master.", [&](float* to) {
    if (master_) return read(to, master_ + own_.begin, n * sizeof(float));
    std::vector<std::uint16_t> high(n);
    std::vector<std::int16_t> rest(n);
    gpu::copy_to_host(model_.stream(), high.data(), model_.weights().data() + own_.begin, n * 2);
    read(rest.data(), rest_ + own_.begin, n * 2);
    for (std::size_t i = 0; i < n; ++i) to[i] = std::bit_cast<float>(join_float({high[i], rest[i]}));
  });
  for (const Moment& m : moments_)
    add(message(m.name, "."), [&](float* to) { read(to, m.values + own_.begin, n * sizeof(float)); });
  out.owner = kept;
  return out;
}

void GpuOptimizer::restore_shard(const WeightSnapshot& state) {
  const StateTensors tensors(state);
  for (const Parameter& p : model_.weights().parameters()) {
    const auto [begin, end] = clip(p.offset, p.offset + p.elements);
    if (begin >= end) continue;
    const auto n = static_cast<std::size_t>(end - begin);
    const auto part = [&](const std::string& prefix) {
      const TensorView& t = tensors.at(prefix + p.name, DType::kF32, p.elements);
      std::vector<float> values(n);
      std::memcpy(values.data(), t.data + static_cast<std::size_t>(begin - p.offset) * sizeof(float), n * sizeof(float));
      return values;
    };
    set_master({p.name, {}, begin, end - begin}, part("master."));
    for (const Moment& m : moments_) {
      const std::vector<float> values = part(message(m.name, "."));
      write(m.values + begin, values.data(), n * sizeof(float));
    }
  }
  share_live();
}

WeightSnapshot GpuOptimizer::state() const {
  if (!trains()) return {};
  if (sharded()) return sharded_state();
  Owned owned;
  const auto parameters = model_.weights().parameters();
  for (const Parameter& p : parameters) owned.add("master." + p.name, DType::kF32, p.shape, host_master(p));
  for (const Moment& m : moments_) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Parameter& p = parameters[i];
      const auto fetch = [&]<class T>(const T* from, std::int64_t n) {
        std::vector<T> out(static_cast<std::size_t>(n));
        read(out.data(), from, out.size() * sizeof(T));
        return out;
      };
      if (m.values) {
        owned.add(message(m.name, ".", p.name), DType::kF32, p.shape, fetch(m.values + p.offset, p.elements));
        continue;
      }
      owned.add(message(m.name, ".", p.name), DType::kU8, p.shape, fetch(m.codes + p.offset, p.elements));
      owned.add(message(m.name, "_scale.", p.name), DType::kU8, {blocks_of(p.elements)}, fetch(m.scales + scale_at(i), blocks_of(p.elements)));
    }
  }
  owned.out.owner = std::make_shared<std::vector<std::shared_ptr<const void>>>(std::move(owned.parts));
  return std::move(owned.out);
}

void GpuOptimizer::restore_moment(const Moment& m, std::size_t tensor, const TensorView& values, const TensorView* scales) {
  const Parameter& p = model_.weights().parameters()[tensor];
  const auto n = static_cast<std::size_t>(p.elements);
  if (!scales && m.values) return write(m.values + p.offset, values.data, values.bytes());
  Packed packed;
  std::vector<float> floats;
  if (scales) {
    const auto* codes = reinterpret_cast<const std::uint8_t*>(values.data);
    const auto* scale = reinterpret_cast<const std::uint8_t*>(scales->data);
    packed = {{codes, codes + n}, {scale, scale + scales->elements()}};
    if (m.values)
      for (std::size_t i = 0; i < n; ++i) floats.push_back(decode(m.second, codes[i], scale[i / kMomentBlock]));
  } else {
    floats.resize(n);
    std::memcpy(floats.data(), values.data, values.bytes());
    packed = encode(m.second, floats.data(), p.elements);
  }
  if (m.values) {
    write(m.values + p.offset, floats.data(), n * sizeof(float));
  } else {
    gpu::copy_to_device(model_.stream(), m.codes + p.offset, packed.codes.data(), n);
    gpu::copy_to_device(model_.stream(), m.scales + scale_at(tensor), packed.scales.data(), packed.scales.size());
  }
  model_.synchronize();
}

void GpuOptimizer::restore(const WeightSnapshot& state) {
  R1_CHECK(trains(), "the state of weights that have no master");
  if (sharded()) return restore_shard(state);
  const StateTensors tensors(state);
  const auto parameters = model_.weights().parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    const TensorView& master = tensors.at("master." + p.name, DType::kF32, p.elements);
    std::vector<float> values(static_cast<std::size_t>(p.elements));
    std::memcpy(values.data(), master.data, master.bytes());
    set_master(p, std::move(values));
    for (const Moment& m : moments_) {
      const TensorView* saved = tensors.find(message(m.name, ".", p.name));
      const bool codes = saved && saved->dtype == DType::kU8;
      const TensorView& moment = tensors.at(message(m.name, ".", p.name), codes ? DType::kU8 : DType::kF32, p.elements);
      restore_moment(m, i, moment, codes ? &tensors.at(message(m.name, "_scale.", p.name), DType::kU8, blocks_of(p.elements)) : nullptr);
    }
  }
}

}  // namespace r1
