#include "apps/data_options.h"

#include "apps/reward_context.h"
#include "core/config.h"
#include "core/error.h"
#include "rewards/factory.h"

namespace r1 {

void DataOptions::add_to(CLI::App& cmd) {
  cmd.add_option("--data,-d", section.files, "JSON lines file(s), also .gz and .zst")->required()->delimiter(',');
  cmd.add_option("--prompt", section.prompt, "column of the prompt (default: the usual names)");
  cmd.add_option("--answer", section.answer, "column of the gold answer (default: the usual names)");
  cmd.add_option("--template", section.format, "chat (default), r1_zero, none, or file with --template-file");
  cmd.add_option("--template-file", section.template_file, "with --template file: a Jinja chat template or text with {question}");
  cmd.add_option("--system", section.system_prompt, "system message of the chat template");
  cmd.add_option("--limit", section.limit, "the first so many rows")->check(CLI::NonNegativeNumber);
  cmd.add_option("--rewards", rewards, "comma-separated names (default: math), also python:FILE:FUNCTION, command:PROGRAM")->delimiter(',');
}

Rubric DataOptions::rubric(int max_new_tokens) const {
  RewardContext context = reward_context();
  std::string yaml = "rewards:\n";
  for (const std::string& text : rewards) yaml += "  - " + reward_entry_yaml(text, context) + "\n";
  const Config config = Config::parse(yaml, "--rewards");
  ConfigReader root(config);
  context.max_new_tokens = max_new_tokens;
  Rubric made = make_rubric(root.sections("rewards", "name"), context);
  root.finish();
  return made;
}

void SamplingFlags::add_to(CLI::App& cmd, float default_temperature) {
  options.temperature = default_temperature;
  cmd.add_option("--temperature", options.temperature, message("0 = greedy (default ", default_temperature, ")"))->check(CLI::Range(0.f, 100.f));
  cmd.add_option("--top-p", options.top_p, "default 1 (off)")->check(CLI::Range(1e-6f, 1.f));
  cmd.add_option("--top-k", options.top_k, "default 0 (off)")->check(CLI::NonNegativeNumber);
  cmd.add_option("--min-p", options.min_p, "default 0 (off)")->check(CLI::Range(0.f, 1.f));
  cmd.add_option("--max-new-tokens", options.max_new_tokens, "default 512")->check(CLI::PositiveNumber);
  cmd.add_option("--stop", options.stop_strings, "stop string; may be repeated");
  cmd.add_option("--seed", seed, "default 0");
}

std::vector<Prompt> DataOptions::load(std::shared_ptr<const Tokenizer> tokenizer, const Rubric& rubric, bool scored) const {
  // Prompts that nobody scores need no readable gold.
  if (!scored) {
    std::vector<Rubric::Entry> none(1);
    none[0].reward = make_reward("length");
    return load_recipe_prompts(section, "--data", std::move(tokenizer), Rubric(std::move(none))).prompts;
  }
  return load_recipe_prompts(section, "--data", std::move(tokenizer), rubric).prompts;
}

}  // namespace r1
