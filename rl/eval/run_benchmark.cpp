#include "rl/eval/run_benchmark.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/thread_pool.h"
#include "rl/eval/sample_store.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kSettings = ".settings.json";

// What is not there yet, in contiguous pieces; the greedy part first.
std::vector<SampleRequest> missing(const BenchmarkRun& run, const std::map<SampleKey, GradedSample>& have) {
  std::vector<SampleRequest> out;
  for (const bool greedy : {true, false}) {
    const int wanted = greedy ? run.greedy : run.samples;
    for (std::size_t p = 0; p < run.prompts.size(); ++p)
      for (int i = 0; i < wanted; ++i) {
        if (have.contains({run.prompts[p].id, greedy, i})) continue;
        if (!out.empty() && out.back().prompt == p && out.back().greedy == greedy && out.back().first + out.back().count == i) ++out.back().count;
        else out.push_back({p, greedy, i, 1});
      }
  }
  return out;
}

Json items_json(const ItemResult& i) {
  Json j = {{"id", i.id}, {"part", i.greedy ? "greedy" : "sampled"}, {"reference", i.reference}, {"samples", i.samples}, {"strict", i.strict},
            {"lenient", i.lenient}, {"truncated", i.truncated}};
  if (!i.majority.empty()) j["majority"] = i.majority;
  return j;
}

std::string items_jsonl(const BenchmarkResult& result) {
  std::string text;
  for (const ItemResult& i : result.items) text += items_json(i).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return text;
}

// What was asked, so that a reader of the folder need not have the data: the user's last words, or the text itself.
std::string prompts_jsonl(std::span<const Prompt> prompts) {
  std::string text;
  for (const Prompt& p : prompts) {
    Json j = {{"id", p.id}, {"question", p.messages.empty() ? p.text : p.messages.back().content}, {"reference", p.reference}};
    if (const auto it = p.columns.find("language"); it != p.columns.end()) j["language"] = Json::parse(it->second, nullptr, false);
    text += j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text;
}

// How the results of these samples are counted: kept in the settings, so that a folder can be read again.
Json counting_json(const ResultOptions& o, const std::string& title, std::int64_t rows) {
  return {{"pass_k", o.pass_k},
          {"votes", !o.votes                           ? "none"
                    : *o.votes == VoteEquality::kMaths ? "maths"
                                                       : "text"},
          {"seed", o.seed},
          {"title", title},
          {"rows", rows}};
}

BenchmarkResult count(const std::string& name, const Json& counting, std::span<const GradedSample> samples,
                      const std::map<std::string, std::string>& references) {
  ResultOptions o;
  o.pass_k = counting.at("pass_k").get<std::vector<int>>();
  const std::string votes = counting.at("votes");
  if (votes != "none") o.votes = votes == "maths" ? VoteEquality::kMaths : VoteEquality::kText;
  o.seed = counting.at("seed").get<std::uint64_t>();
  BenchmarkResult result = summarise(name, samples, references, o);
  result.title = counting.at("title").get<std::string>();
  result.rows_of_set = counting.at("rows").get<std::int64_t>();
  return result;
}

}  // namespace

BenchmarkResult run_benchmark(const BenchmarkRun& run, const Grader& grader, CompletionSource& source) {
  const std::string& name = run.benchmark.name;
  R1_CHECK(run.greedy || run.samples > 0, name, " without greedy and samples");
  std::set<std::string> seen;
  for (const Prompt& p : run.prompts)
    if (!seen.insert(p.id).second) throw DataError(message(name, ": the id ", p.id, " comes twice; name a column that tells rows apart"));
  const Json counting = counting_json({run.pass_k, grader.votes(), run.seed}, run.benchmark.title, run.benchmark.rows);
  std::optional<SampleStore> store;
  if (!run.out.empty()) {
    Json settings = Json::parse(run.settings_json);
    settings["counting"] = counting;
    store.emplace(run.out, name, settings.dump());
  }
  static const std::map<SampleKey, GradedSample> kNone;
  std::map<SampleKey, GradedSample> fresh;  // without a store
  const std::vector<SampleRequest> requests = missing(run, store ? store->samples() : kNone);
  const auto total = static_cast<std::int64_t>(run.prompts.size()) * (run.samples + run.greedy);
  std::int64_t left = 0;
  for (const SampleRequest& r : requests) left += r.count;
  std::mutex mutex;
  std::int64_t done = total - left;
  const auto keep = [&](GradedSample s) {
    const std::lock_guard lock(mutex);
    if (store) store->add(std::move(s));
    else fresh.insert_or_assign(key_of(s), std::move(s));
    if (run.progress) run.progress(++done, total);
  };
  {
    // Ends before anything above it, also after a throw: what was sampled is graded and kept.
    std::deque<std::future<void>> grading;
    ThreadPool pool(run.grading_threads, 4096, "r1-grade");
    if (!requests.empty())
      source.sample(run.prompts, requests, run.sampling, run.seed, [&](const SampleRequest& r, int sample, Completion c) {
        if (c.stop == StopReason::kAborted) return;
        GradedSample s;
        s.id = run.prompts[r.prompt].id;
        s.greedy = r.greedy;
        s.sample = sample;
        s.text = std::move(c.text);
        s.stop = c.stop;
        s.tokens = c.tokens.empty() ? -1 : static_cast<std::int64_t>(c.tokens.size());
        grading.push_back(pool.submit([&grader, &keep, prompt = &run.prompts[r.prompt], s = std::move(s)]() mutable {
          grader.grade(*prompt, s);
          keep(std::move(s));
        }));
      });
    for (auto& g : grading) g.get();
  }
  std::vector<std::string> ids;
  std::map<std::string, std::string> references;
  std::vector<GradedSample> samples;
  const std::map<SampleKey, GradedSample>& all = store ? store->samples() : fresh;
  for (const Prompt& p : run.prompts) {
    ids.push_back(p.id);
    references[p.id] = p.reference;
    for (const bool greedy : {true, false})
      for (int i = 0; i < (greedy ? run.greedy : run.samples); ++i) samples.push_back(all.at({p.id, greedy, i}));
  }
  BenchmarkResult result = count(name, counting, samples, references);
  if (store) {
    store->finish(ids);
    write_file_atomic(run.out / (name + ".prompts.jsonl"), prompts_jsonl(run.prompts));
    write_file_atomic(run.out / (name + ".items.jsonl"), items_jsonl(result));
  }
  return result;
}

void keep_result(const fs::path& dir, const BenchmarkResult& result, std::span<const GradedSample> samples, const ResultOptions& options) {
  make_directories(dir);
  std::string text;
  for (const GradedSample& s : samples) text += to_line(s) + "\n";
  write_file_atomic(dir / (result.name + ".samples.jsonl"), text);
  write_file_atomic(dir / (result.name + ".items.jsonl"), items_jsonl(result));
  write_file_atomic(dir / (result.name + kSettings), Json{{"counting", counting_json(options, result.title, result.rows_of_set)}}.dump(2) + "\n");
}

std::vector<std::string> results_in(const fs::path& dir) {
  std::vector<std::string> names;
  if (!fs::is_directory(dir)) return names;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string file = entry.path().filename().string();
    if (file.ends_with(kSettings)) names.push_back(file.substr(0, file.size() - std::string_view(kSettings).size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

BenchmarkResult load_result(const fs::path& dir, const std::string& name) {
  const Json settings = Json::parse(read_file(dir / (name + kSettings)), nullptr, false);
  const fs::path items = dir / (name + ".items.jsonl");
  if (!settings.is_object() || !settings.contains("counting") || !fs::exists(items))
    throw DataError(message(dir.string(), ": the evaluation of ", name, " has not ended; run its command again to finish it"));
  std::map<std::string, std::string> references;
  std::istringstream lines(read_file(items));
  for (std::string line; std::getline(lines, line);) {
    const Json item = Json::parse(line);
    references[item.at("id").get<std::string>()] = item.at("reference").get<std::string>();
  }
  std::vector<GradedSample> samples;
  std::istringstream sampled(read_file(dir / (name + ".samples.jsonl")));
  for (std::string line; std::getline(sampled, line);) samples.push_back(sample_of_line(line));
  return count(name, settings["counting"], samples, references);
}

}  // namespace r1
