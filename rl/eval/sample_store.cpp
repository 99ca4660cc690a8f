#include "rl/eval/sample_store.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

template <class Enum>
Enum from_word(const std::string& word, std::initializer_list<Enum> all, const char* what) {
  for (const Enum e : all)
    if (word == to_string(e)) return e;
  throw DataError(message("'", word, "' is no ", what));
}

Json to_json(const Grade& g) { return {{"verdict", to_string(g.verdict)}, {"value", g.value}, {"detail", g.detail}, {"answer", g.answer}}; }

Grade grade_of(const Json& j) {
  using enum Verdict;
  return {from_word(j.at("verdict").get<std::string>(), {kCorrect, kWrong, kUnparsed, kTimeout, kError, kAbstain}, "verdict"),
          j.at("value").get<double>(), j.at("detail").get<std::string>(), j.at("answer").get<std::string>()};
}

// The dotted path of the first difference, or "".
std::string difference(const Json& a, const Json& b, const std::string& path) {
  if (a == b) return "";
  if (!a.is_object() || !b.is_object()) return message(path, " was ", a.dump().substr(0, 80), ", is ", b.dump().substr(0, 80));
  for (const Json* side : {&b, &a})
    for (const auto& [key, value] : side->items()) {
      const Json none;
      const std::string found = difference(a.contains(key) ? a[key] : none, b.contains(key) ? b[key] : none, path.empty() ? key : path + "." + key);
      if (!found.empty()) return found;
    }
  return "";
}

}  // namespace

std::string to_line(const GradedSample& s) {
  Json j = {{"id", s.id},        {"part", s.greedy ? "greedy" : "sampled"}, {"sample", s.sample}, {"text", s.text}, {"stop", to_string(s.stop)},
            {"tokens", s.tokens}};
  j["strict"] = to_json(s.strict);
  if (s.lenient) j["lenient"] = to_json(*s.lenient);
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

GradedSample sample_of_line(const std::string& line) {
  try {
    const Json j = Json::parse(line);
    GradedSample s;
    s.id = j.at("id").get<std::string>();
    s.greedy = j.at("part").get<std::string>() == "greedy";
    s.sample = j.at("sample").get<int>();
    s.text = j.at("text").get<std::string>();
    using enum StopReason;
    s.stop = from_word(j.at("stop").get<std::string>(), {kEos, kStop, kLength, kAborted}, "stop reason");
    s.tokens = j.at("tokens").get<std::int64_t>();
    s.strict = grade_of(j.at("strict"));
    if (j.contains("lenient")) s.lenient = grade_of(j.at("lenient"));
    return s;
  } catch (const Json::exception& e) {
    throw DataError(message("no line of a samples file: ", line.substr(0, 80)));
  }
}

SampleStore::SampleStore(std::filesystem::path dir, const std::string& name, const std::string& settings_json)
    : path_(dir / (name + ".samples.jsonl")) {
  make_directories(dir);
  const std::filesystem::path settings = dir / (name + ".settings.json");
  const Json now = Json::parse(settings_json);
  bool grows = false;
  if (std::filesystem::exists(settings)) {
    Json then = Json::parse(read_file(settings), nullptr, false);
    // More samples of the same kind: those that are there count.
    for (const char* part : {"samples", "greedy"})
      if (then.contains(part) && now.contains(part) && then[part] < now[part]) then[part] = now[part], grows = true;
    if (grows && then.contains("counting") && now.contains("counting")) then["counting"]["pass_k"] = now["counting"]["pass_k"];
    const std::string changed = difference(then, now, "");
    if (!changed.empty())
      throw ConfigError(message(dir.string(), " holds an evaluation of ", name, " under other settings: ", changed,
                                "; give those again to go on with it, or another --out"));
  }
  if (grows || !std::filesystem::exists(settings)) write_file_atomic(settings, now.dump(2) + "\n");
  if (std::filesystem::exists(path_)) {
    const std::string text = read_file(path_);
    std::size_t begin = 0;
    for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      GradedSample s = with_context(path_.string(), [&] { return sample_of_line(text.substr(begin, end - begin)); });
      samples_.insert_or_assign(key_of(s), std::move(s));
    }
    if (begin != text.size()) File(path_, File::Mode::kAppend).truncate(begin);
  }
  file_.emplace(path_, File::Mode::kAppend);
}

void SampleStore::add(GradedSample sample) {
  file_->write(to_line(sample) + "\n");
  samples_.insert_or_assign(key_of(sample), std::move(sample));
}

void SampleStore::finish(const std::vector<std::string>& ids) {
  file_->sync();
  std::string text;
  for (const std::string& id : ids)
    for (const bool greedy : {true, false})
      for (auto it = samples_.lower_bound({id, greedy, 0}); it != samples_.end() && std::get<0>(it->first) == id && std::get<1>(it->first) == greedy;
           ++it)
        text += to_line(it->second) + "\n";
  file_.reset();
  write_file_atomic(path_, text);
  file_.emplace(path_, File::Mode::kAppend);
}

}  // namespace r1
