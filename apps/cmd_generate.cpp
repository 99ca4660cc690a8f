// r1 generate: samples from one or several models, checked, filtered, selected: a data set. The flags are the recipe's keys.
#include "apps/command.h"
#include "apps/generate_run.h"
#include "apps/reward_context.h"
#include "core/config.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/signals.h"

namespace r1 {
namespace {

struct Args {
  std::vector<std::string> words;  // a recipe, key=value
  std::vector<std::string> set;    // what the flags say, as key=value
  std::vector<std::string> models, urls, data, rewards, filters, mix;
  std::string served, key_env, dedup, pass_rate, device, dtype;
  int parallel = 0;
  bool score = false;
  RegenerateArgs regenerate;
};

std::string quoted_list(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + json_quote(item);
  return "[" + out + "]";
}

// A flag that is one key of the recipe.
void add_key(CLI::App& cmd, Args& args, const std::string& flag, const std::string& key, const std::string& help, bool text = true) {
  cmd.add_option_function<std::string>(
      flag, [&args, key, text](const std::string& value) { args.set.push_back(key + "=" + (text ? json_quote(value) : value)); }, help);
}

void engine_keys(Args& a) {
  if (a.models.empty() && a.urls.empty()) return;
  if (a.urls.empty() != a.served.empty())
    throw ConfigError("--url and --served-model go together: the server's address, and what it calls its model");
  std::string out;
  const auto add = [&](const std::string& entry) { out += (out.empty() ? "" : ", ") + entry; };
  for (const std::string& m : a.models)
    add("{model: " + json_quote(m) + (a.device.empty() ? "" : ", device: " + a.device) + (a.dtype.empty() ? "" : ", dtype: " + a.dtype) + "}");
  for (const std::string& url : a.urls)
    add("{url: " + json_quote(url) + ", model: " + json_quote(a.served) + (a.key_env.empty() ? "" : ", api_key_env: " + json_quote(a.key_env)) +
        (a.parallel > 0 ? message(", parallel: ", a.parallel) : "") + "}");
  a.set.push_back("engines=[" + out + "]");
}

void other_keys(Args& a) {
  if (!a.data.empty()) a.set.push_back("data.path=" + quoted_list(a.data));
  if (a.score && a.rewards.empty()) a.rewards = {"math"};
  if (!a.rewards.empty()) {
    const RewardContext context = reward_context();
    std::string out;
    for (const std::string& text : a.rewards) out += (out.empty() ? "" : ", ") + reward_entry_yaml(text, context);
    a.set.push_back("rewards=[" + out + "]");
  }
  for (const std::string& name : a.filters) {
    if (name == "r1") a.set.push_back("filters.preset=r1");
    else if (name == "finished" || name == "correct") a.set.push_back("filters." + name + "=true");
    else if (name == "format" || name == "repetition") a.set.push_back("filters." + name + ".check=true");
    else if (name == "language") a.set.push_back("filters.language=0.95");
    else if (name == "paragraphs") a.set.push_back("filters.max_paragraph=2000");
    else if (name == "code") a.set.push_back("filters.no_code=true");
    else
      throw ConfigError(
          message("--filter ", name, " is unknown; it can be r1 (all of them), finished, format, correct, language, repetition, paragraphs, code"));
  }
  if (a.dedup == "exact") a.set.push_back("dedup.exact=true");
  else if (!a.dedup.empty()) a.set.insert(a.set.end(), {"dedup.exact=true", "dedup.near=" + a.dedup});
  if (!a.pass_rate.empty()) {
    const std::size_t colon = a.pass_rate.find(':');
    if (colon == std::string::npos) throw ConfigError(message("--pass-rate is ", a.pass_rate, "; write LOWEST:HIGHEST, e.g. 0.1:0.9"));
    a.set.insert(a.set.end(),
                 {"difficulty.min_pass_rate=" + a.pass_rate.substr(0, colon), "difficulty.max_pass_rate=" + a.pass_rate.substr(colon + 1)});
  }
  if (!a.mix.empty()) {
    std::string out;
    for (const std::string& text : a.mix) {
      const std::size_t at = text.rfind('=');
      out += (out.empty() ? "" : ", ") + ("{path: " + json_quote(text.substr(0, at))) +
             (at == std::string::npos ? "" : ", weight: " + text.substr(at + 1)) + "}";
    }
    a.set.push_back("mix.sets=[" + out + "]");
  }
}

GenerateRecipe recipe_of(Args& a) {
  engine_keys(a);
  other_keys(a);
  std::string file;
  for (const std::string& word : a.words) {
    if (word.find('=') != std::string::npos) a.set.push_back(word);
    else if (file.empty()) file = word;
    else throw ConfigError(message("'", word, "' is a second recipe beside ", file, "; other settings are key=value"));
  }
  const Config config = file.empty() ? Config::parse("kind: generate\n", "command line", a.set) : Config::load(file, a.set);
  return load_generate_recipe(config, reward_context());
}

}  // namespace

void add_generate(CLI::App& app, const Globals& globals, int& exit_code) {
  auto args = std::make_shared<Args>();
  Args& a = *args;
  CLI::App* cmd = app.add_subcommand("generate", "make a data set: samples of models, checked, filtered, selected; resumable");
  cmd->add_option("recipe", a.words, "a recipe of kind: generate, and key=value; the flags below are its keys");
  cmd->add_option("--model,-m", a.models, "model directory, GGUF file or hub name; several give samples each")->delimiter(',');
  cmd->add_option("--url", a.urls, "OpenAI-compatible server(s) of one model, all asked at once")->delimiter(',');
  cmd->add_option("--served-model", a.served, "with --url: what the servers call it");
  cmd->add_option("--api-key-env", a.key_env, "with --url: environment variable that holds the key");
  cmd->add_option("--parallel", a.parallel, "with --url: questions at once to each (default 8)")->check(CLI::PositiveNumber);
  cmd->add_option("--data,-d", a.data, "prompts: JSON lines, .gz, .zst, Parquet")->delimiter(',');
  add_key(*cmd, a, "--prompt", "data.prompt", "column of the prompt (default: the usual names)");
  add_key(*cmd, a, "--answer", "data.answer", "column of the gold answer (default: the usual names)");
  add_key(*cmd, a, "--template", "data.template", "chat (default), r1_zero, none, or file with --template-file");
  cmd->add_option("--template-file", a.regenerate.template_file, "with --template file: a Jinja chat template or text with {question}");
  add_key(*cmd, a, "--system", "data.system_prompt", "system message of the chat template");
  add_key(*cmd, a, "--limit", "data.limit", "the first so many rows", false);
  add_key(*cmd, a, "--samples,-n", "rollout.samples_per_prompt", "completions a prompt and model (default 4)", false);
  add_key(*cmd, a, "--temperature", "rollout.temperature", "default 1; 0 = greedy", false);
  add_key(*cmd, a, "--top-p", "rollout.top_p", "default 1 (off)", false);
  add_key(*cmd, a, "--top-k", "rollout.top_k", "default 0 (off)", false);
  add_key(*cmd, a, "--min-p", "rollout.min_p", "default 0 (off)", false);
  add_key(*cmd, a, "--max-new-tokens", "rollout.max_new_tokens", "default 512", false);
  add_key(*cmd, a, "--stop", "rollout.stop", "stop string");
  add_key(*cmd, a, "--seed", "seed", "default 0", false);
  cmd->add_option("--dtype", a.dtype, "bfloat16 (default) or float32")->check(CLI::IsMember({"bfloat16", "float32"}));
  cmd->add_option("--device", a.device, "auto (default: the GPU if there is one), cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  cmd->add_option("--rewards", a.rewards, "score by these: comma-separated names, also python:FILE:FUNCTION, command:PROGRAM")->delimiter(',');
  cmd->add_flag("--score", a.score, "score by math");
  cmd->add_option("--filter", a.filters, "r1 (all), or some of finished, format, correct, language, repetition, paragraphs, code")->delimiter(',');
  cmd->add_option("--dedup", a.dedup, "exact, or a similarity such as 0.8 from which texts are near duplicates");
  add_key(*cmd, a, "--decontaminate", "decontaminate.against", "evaluation set whose text must not occur");
  cmd->add_option("--pass-rate", a.pass_rate, "LOWEST:HIGHEST of prompts that are kept, e.g. 0.1:0.9");
  add_key(*cmd, a, "--select", "select.by", "drawn (default), shortest, diverse or best");
  add_key(*cmd, a, "--keep", "select.per_prompt", "at most so many a prompt (default: all)", false);
  add_key(*cmd, a, "--license", "output.license", "of the set, for its card");
  cmd->add_option("--mix", a.mix, "finished set(s) FILE or FILE=WEIGHT to mix into --out")->delimiter(',');
  add_key(*cmd, a, "--from", "from", "filter the samples of this file (FILE.samples.jsonl) anew; draws nothing");
  add_key(*cmd, a, "--out,-o", "output.path", "FILE.jsonl, FILE.parquet, or a folder");
  add_key(*cmd, a, "--format", "output.format", "of a folder: jsonl (default) or parquet");
  cmd->add_option("--regenerate", a.regenerate.file, "draw a record of this JSON lines set again and compare, byte by byte");
  cmd->add_option("--record", a.regenerate.line, "with --regenerate: which, from 1 (default 1)")->check(CLI::PositiveNumber);
  cmd->footer("Examples: r1 generate -m models/SmolLM2-135M-Instruct -d tasks.jsonl -o out.jsonl -n 4 --score\n"
              "          r1 generate -m MODEL -d train.jsonl --score --filter r1 --dedup 0.8 --select shortest --keep 1 -o sets/first\n"
              "          r1 generate --regenerate out.jsonl --record 3\n"
              "A stopped call goes on where it was when it is given again. docs/data_generation.md says more.");
  cmd->callback([args, &globals, &exit_code] {
    install_stop_signals();
    Args& a = *args;
    if (!a.regenerate.file.empty()) {
      if (a.models.size() > 1) throw ConfigError("--regenerate takes one --model, where the record's lies elsewhere now");
      if (!a.models.empty()) a.regenerate.model = a.models[0];
      if (!a.device.empty()) a.regenerate.device = a.device;
      exit_code = run_regenerate(a.regenerate, globals) ? 0 : kExitFailure;
      return;
    }
    if (!a.regenerate.template_file.empty()) a.set.push_back("data.template_file=" + json_quote(a.regenerate.template_file));
    run_generate(recipe_of(a), globals);
    exit_code = 0;
  });
}

}  // namespace r1
