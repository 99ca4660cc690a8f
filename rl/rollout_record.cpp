#include "rl/rollout_record.h"

#include <algorithm>
#include <map>

#include "core/byte_stream.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/run_folder.h"
#include "core/serialize.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// First bytes. A change of the layout takes a new number.
constexpr std::uint32_t kRollout = 0x52315201, kUpdate = 0x52315501;

void put_head(ByteWriter& out, std::uint32_t kind, const StepRecord& record) {
  out.put(kind);
  out.put(record.step);
  out.put(record.rollout);
}

std::string sealed(ByteWriter& out) {
  std::string bytes = out.take();
  const std::uint32_t crc = crc32c(bytes);
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof crc);
  return bytes;
}

ByteReader opened(std::string_view bytes, std::uint32_t kind) {
  std::uint32_t crc = 0;
  if (bytes.size() < sizeof crc + sizeof kind) throw DataError("a recorded rollout ends too early");
  std::memcpy(&crc, bytes.data() + bytes.size() - sizeof crc, sizeof crc);
  bytes.remove_suffix(sizeof crc);
  if (crc32c(bytes) != crc) throw DataError("a recorded rollout is damaged");
  ByteReader in(bytes);
  if (in.get<std::uint32_t>() != kind) throw DataError("a recorded rollout is of another version of r1, or no record");
  return in;
}

std::optional<float> first_advantage(const TrainSample& s) {
  for (std::size_t t = 0; t < s.tokens.size(); ++t)
    if (s.loss_mask[t]) return s.advantages[t];
  return std::nullopt;
}

// The traces of each sample, in the order of its tokens; micro-batches come in any order.
std::map<std::int32_t, std::vector<TokenTrace>> by_sample(const StepRecord& record) {
  std::map<std::int32_t, std::vector<TokenTrace>> out;
  for (const TokenTrace& t : record.traces) out[t.sample].push_back(t);
  for (auto& [sample, traces] : out)
    std::sort(traces.begin(), traces.end(), [](const TokenTrace& a, const TokenTrace& b) { return a.position < b.position; });
  return out;
}

// A column of the traces; left out where `same` says that it holds nothing new.
template <class T, class Get>
void put_column(ByteWriter& out, const std::vector<TokenTrace>& traces, Get get, bool leave_out) {
  std::vector<T> column;
  if (!leave_out)
    for (const TokenTrace& t : traces) column.push_back(static_cast<T>(get(t)));
  out.put_all(column);
}

template <class F>
bool all(const std::vector<TokenTrace>& traces, F test) { return std::all_of(traces.begin(), traces.end(), test); }

}  // namespace

std::string rollout_to_bytes(const StepRecord& record) {
  std::size_t next = 0;  // samples are the kept groups' in the same order, without those no reward spoke on
  ByteWriter out;
  put_head(out, kRollout, record);
  out.put(static_cast<std::uint64_t>(record.groups.size()));
  for (std::size_t g = 0; g < record.groups.size(); ++g) {
    const ScoredGroup& group = record.groups[g];
    const bool kept = record.kept.empty() || record.kept[g];
    out.put(static_cast<std::uint8_t>(kept));
    out.put(std::string_view(to_bytes(group)));
    for (std::size_t i = 0; i < group.group.completions.size(); ++i) {
      const bool sample = kept && next < record.samples.size() && record.samples[next].name == message(group.group.prompt.id, "/", i);
      const std::optional<float> advantage = sample ? first_advantage(record.samples[next]) : std::nullopt;
      out.put(sample ? static_cast<std::int32_t>(next++) : std::int32_t{-1});
      out.put(static_cast<std::uint8_t>(advantage.has_value()));
      out.put(advantage.value_or(0.f));
    }
  }
  return sealed(out);
}

RecordedRollout rollout_from_bytes(std::string_view bytes) {
  ByteReader in = opened(bytes, kRollout);
  RecordedRollout r;
  r.step = in.get<std::int64_t>();
  r.rollout = in.get<std::uint64_t>();
  for (std::size_t n = in.get_count(); n > 0; --n) {
    RecordedGroup& g = r.groups.emplace_back();
    g.kept = in.get<std::uint8_t>() != 0;
    g.scored = scored_group_from_bytes(in.get_text());
    for (std::size_t i = 0; i < g.scored.group.completions.size(); ++i) {
      g.samples.push_back(in.get<std::int32_t>());
      const bool has = in.get<std::uint8_t>() != 0;
      const float value = in.get<float>();
      g.advantages.push_back(has ? std::optional(value) : std::nullopt);
    }
  }
  in.expect_end();
  return r;
}

std::string update_to_bytes(const StepRecord& record) {
  ByteWriter out;
  put_head(out, kUpdate, record);
  const auto samples = by_sample(record);
  out.put(static_cast<std::uint64_t>(samples.size()));
  for (const auto& [sample, traces] : samples) {
    const TrainSample& s = record.trained[static_cast<std::size_t>(sample)];
    out.put(sample);
    out.put(std::string_view(s.name));
    put_column<std::int32_t>(out, traces, [&](const TokenTrace& t) { return t.position - s.prompt_length; }, false);
    put_column<float>(out, traces, [](const TokenTrace& t) { return t.logprob; }, false);
    put_column<float>(out, traces, [](const TokenTrace& t) { return t.old_logprob; }, all(traces, [](const TokenTrace& t) { return t.old_logprob == t.logprob; }));
    // One for the whole answer is written once.
    const bool constant = all(traces, [&](const TokenTrace& t) { return t.advantage == traces[0].advantage; });
    out.put_all(constant ? std::vector<float>{traces[0].advantage} : [&] {
      std::vector<float> v;
      for (const TokenTrace& t : traces) v.push_back(t.advantage);
      return v;
    }());
    put_column<float>(out, traces, [](const TokenTrace& t) { return t.gradient; }, false);
    put_column<float>(out, traces, [](const TokenTrace& t) { return t.kl; }, all(traces, [](const TokenTrace& t) { return t.kl == 0; }));
    put_column<std::uint8_t>(out, traces, [](const TokenTrace& t) { return t.clipped; }, all(traces, [](const TokenTrace& t) { return t.clipped == 0; }));
  }
  return sealed(out);
}

RecordedUpdate update_from_bytes(std::string_view bytes) {
  ByteReader in = opened(bytes, kUpdate);
  RecordedUpdate u;
  u.step = in.get<std::int64_t>();
  u.rollout = in.get<std::uint64_t>();
  for (std::size_t n = in.get_count(); n > 0; --n) {
    RecordedTokens& s = u.samples.emplace_back();
    s.sample = in.get<std::int32_t>();
    s.name = in.get_text();
    s.positions = in.get_all<std::int32_t>();
    s.logprobs = in.get_all<float>();
    s.old_logprobs = in.get_all<float>();
    s.advantages = in.get_all<float>();
    s.gradients = in.get_all<float>();
    s.kl = in.get_all<float>();
    s.clipped = in.get_all<std::uint8_t>();
    const std::size_t tokens = s.positions.size();
    if (s.old_logprobs.empty()) s.old_logprobs = s.logprobs;
    if (s.advantages.size() == 1) s.advantages.resize(tokens, s.advantages[0]);
    if (s.kl.empty()) s.kl.resize(tokens);
    if (s.clipped.empty()) s.clipped.resize(tokens);
    for (const std::size_t size : {s.logprobs.size(), s.old_logprobs.size(), s.advantages.size(), s.gradients.size(), s.kl.size(), s.clipped.size()})
      if (size != tokens) throw DataError(message("a recorded update is damaged at sample ", s.name));
  }
  in.expect_end();
  return u;
}

std::vector<std::int64_t> recorded_steps(const fs::path& dir, const std::string& extension) {
  std::vector<std::int64_t> steps;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(dir, none))
    if (entry.path().extension() == extension)
      if (const auto step = step_of_name(entry.path().stem().string())) steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

RolloutRecorder::RolloutRecorder(Options options) : options_(std::move(options)) { make_directories(options_.dir); }

void RolloutRecorder::on_step(const StepRecord& record) {
  if (!record.groups.empty()) write_file_atomic(options_.dir / (step_name(record.step) + ".rollout"), rollout_to_bytes(record));
  if (!record.traces.empty()) write_file_atomic(options_.dir / (step_name(record.step) + ".tokens"), update_to_bytes(record));
  make_room();
}

void RolloutRecorder::make_room() {
  std::map<std::int64_t, std::vector<std::pair<fs::path, std::uint64_t>>> steps;
  std::uint64_t total = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(options_.dir, none)) {
    const auto step = step_of_name(entry.path().stem().string());
    const std::uint64_t size = step ? entry.file_size(none) : 0;
    if (!step || none) continue;
    steps[*step].emplace_back(entry.path(), size);
    total += size;
  }
  const auto rollouts = recorded_steps(options_.dir, ".rollout");
  for (const auto& [step, files] : steps) {
    if (total <= options_.bytes || (!rollouts.empty() && step >= rollouts.back())) return;
    for (const auto& [file, size] : files) {
      fs::remove(file, none);
      total -= size;
    }
  }
}

}  // namespace r1
