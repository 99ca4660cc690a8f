#include "recipes/data_section.h"

#include <unordered_set>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/tasks.h"

namespace r1 {

DatasetOptions dataset_options(const DataSection& data) {
  DatasetOptions o;
  o.paths = data.files;
  o.prompt_column = data.prompt;
  o.answer_column = data.answer;
  o.id_column = data.id;
  o.task_column = data.task;
  o.task = data.default_task;
  o.prompt_template = data.format;
  o.template_file = data.template_file;
  o.system_prompt = data.system_prompt;
  o.prompt_suffix = data.instruction.empty() ? "" : "\n" + data.instruction;
  o.template_variables = data.template_variables;
  o.max_prompt_tokens = data.max_prompt_tokens;
  o.limit = data.limit;
  o.skip_bad_rows = data.skip_bad_rows;
  return o;
}

namespace {

std::vector<Prompt> generate_prompts(const DataSection& data, const std::string& key,
                                     std::shared_ptr<const Tokenizer> tokenizer) {
  DatasetOptions options = dataset_options(data);
  options.prompt_column = "prompt";
  options.answer_column = "answer";
  options.id_column = "id";
  options.task_column = "task";
  const PromptMaker maker(options, std::move(tokenizer));
  std::vector<Prompt> prompts;
  for (const Row& row : generate_rows(*data.generate, data.limit, key)) prompts.push_back(maker.make_prompt(row, row.line - 1));
  return prompts;
}

}  // namespace

std::vector<Row> generate_rows(const GeneratedData& g, std::int64_t limit, const std::string& key) {
  const TaskOptions task{g.task, g.level, g.split, g.seed, g.worked, g.pairs};
  const std::int64_t wanted = limit > 0 ? std::min(limit, g.rows) : g.rows;
  // Small tasks run out of different prompts; so many draws without a new one mean that there is none.
  constexpr std::int64_t kPatience = 100'000;
  std::vector<Row> rows;
  std::unordered_set<std::string> seen;
  std::int64_t last_new = 0;
  for (std::int64_t i = 0; static_cast<std::int64_t>(rows.size()) < wanted; ++i) {
    const auto json = nlohmann::json::parse(make_task_line(task, i));
    if (g.distinct) {
      if (!seen.insert(json.at("prompt").get<std::string>()).second) {
        if (i - last_new < kPatience) continue;
        throw ConfigError(message(key, ".generate: ", g.task, " of level ", g.level, " has only ", rows.size(),
                                  " different ", g.split, " prompts, but n is ", wanted,
                                  "; lower n, raise level, or set distinct: false"));
      }
      last_new = i;
    }
    Row row;
    row.file = message(g.task, " ", g.split, " task");
    row.line = i + 1;
    for (const auto& [name, value] : json.items()) row.columns[name] = value.dump();
    rows.push_back(std::move(row));
  }
  return rows;
}

RecipePrompts load_recipe_prompts(const DataSection& data, const std::string& key,
                                  std::shared_ptr<const Tokenizer> tokenizer, const Rubric& rubric) {
  RecipePrompts out;
  if (data.generate) {
    out.prompts = generate_prompts(data, key, std::move(tokenizer));
  } else {
    PromptSet set = with_context(key, [&] { return load_prompts(dataset_options(data), std::move(tokenizer)); });
    out.prompts = std::move(set.prompts);
    out.skipped = std::move(set.skipped);
  }
  const PromptCheck check = rubric.check_prompts(out.prompts);
  if (check.problems.empty()) return out;
  if (!data.skip_bad_rows)
    throw DataError(message(key, ": ", check.summary(), " (data.on_error: skip leaves such rows out)"));
  if (check.problems.size() == out.prompts.size())
    throw DataError(message(key, ": no prompt can be scored: ", check.summary()));
  std::size_t next = 0;
  std::vector<Prompt> kept;
  for (std::size_t i = 0; i < out.prompts.size(); ++i) {
    if (next < check.problems.size() && check.problems[next].index == i) {
      out.skipped.push_back(check.problems[next].id + ": " + check.problems[next].text);
      ++next;
    } else {
      kept.push_back(std::move(out.prompts[i]));
    }
  }
  out.prompts = std::move(kept);
  return out;
}

}  // namespace r1
