#include "report/model_card.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

#include "core/error.h"
#include "core/format.h"
#include "core/json_text.h"
#include "report/html.h"
#include "report/series.h"

namespace r1::report {
namespace {

struct Paper {
  const char *id, *title;
};
constexpr auto kPapers = std::to_array<Paper>({
    {"1506.02438", "High-Dimensional Continuous Control Using Generalized Advantage Estimation"},
    {"1707.06347", "Proximal Policy Optimization Algorithms"},
    {"2106.09685", "LoRA: Low-Rank Adaptation of Large Language Models"},
    {"2305.18290", "Direct Preference Optimization: Your Language Model is Secretly a Reward Model"},
    {"2306.13649", "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes"},
    {"2402.03300", "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models"},
    {"2402.14740", "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs"},
    {"2501.12948", "DeepSeek-R1: Incentivizing Reasoning Capability in LLMs via Reinforcement Learning"},
    {"2503.14476", "DAPO: An Open-Source LLM Reinforcement Learning System at Scale"},
    {"2503.20783", "Understanding R1-Zero-Like Training: A Critical Perspective"},
    {"2507.18071", "Group Sequence Policy Optimization"},
});

struct Method {
  std::string name;
  std::vector<std::string> tags, papers;
};

std::string value_of(const RunData& run, const std::string& key, const std::string& otherwise = "") {
  for (const ConfigLine& line : run.config)
    if (line.key == key) return line.value == "\"\"" ? otherwise : line.value;
  return otherwise;
}

Method method_of(const RunData& run) {
  Method m;
  const std::string mode = value_of(run, "distill.mode");
  if (run.kind == "grpo" || run.kind.empty()) {
    if (value_of(run, "rl.advantage.kind") == "gae") m = {"PPO (clipped policy gradient with a critic)", {"ppo", "reinforcement-learning"}, {"1707.06347"}};
    else m = {"GRPO (group relative policy optimization)", {"grpo", "reinforcement-learning"}, {"2402.03300", "2501.12948"}};
  } else if (run.kind == "sft") m = {"Supervised fine-tuning", {"sft"}, {}};
  else if (run.kind == "dpo") m = {"DPO (direct preference optimization)", {"dpo"}, {"2305.18290"}};
  else if (run.kind == "reward_model") m = {"Reward modelling", {"reward-model"}, {}};
  else if (run.kind == "distill") {
    m = {"Distillation, mode " + mode, {"distillation"}, {}};
    if (mode == "gkd" || mode == "on_policy") m.papers = {"2306.13649"};
    if (mode == "sft") m.papers = {"2501.12948"};
  } else m = {run.kind, {}, {}};
  if (!value_of(run, "lora.rank").empty()) m.tags.push_back("lora"), m.papers.push_back("2106.09685"), m.name += " of LoRA adapters, merged";
  return m;
}

// "arXiv:2503.14476, section 4" -> "2503.14476"
void add_papers(std::vector<std::string>& papers, const std::string& source) {
  for (std::size_t at = source.find("arXiv:"); at != std::string::npos; at = source.find("arXiv:", at + 1)) {
    const std::string id = source.substr(at + 6, 10);
    if (id.size() == 10 && id.find_first_not_of("0123456789.") == std::string::npos && std::find(papers.begin(), papers.end(), id) == papers.end()) papers.push_back(id);
  }
}

// Of whoever trained: the folders of a machine are nobody's business.
std::string without_folders(const std::string& value) {
  std::string out = value;
  for (std::size_t at = out.find('/'); at != std::string::npos; at = out.find('/', at + 1)) {
    if (at > 0 && out[at - 1] != '[' && out[at - 1] != ' ' && out[at - 1] != '"' && out[at - 1] != '\'') continue;  // not the beginning of a path
    const std::size_t end = std::min(out.find_first_of(" ,]\"'", at), out.size());
    const std::size_t last = out.rfind('/', end);
    if (last != std::string::npos && last >= at) out.erase(at, last + 1 - at);
  }
  return out;
}

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

struct Measured {
  std::string key, label;
  double first = 0, first_step = 0, value = 0, low = 0, high = 0;
  bool compared = false;  // `first` is of an earlier step
};

std::string label_of(const std::string& key) {
  if (key == "eval/greedy/accuracy") return "accuracy, greedy";
  if (key.starts_with("eval/sampled/")) return key.substr(13) + ", sampled";
  return key.substr(5);
}

// The run's own evaluation: whatever has an interval. At the checkpoint's step, or the last one before it.
std::vector<Measured> measured(const RunData& run, double until) {
  std::set<std::string> keys;
  for (const MetricRow& row : run.metrics)
    for (const auto& [key, value] : row.values)
      if (key.starts_with("eval/") && row.values.contains(key + "_low") && row.values.contains(key + "_high")) keys.insert(key);
  std::vector<Measured> out;
  for (const std::string& key : keys) {
    const auto at = [&](const std::string& name) {
      Line line = line_of(run, name);
      std::erase_if(line, [&](const Point& p) { return p.step > until; });
      return line;
    };
    const Line line = at(key), low = at(key + "_low"), high = at(key + "_high");
    if (line.empty() || low.size() != line.size() || high.size() != line.size()) continue;
    out.push_back({key, label_of(key), line.front().value, line.front().step, line.back().value, low.back().value, high.back().value, line.size() > 1});
  }
  return out;
}

std::string evaluated_on(const RunData& run) {
  std::string what = value_of(run, "eval.data");
  if (what.empty() && !value_of(run, "eval.generate.task").empty())
    what = message("built-in task ", value_of(run, "eval.generate.task"), ", level ", value_of(run, "eval.generate.level"));
  if (what.empty()) what = "held-out data of the run";
  std::set<std::string> prompts;
  if (!run.evaluations.empty())
    for (const SampleRow& s : run.evaluations.rbegin()->second) prompts.insert(s.prompt_id);
  return without_folders(what) + (prompts.empty() ? "" : message(", ", prompts.size(), " prompts"));
}

std::string yaml_list(const char* key, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string out = message(key, ":\n");
  for (const std::string& item : items) out += "- " + json_quote(item) + "\n";
  return out;
}

std::string metadata(const ModelCardInput& in, const Method& method, const std::vector<Measured>& numbers) {
  const bool scorer = in.run.kind == "reward_model";
  std::string out = "---\nlibrary_name: transformers\n";
  out += message("pipeline_tag: ", scorer ? "text-classification" : "text-generation", "\n");
  if (!in.base_model.empty()) out += message("base_model: ", json_quote(in.base_model), "\n");
  if (!in.license.empty()) out += message("license: ", json_quote(in.license), "\n");
  std::vector<std::string> tags = {"r1.cpp"};
  tags.insert(tags.end(), method.tags.begin(), method.tags.end());
  out += yaml_list("tags", tags) + yaml_list("datasets", in.datasets);
  const auto shared = [](const std::string& key) { return key.ends_with("accuracy") || key.ends_with("pass@1"); };
  if (std::any_of(numbers.begin(), numbers.end(), [&](const Measured& m) { return shared(m.key); }) || !in.benchmarks.empty()) out += "metrics:\n- accuracy\n";
  std::string results;
  const auto result = [&](const std::string& dataset, const std::string& name, double share) {
    results += message("  - task:\n      type: ", scorer ? "text-classification" : "text-generation", "\n    dataset:\n      name: ", json_quote(dataset), "\n      type: ",
                       json_quote(dataset), "\n    metrics:\n    - type: accuracy\n      name: ", json_quote(name), "\n      value: ", human_number(100 * share), "\n");
  };
  for (const Measured& m : numbers)
    if (shared(m.key)) result(evaluated_on(in.run), m.label + ", %", m.value);
  for (const BenchmarkScore& b : in.benchmarks) result(b.name, b.part + ", %", b.accuracy);
  if (!results.empty()) out += message("model-index:\n- name: ", json_quote(in.name.substr(in.name.rfind('/') + 1)), "\n  results:\n", results);
  return out + "---\n";
}

std::string evaluation(const ModelCardInput& in, const std::vector<Measured>& numbers) {
  std::string out = "## Evaluation\n\n";
  if (numbers.empty() && in.benchmarks.empty()) return out + "None was recorded: the run had no held-out data.\n\n";
  if (!numbers.empty()) {
    out += message("On ", evaluated_on(in.run), ", with the rewards of the recipe as the checker; 95 % intervals.\n\n| | before (step ", numbers[0].first_step, ") | this model | 95 % |\n|---|---|---|---|\n");
    for (const Measured& m : numbers)
      out += message("| ", cell(m.label), " | ", m.compared ? percent(m.first) : "–", " | ", percent(m.value), " | ", percent(m.low), " to ", percent(m.high), " |\n");
    out += "\n";
  }
  if (!in.benchmarks.empty()) {
    out += "By `r1 eval`; 95 % intervals.\n\n| benchmark | part | items | accuracy | 95 % |\n|---|---|---|---|---|\n";
    for (const BenchmarkScore& b : in.benchmarks)
      out += message("| ", cell(b.name), " | ", b.part, " | ", with_commas(b.items), " | ", percent(b.accuracy), " | ", percent(b.low), " to ", percent(b.high), " |\n");
    out += "\n";
  }
  return out;
}

std::string use(const ModelCardInput& in) {
  const std::string quoted = json_quote(in.name.find('/') == std::string::npos ? "PATH/OF/THIS/FOLDER" : in.name);
  const std::string plain = quoted.substr(1, quoted.size() - 2);
  if (in.run.kind == "reward_model")
    return message("## Use\n\n```python\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer\nmodel = AutoModelForSequenceClassification.from_pretrained(", quoted,
                   ")\ntokenizer = AutoTokenizer.from_pretrained(", quoted, ")\n```\nIts one logit is the score of a whole conversation. In a recipe of r1: `rewards: [{model: ", plain, ", kind: helpful}]`.\n\n");
  return message("## Use\n\n```python\nfrom transformers import pipeline\nchat = pipeline(\"text-generation\", model=", quoted,
                 ")\nprint(chat([{\"role\": \"user\", \"content\": \"What is 37 + 45?\"}], max_new_tokens=256)[0][\"generated_text\"][-1][\"content\"])\n```\n```bash\nvllm serve ", plain,
                 "\nr1 chat --model ", plain, "\nr1 convert ", plain, " model.gguf --type q8_0   # for llama.cpp\n```\n\n");
}

std::string training(const ModelCardInput& in, const Method& method) {
  const RunData& run = in.run;
  std::string out = "## Training\n\n| | |\n|---|---|\n";
  const auto row = [&](const char* name, const std::string& text) {
    if (!text.empty()) out += message("| ", name, " | ", cell(text), " |\n");
  };
  row("method", method.name);
  if (const std::string preset = value_of(run, "rl.preset"); !preset.empty()) row("settings", message("preset `", preset, "`", in.settings_source.empty() ? "" : " (" + in.settings_source + ")"));
  row("start weights", in.base_model.empty() ? without_folders(value_of(run, "model.path")) : in.base_model);
  std::string data = value_of(run, "data.path");
  if (data.empty() && !value_of(run, "data.generate.task").empty())
    data = message("built-in task ", value_of(run, "data.generate.task"), ", level ", value_of(run, "data.generate.level"), ", ", value_of(run, "data.generate.n"), " rows");
  row("data", without_folders(data));
  std::string rewards;
  for (const ConfigLine& line : run.config)
    if (line.key.starts_with("rewards.") && line.key.ends_with(".as")) {
      const std::string weight = value_of(run, line.key.substr(0, line.key.size() - 2) + "weight", "1");
      rewards += message(rewards.empty() ? "" : ", ", line.value, " x ", human_number(std::strtod(weight.c_str(), nullptr)));
    }
  row("rewards", rewards);
  row("prompt", message("template `", value_of(run, "data.template", "chat"), "`", value_of(run, "data.instruction").empty() ? "" : ", instruction " + json_quote(value_of(run, "data.instruction")),
                        value_of(run, "data.system_prompt").empty() ? "" : ", system prompt " + json_quote(value_of(run, "data.system_prompt"))));
  row("checkpoint", in.checkpoint + (run.finished ? "" : " of a run that is not finished"));
  row("seed", run.seed);
  if (!run.starts.empty()) {
    const auto fact = [&](const char* key) { const auto it = run.starts.back().find(key); return it == run.starts.back().end() ? std::string() : it->second; };
    row("device", fact("device") == "cpu" ? fact("cpu") : fact("device"));
    row("last start", fact("time").substr(0, 10));
    row("program", message("r1.cpp ", fact("r1"), fact("commit").empty() ? "" : " (commit " + fact("commit") + ")"));
  }
  for (const CheckpointInfo& c : run.checkpoints)
    if (c.name == in.checkpoint && !c.digest.empty()) row("digest", message("`", c.digest, "` (XXH3-128 of the checkpoint's files, its training state among them)"));
  row("configuration", run.config_digest.empty() ? "" : message("`", run.config_digest, "`"));
  out += "\n<details><summary>What the recipe sets (the rest are the program's defaults)</summary>\n\n```\n";
  for (const ConfigLine& line : run.config)
    if (line.origin != "default" && !line.key.starts_with("output.") && line.key != "schema") out += message(line.key, "=", without_folders(line.value), "\n");
  return out + "```\n</details>\n\n";
}

std::string citation(const std::vector<std::string>& papers) {
  std::string out = "## Citation\n\n```bibtex\n";
  for (const std::string& id : papers) {
    const auto known = std::find_if(kPapers.begin(), kPapers.end(), [&](const Paper& p) { return id == p.id; });
    out += message("@misc{arxiv", id, ",\n", known == kPapers.end() ? "" : message("  title = {", known->title, "},\n"), "  eprint = {", id, "},\n  archivePrefix = {arXiv}\n}\n");
  }
  return out + "@software{r1cpp,\n  title = {r1.cpp: reinforcement-learning post-training of language models in C++}\n}\n```\n";
}

}  // namespace

std::string model_card(const ModelCardInput& in) {
  Method method = method_of(in.run);
  add_papers(method.papers, in.settings_source);
  const std::string digits = in.checkpoint.substr(std::min(in.checkpoint.find_first_of("0123456789"), in.checkpoint.size()));
  const std::vector<Measured> numbers = measured(in.run, digits.empty() ? 1e18 : std::strtod(digits.c_str(), nullptr));
  const std::string start = in.base_model.empty() ? without_folders(value_of(in.run, "model.path")) : message("[", in.base_model, "](https://huggingface.co/", in.base_model, ")");
  std::string out = metadata(in, method, numbers);
  out += message("# ", in.name.substr(in.name.rfind('/') + 1), "\n\n", start.empty() ? "A model" : start, " after ", method.name, " with r1.cpp.\n\n");
  out += use(in) + evaluation(in, numbers) + training(in, method) + citation(method.papers);
  return out + message("\nWritten by ", in.program, " from the run's own records.\n");
}

}  // namespace r1::report
