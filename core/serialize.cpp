#include "core/serialize.h"

#include <cstring>

#include "core/byte_stream.h"

namespace r1 {
namespace {

// First bytes of a record. A change of the layout takes a new number.
constexpr std::uint32_t kSampleGroup = 0x52314702, kScoredGroup = 0x52315303;

// A declared enum value, or DataError.
template <class Enum>
Enum get_enum(ByteReader& in, Enum last) {
  const auto value = in.get<Enum>();
  if (value > last) throw DataError(message("a binary record holds the unknown value ", static_cast<int>(value)));
  return value;
}

template <class Value>
void put_map(ByteWriter& out, const std::map<std::string, Value>& map) {
  out.put(static_cast<std::uint64_t>(map.size()));
  for (const auto& [key, value] : map) {
    out.put(std::string_view(key));
    if constexpr (std::is_arithmetic_v<Value>) out.put(value);
    else out.put(std::string_view(value));
  }
}

template <class Value>
std::map<std::string, Value> get_map(ByteReader& in) {
  std::map<std::string, Value> map;
  for (std::size_t n = in.get_count(8); n > 0; --n) {
    std::string key = in.get_text();
    if constexpr (std::is_arithmetic_v<Value>) map[std::move(key)] = in.get<Value>();
    else map[std::move(key)] = in.get_text();
  }
  return map;
}

void put(ByteWriter& out, const Prompt& prompt) {
  out.put(std::string_view(prompt.id));
  out.put(std::string_view(prompt.task));
  out.put_all(prompt.tokens);
  out.put(std::string_view(prompt.text));
  out.put(std::string_view(prompt.reference));
  out.put(static_cast<std::uint64_t>(prompt.messages.size()));
  for (const auto& message : prompt.messages) {
    out.put(std::string_view(message.role));
    out.put(std::string_view(message.content));
  }
  put_map(out, prompt.columns);
}

Prompt get_prompt(ByteReader& in) {
  Prompt prompt;
  prompt.id = in.get_text();
  prompt.task = in.get_text();
  prompt.tokens = in.get_all<TokenId>();
  prompt.text = in.get_text();
  prompt.reference = in.get_text();
  prompt.messages.resize(in.get_count(16));
  for (auto& message : prompt.messages) {
    message.role = in.get_text();
    message.content = in.get_text();
  }
  prompt.columns = get_map<std::string>(in);
  return prompt;
}

void put(ByteWriter& out, const Completion& completion) {
  out.put_all(completion.tokens);
  out.put_all(completion.logprobs);
  out.put_all(completion.entropies);
  out.put_all(completion.sampled);
  out.put_all(completion.experts);
  out.put(std::string_view(completion.text));
  out.put(completion.stop);
  out.put(static_cast<std::uint64_t>(completion.version_runs.size()));
  for (const auto& run : completion.version_runs) {
    out.put(run.start);
    out.put(run.version);
    out.put_raw(run.digest.data(), run.digest.size());
  }
}

Completion get_completion(ByteReader& in) {
  Completion completion;
  completion.tokens = in.get_all<TokenId>();
  completion.logprobs = in.get_all<float>();
  completion.entropies = in.get_all<float>();
  completion.sampled = in.get_all<std::uint8_t>();
  completion.experts = in.get_all<std::uint16_t>();
  completion.text = in.get_text();
  completion.stop = get_enum(in, StopReason::kAborted);
  completion.version_runs.resize(in.get_count(28));
  for (auto& run : completion.version_runs) {
    run.start = in.get<std::int32_t>();
    run.version = in.get<WeightVersion>();
    in.get_raw(run.digest.data(), run.digest.size());
  }
  return completion;
}

void put(ByteWriter& out, const Score& score) {
  out.put(score.value);
  put_map(out, score.parts);
  out.put(score.verdict);
  out.put(std::string_view(score.detail));
  put_map(out, score.columns);
  out.put(static_cast<std::uint64_t>(score.steps.size()));
  for (const StepReward& s : score.steps) out.put(s.token), out.put(s.value);
}

Score get_score(ByteReader& in) {
  Score score;
  score.value = in.get<float>();
  score.parts = get_map<float>(in);
  score.verdict = get_enum(in, Verdict::kAbstain);
  score.detail = in.get_text();
  score.columns = get_map<std::string>(in);
  score.steps.resize(in.get_count(8));
  for (StepReward& s : score.steps) s.token = in.get<std::int32_t>(), s.value = in.get<float>();
  return score;
}

void put(ByteWriter& out, const SampleGroup& group) {
  put(out, group.prompt);
  out.put(static_cast<std::uint64_t>(group.completions.size()));
  for (const auto& completion : group.completions) put(out, completion);
}

SampleGroup get_group(ByteReader& in) {
  SampleGroup group;
  group.prompt = get_prompt(in);
  const std::size_t count = in.get_count(57);
  for (std::size_t i = 0; i < count; ++i) group.completions.push_back(get_completion(in));
  return group;
}

void expect_kind(std::uint32_t found, std::uint32_t kind) {
  if (found != kind) {
    throw DataError(message("a binary record of another kind or version: ", found, " where ", kind, " is expected"));
  }
}

}  // namespace

std::string to_bytes(const SampleGroup& group) {
  ByteWriter out;
  out.put(kSampleGroup);
  put(out, group);
  return out.take();
}

std::string to_bytes(const ScoredGroup& scored) {
  ByteWriter out;
  out.put(kScoredGroup);
  put(out, scored.group);
  out.put(static_cast<std::uint64_t>(scored.scores.size()));
  for (const auto& score : scored.scores) put(out, score);
  return out.take();
}

SampleGroup sample_group_from_bytes(std::string_view bytes) {
  ByteReader in(bytes);
  expect_kind(in.get<std::uint32_t>(), kSampleGroup);
  SampleGroup group = get_group(in);
  in.expect_end();
  return group;
}

ScoredGroup scored_group_from_bytes(std::string_view bytes) {
  ByteReader in(bytes);
  expect_kind(in.get<std::uint32_t>(), kScoredGroup);
  ScoredGroup scored;
  scored.group = get_group(in);
  const std::size_t count = in.get_count(29);
  for (std::size_t i = 0; i < count; ++i) scored.scores.push_back(get_score(in));
  in.expect_end();
  return scored;
}

void append_record(std::string& to, std::string_view record) {
  const std::uint64_t size = record.size();
  to.append(reinterpret_cast<const char*>(&size), sizeof size);
  to += record;
}

std::string_view take_record(std::string_view& from) {
  std::uint64_t size = 0;
  if (from.size() >= sizeof size) std::memcpy(&size, from.data(), sizeof size);
  if (from.size() < sizeof size || from.size() - sizeof size < size) throw DataError("a list of records is cut off");
  const std::string_view out = from.substr(sizeof size, size);
  from.remove_prefix(sizeof size + size);
  return out;
}

}  // namespace r1
