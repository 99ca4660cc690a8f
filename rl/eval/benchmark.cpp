#include "rl/eval/benchmark.h"

#include <algorithm>

#include "core/config.h"
#include "core/error.h"
#include "core/suggest.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

Benchmark read(ConfigReader& o) {
  Benchmark b;
  b.name = o.require<std::string>("name");
  b.title = o.get<std::string>("title", b.name);
  b.source = o.get<std::string>("source", "");
  b.rows = o.get_in<std::int64_t>("rows", 0, 0, std::int64_t{1} << 40);
  const std::string form = o.get_choice("form", "plain", std::vector<std::string>{"plain", "choice", "code"});
  b.form = form == "choice" ? BenchmarkForm::kChoice : form == "code" ? BenchmarkForm::kCode : BenchmarkForm::kPlain;
  b.files = o.get<std::vector<std::string>>("files", {});
  b.question = o.get<std::string>("question", "");
  b.id = o.get<std::string>("id", "");
  if (b.form == BenchmarkForm::kChoice) {
    b.choices = o.require<std::vector<std::string>>("choices");
    if (b.choices.size() < 2 || b.choices.size() > 26)
      o.fail("choices", message("names ", b.choices.size(), " columns; 2 to 26, the correct one first"));
    o.reject("answer", "has no effect with form: choice; the first of `choices` is the gold");
  } else {
    o.reject("choices", "has an effect with form: choice only");
    b.answer = o.get<std::string>("answer", "");
  }
  ConfigReader where = o.section("where");
  b.where_column = where.get<std::string>("column", "");
  b.where_equals = where.get<std::string>("equals", "");
  b.prompt_template = o.get<std::string>("template", "{question}");
  if (b.prompt_template.find('{') == std::string::npos) o.fail("template", "names no column; write {question} where the question stands");
  b.strict = o.get_json("strict");
  b.lenient = o.get_json("lenient");
  if (b.strict.empty()) o.fail("strict", "is missing: the reward that decides, e.g. {name: math, extract: boxed}");
  b.vote = o.get<bool>("vote", false);
  b.language = o.get<std::string>("language", "en");
  b.samples = o.get_in<int>("samples", 1, 1, 1 << 16);
  b.pass_k = o.get<std::vector<int>>("pass_k", {});
  for (const int k : b.pass_k)
    if (k < 1 || k > b.samples) o.fail("pass_k", message("has ", k, "; from 1 to samples (", b.samples, ")"));
  b.sampling.temperature = o.get_in<float>("temperature", 0.6f, 0.f, 100.f);
  b.sampling.top_p = o.get_in<float>("top_p", 0.95f, 1e-6f, 1.f);
  b.sampling.max_new_tokens = o.get_in<int>("max_new_tokens", 32768, 1, 1 << 24);
  b.sampling.stop_strings = o.get<std::vector<std::string>>("stop", {});
  return b;
}

}  // namespace

Benchmark parse_benchmark(const std::string& yaml, const std::string& name) {
  const Config config = Config::parse(yaml, name);
  ConfigReader o(config);
  Benchmark b = read(o);
  o.finish();
  return b;
}

Benchmark load_benchmark(const std::string& name) {
  for (const auto& [known, yaml] : built_in_benchmarks())
    if (known == name) return parse_benchmark(yaml, "benchmark " + name);
  if (name.find_first_of("./") != std::string::npos) {
    const Config config = Config::load(name);
    ConfigReader o(config);
    Benchmark b = read(o);
    o.finish();
    return b;
  }
  std::vector<std::string> names;
  for (const auto& [known, yaml] : built_in_benchmarks()) names.push_back(known);
  const std::string near = nearest_name(name, names);
  throw ConfigError(message("there is no benchmark '", name, "'", near.empty() ? "" : "; did you mean '" + near + "'?", " Known: ", join_names(names),
                            "; a YAML file of your own is named with its ending"));
}

fs::path find_benchmark_data(const Benchmark& b, const fs::path& data) {
  if (fs::is_regular_file(data)) return data;
  for (const std::string& file : b.files)
    for (const fs::path& path : {data / file, data / "data" / file, data / fs::path(file).filename()})
      if (fs::is_regular_file(path)) return path;
  std::string looked;
  for (const std::string& file : b.files) looked += (looked.empty() ? "" : ", ") + file;
  throw DataError(message(b.name, ": ",
                          fs::exists(data) ? "none of its files (" + looked + ") is below " + data.string() : "there is no " + data.string(),
                          "; name the file with --data ", b.name, "=FILE", b.source.empty() ? "" : "; its rows come from " + b.source));
}

}  // namespace r1
