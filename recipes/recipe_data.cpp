// The sections data: and eval:.
#include <algorithm>
#include <array>
#include <limits>

#include "core/error.h"
#include "core/hub_name.h"
#include "core/suggest.h"
#include "recipes/recipe.h"

namespace r1::detail {
namespace {

namespace fs = std::filesystem;

// Whether a path exists; for a pattern (*, ?) its folder. What it matches is checked when it is read.
void check_file(const ConfigReader& reader, const std::string& key, const std::string& file) {
  if (file.starts_with("hf://")) {  // looked for when it is read
    try {
      parse_hub_data(file);
    } catch (const ConfigError& e) {
      reader.fail(key, e.what());
    }
    return;
  }
  const bool pattern = file.find_first_of("*?[") != std::string::npos;
  fs::path path = pattern ? fs::path(file).parent_path() : fs::path(file);
  if (path.empty()) path = ".";
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    if (!pattern && fs::is_directory(path, ignored))
      reader.fail(key, message("names a folder, expected a file: ", file));
    return;
  }
  std::string known;
  for (const auto& entry :
       fs::directory_iterator(path.has_parent_path() ? path.parent_path() : fs::path("."), ignored)) {
    const std::array<std::string, 1> name = {entry.path().filename().string()};
    if (!nearest_name(path.filename().string(), name).empty()) known = entry.path().string();
  }
  reader.fail(key, message("names a file that does not exist: ", file,
                           known.empty() ? "" : message("; did you mean ", known, "?"),
                           " (paths start at the current folder, ", fs::current_path(ignored).string(), ")"));
}

GeneratedData read_generate(ConfigReader g, const std::string& split) {
  GeneratedData out;
  out.task = g.require<std::string>("task");
  out.level = g.get_in<int>("level", 1, 1, 20);
  out.rows = g.require_in<std::int64_t>("n", 1, 100'000'000);
  out.seed = g.get_in<std::int64_t>("seed", 0, 0, std::numeric_limits<std::int64_t>::max());
  out.distinct = g.get<bool>("distinct", false);
  out.split = split;
  return out;
}

}  // namespace

void read_source(ConfigReader& reader, const std::string& path_key, const std::string& split, std::vector<std::string>& files,
                 std::optional<GeneratedData>& generate) {
  const bool made = reader.has("generate");
  if (made && reader.has(path_key)) reader.fail(path_key, "and generate are both set; keep one of them");
  files.clear();
  generate.reset();
  if (made) {
    generate = read_generate(reader.section("generate"), split);
    return;
  }
  files = reader.require<std::vector<std::string>>(path_key);
  if (files.empty()) reader.fail(path_key, "is empty; name at least one file");
  for (const std::string& file : files) check_file(reader, path_key, file);
}

void read_template(ConfigReader& reader, DataSection& out) {
  out.format = reader.get_choice("template", "chat", std::array<std::string, 4>{"chat", "r1_zero", "none", "file"});
  if (out.format == "file") {
    out.template_file = reader.require<std::string>("template_file");
    check_file(reader, "template_file", out.template_file);
  } else {
    reader.reject("template_file", "template is " + out.format + ", not file");
  }
  out.instruction = reader.get<std::string>("instruction", "");
  if (out.format == "chat" || out.format == "file") {
    out.system_prompt = reader.get<std::string>("system_prompt", "");
    out.template_variables = reader.get_json("template_variables");
  } else {
    reader.reject("system_prompt", "only chat templates have system messages");
    reader.reject("template_variables", "only chat templates have variables");
  }
}

DataSection read_data(ConfigReader& reader, const std::string& split) {
  DataSection out;
  read_source(reader, "path", split, out.files, out.generate);
  const std::pair<const char*, std::string*> columns[] = {{"prompt", &out.prompt},
                                                          {"answer", &out.answer},
                                                          {"id", &out.id},
                                                          {"task", &out.task},
                                                          {"default_task", &out.default_task}};
  for (const auto& [key, value] : columns) {
    if (out.generate) reader.reject(key, "generated rows have columns of their own");
    else *value = reader.get<std::string>(key, "");
  }
  read_template(reader, out);
  out.max_prompt_tokens = reader.get_in<int>("max_prompt_tokens", 0, 0, 1 << 24);
  out.limit = reader.get_in<std::int64_t>("limit", 0, 0, std::int64_t{1} << 40);
  out.shuffle = reader.get<bool>("shuffle", true);
  out.skip_bad_rows = reader.get_choice("on_error", "error", std::array<std::string, 2>{"error", "skip"}) == "skip";
  return out;
}

EvalSection read_eval(ConfigReader reader, const DataSection& base, const SamplingOptions& sampling, std::uint64_t seed) {
  EvalSection out;
  if (!reader.has("data") && !reader.has("generate")) {
    for (const std::string& key : reader.keys()) reader.reject(key, "eval has no data; set eval.data or eval.generate");
    return out;
  }
  // Everything about prompts is as in training but the source and its limits.
  DataSection data = base;
  data.shuffle = false;
  data.limit = 0;
  read_source(reader, "data", "test", data.files, data.generate);
  if (data.generate.has_value() != base.generate.has_value())
    data.prompt = data.answer = data.id = data.task = "";
  data.limit = reader.get_in<std::int64_t>("limit", 0, 0, std::int64_t{1} << 40);
  out.data = std::move(data);

  out.every = reader.get_in<std::int64_t>("every", 20, 0, 1'000'000'000);
  out.at_start = reader.get<bool>("at_start", true);
  out.options.greedy = reader.get<bool>("greedy", true);
  out.options.samples = reader.get_in<int>("samples", 4, 0, 4096);
  out.options.pass_k = reader.get<std::vector<int>>("pass_k", {});
  out.options.sampling = sampling;
  out.options.sampling.temperature = reader.get_in<float>("temperature", sampling.temperature, 0.f, 10.f);
  out.options.sampling.top_p = reader.get_in<float>("top_p", sampling.top_p, 0.f, 1.f);
  out.options.sampling.max_new_tokens = reader.get_in<int>("max_new_tokens", sampling.max_new_tokens, 1, 1 << 24);
  out.options.seed = reader.get<std::uint64_t>("seed", seed);
  if (out.options.sampling.top_p == 0.f) reader.fail("top_p", "must be above 0");
  if (!out.options.greedy && out.options.samples == 0)
    reader.fail("samples", "is 0 and greedy is off: nothing would be evaluated");
  for (const int k : out.options.pass_k) {
    if (k < 1 || k > out.options.samples)
      reader.fail("pass_k", message("holds ", k, "; each must be from 1 to samples (", out.options.samples, ")"));
  }
  if (out.options.samples > 1 && out.options.sampling.temperature == 0.f)
    reader.fail("temperature", "is 0: all samples would be the same; use greedy: true and samples: 0");
  if (out.options.samples == 0) {
    reader.reject("temperature", "samples is 0");
    reader.reject("pass_k", "samples is 0");
  }
  return out;
}

}  // namespace r1::detail
