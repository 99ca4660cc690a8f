#include "proto/rollout_wire.h"

#include <array>

#include "core/digest.h"
#include "core/error.h"

namespace r1 {
namespace {

std::string bytes_of(const WeightDigest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

WeightDigest digest_from(const std::string& bytes, const char* field) {
  WeightDigest out{};
  if (bytes.empty()) return out;
  if (bytes.size() != out.size()) throw Error(message(field, " has ", bytes.size(), " bytes, a digest has ", out.size()));
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

DType type_from(const std::string& name, const std::string& tensor) {
  for (const DType t : {DType::kBF16, DType::kF32})
    if (name == safetensors_name(t)) return t;
  throw WeightUpdateError(WeightUpdateError::Kind::kOther, message("tensor ", tensor, ": type '", name, "' is not known; weights are sent as BF16 or F32"));
}

void begin_header(const WeightKey& key, const WeightDigest& check, std::span<const TensorView> tensors, wire_weights::Header& out) {
  out.set_protocol(kWeightsProtocol);
  out.set_version(key.version);
  out.set_digest(bytes_of(key.digest));
  if (check != key.digest) out.set_check(bytes_of(check));
  for (const TensorView& t : tensors) {
    wire_weights::Tensor& tensor = *out.add_tensors();
    tensor.set_name(t.name);
    tensor.set_type(safetensors_name(t.dtype));
    tensor.mutable_shape()->Add(t.shape.begin(), t.shape.end());
  }
}

// Numbers of 16 bits as bytes, little-endian.
std::string bytes_of(const std::vector<std::uint16_t>& numbers) {
  std::string out;
  out.reserve(2 * numbers.size());
  for (const std::uint16_t n : numbers) out += static_cast<char>(n & 0xFF), out += static_cast<char>(n >> 8);
  return out;
}

std::vector<std::uint16_t> numbers_of(const std::string& bytes) {
  if (bytes.size() % 2 != 0) throw Error(message("a completion has ", bytes.size(), " bytes of experts, which are 2 each"));
  std::vector<std::uint16_t> out(bytes.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[2 * i]) | static_cast<unsigned char>(bytes[2 * i + 1]) << 8);
  return out;
}

}  // namespace

void to_wire(const RolloutRequest& r, int first, int count, bool stream, wire_rollout::GenerateRequest& out) {
  out.set_prompt_id(r.prompt.id);
  out.mutable_prompt_tokens()->Add(r.prompt.tokens.begin(), r.prompt.tokens.end());
  out.set_samples(static_cast<std::uint32_t>(count));
  out.set_stream(stream);
  wire_rollout::Sampling& s = *out.mutable_sampling();
  s.set_temperature(r.sampling.temperature);
  s.set_top_k(static_cast<std::uint32_t>(r.sampling.top_k));
  s.set_top_p(r.sampling.top_p);
  s.set_min_p(r.sampling.min_p);
  s.set_max_new_tokens(static_cast<std::uint32_t>(r.sampling.max_new_tokens));
  s.mutable_stop_tokens()->Add(r.sampling.stop_tokens.begin(), r.sampling.stop_tokens.end());
  for (const std::string& text : r.sampling.stop_strings) s.add_stop_strings(text);
  s.set_ignore_eos(r.sampling.ignore_eos);
  s.set_want_entropy(r.sampling.want_entropy);
  s.set_want_experts(r.sampling.want_experts);
  wire_rollout::DrawKey& key = *out.mutable_key();
  key.set_seed(r.key.seed);
  key.set_step(r.key.step);
  key.set_prompt(r.key.prompt);
  key.set_first_sample(r.key.sample + static_cast<std::uint32_t>(first));
}

// Numbers above int's range become negative, which the engine refuses by name.
RolloutRequest from_wire(const wire_rollout::GenerateRequest& r) {
  RolloutRequest out;
  out.prompt.id = r.prompt_id();
  out.prompt.tokens.assign(r.prompt_tokens().begin(), r.prompt_tokens().end());
  out.samples = static_cast<int>(r.samples());
  const wire_rollout::Sampling& s = r.sampling();
  out.sampling.temperature = s.temperature();
  out.sampling.top_k = static_cast<int>(s.top_k());
  out.sampling.top_p = s.top_p() == 0.f ? 1.f : s.top_p();
  out.sampling.min_p = s.min_p();
  out.sampling.max_new_tokens = static_cast<int>(s.max_new_tokens());
  out.sampling.stop_tokens.assign(s.stop_tokens().begin(), s.stop_tokens().end());
  out.sampling.stop_strings.assign(s.stop_strings().begin(), s.stop_strings().end());
  out.sampling.ignore_eos = s.ignore_eos();
  out.sampling.want_entropy = s.want_entropy();
  out.sampling.want_experts = s.want_experts();
  out.key = {r.key().seed(), r.key().step(), r.key().prompt(), r.key().first_sample()};
  return out;
}

void to_wire(const RolloutEvent& e, wire_rollout::GenerateReply& out) {
  const auto sample = static_cast<std::uint32_t>(e.sample);
  if (e.kind == RolloutEvent::Kind::kTokens) {
    wire_rollout::Tokens& t = *out.add_tokens();
    t.set_sample(sample);
    t.mutable_token_ids()->Add(e.tokens.begin(), e.tokens.end());
    t.mutable_logprobs()->Add(e.logprobs.begin(), e.logprobs.end());
    t.set_text(e.text);
    return;
  }
  const Completion& c = e.completion;
  wire_rollout::Completion& f = *out.add_finished();
  f.set_sample(sample);
  f.mutable_token_ids()->Add(c.tokens.begin(), c.tokens.end());
  f.mutable_logprobs()->Add(c.logprobs.begin(), c.logprobs.end());
  f.mutable_entropies()->Add(c.entropies.begin(), c.entropies.end());
  f.set_sampled(std::string(c.sampled.begin(), c.sampled.end()));
  f.set_experts(bytes_of(c.experts));
  f.set_text(c.text);
  f.set_stop(static_cast<wire_rollout::StopReason>(static_cast<int>(c.stop) + 1));
  for (const VersionRun& run : c.version_runs) {
    wire_rollout::VersionRun& v = *f.add_version_runs();
    v.set_start(static_cast<std::uint32_t>(run.start));
    to_wire({run.version, run.digest}, *v.mutable_weights());
  }
}

Completion from_wire(wire_rollout::Completion& c) {
  Completion out;
  out.tokens.assign(c.token_ids().begin(), c.token_ids().end());
  out.logprobs.assign(c.logprobs().begin(), c.logprobs().end());
  out.entropies.assign(c.entropies().begin(), c.entropies().end());
  out.sampled.assign(c.sampled().begin(), c.sampled().end());
  out.experts = numbers_of(c.experts());
  out.text = std::move(*c.mutable_text());
  const int stop = c.stop();
  const std::size_t n = out.tokens.size();
  if (stop < 1 || stop > 4) throw Error(message("a completion has stop reason ", stop, ", which is none"));
  out.stop = static_cast<StopReason>(stop - 1);
  if (out.logprobs.size() != n) throw Error(message("a completion has ", n, " tokens and ", out.logprobs.size(), " log-probabilities"));
  if (!out.entropies.empty() && out.entropies.size() != n) throw Error(message("a completion has ", n, " tokens and ", out.entropies.size(), " entropies"));
  if (!out.sampled.empty() && out.sampled.size() != n) throw Error(message("a completion has ", n, " tokens and a mask of ", out.sampled.size()));
  for (const wire_rollout::VersionRun& run : c.version_runs()) {
    const WeightKey key = from_wire(run.weights());
    const auto start = static_cast<std::int32_t>(run.start());
    const bool first = out.version_runs.empty();
    if (first ? start != 0 : start <= out.version_runs.back().start || run.start() >= n)
      throw Error(message("a completion of ", n, " tokens has a run of weights that starts at ", run.start()));
    out.version_runs.push_back({start, key.version, key.digest});
  }
  if (n > 0 && out.version_runs.empty()) throw Error("a completion does not say which weights drew it (version_runs)");
  return out;
}

void to_wire(const WeightKey& key, wire_rollout::Weights& out) {
  out.set_version(key.version);
  if (key.digest != WeightDigest{}) out.set_digest(bytes_of(key.digest));
}

WeightKey from_wire(const wire_rollout::Weights& w) { return {w.version(), digest_from(w.digest(), "weights.digest")}; }

void to_wire(const WeightImage& image, WeightWay way, wire_weights::Header& out) {
  begin_header(image.key(), image.check(), image.tensors(), out);
  if (way == WeightWay::kShared) {
    out.mutable_shared()->set_process(image.shared()->name().process);
    out.mutable_shared()->set_file(image.shared()->name().descriptor);
  }
  if (way != WeightWay::kDelta) return;
  out.set_delta(true);
  out.set_base_version(image.delta()->base.version);
  out.set_base_digest(bytes_of(image.delta()->base.digest));
}

void to_wire(const WeightKey& key, const WeightArena& arena, WeightWay way, wire_weights::Header& out) {
  begin_header(key, arena.digest(), arena.layout(), out);
  wire_weights::Device& d = *out.mutable_device();
  d.set_gpu(arena.device().id());
  d.set_bytes(arena.places().bytes);
  d.mutable_offsets()->Add(arena.places().offsets.begin(), arena.places().offsets.end());
  for (const WeightDevice::Sum& sum : arena.sums()) d.add_sums(sum[0]), d.add_sums(sum[1]);
  if (way == WeightWay::kCudaIpc) d.set_memory(arena.handle());
}

DeviceHeader from_wire(const wire_weights::Device& d) {
  DeviceHeader out{d.gpu(), {{d.offsets().begin(), d.offsets().end()}, d.bytes()}, {}, d.memory(), d.group(), d.joined(), d.piece()};
  for (int i = 0; i + 1 < d.sums_size(); i += 2) out.sums.push_back({d.sums(i), d.sums(i + 1)});
  return out;
}

WeightReceiver::Header from_wire(const wire_weights::Header& h) {
  using Kind = WeightUpdateError::Kind;
  if (h.protocol() != kWeightsProtocol)
    throw WeightUpdateError(Kind::kOther, message("header.protocol is ", h.protocol(), ", this server speaks ", kWeightsProtocol));
  WeightReceiver::Header out;
  out.delta = h.delta();
  try {
    out.key = {h.version(), digest_from(h.digest(), "header.digest")};
    out.base = {h.base_version(), digest_from(h.base_digest(), "header.base_digest")};
    out.check = h.check().empty() ? out.key.digest : digest_from(h.check(), "header.check");
  } catch (const Error& e) {
    throw WeightUpdateError(Kind::kOther, e.what());
  }
  for (const wire_weights::Tensor& t : h.tensors())
    out.tensors.push_back({t.name(), type_from(t.type(), t.name()), {t.shape().begin(), t.shape().end()}, nullptr, -1});
  return out;
}

void to_wire(WeightChunk&& c, wire_weights::Chunk& out) {
  out.set_tensor(c.tensor);
  out.set_first(c.first);
  out.set_elements(c.elements);
  out.set_data(std::move(c.data));
  out.set_check(c.check);
}

WeightChunk from_wire(wire_weights::Chunk& c) { return {c.tensor(), c.first(), c.elements(), std::move(*c.mutable_data()), c.check()}; }

std::string tokenizer_digest(const Tokenizer& tokenizer) {
  Hasher hash;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    try {
      hash.update_field(tokenizer.token_bytes(id));
      hash.update(tokenizer.is_special(id) ? "s" : "-");
    } catch (const DataError&) {  // a hole in the vocabulary
      hash.update("0");
    }
  }
  return bytes_of(hash.digest());
}

}  // namespace r1
