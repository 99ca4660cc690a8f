#include "distill/regenerate.h"

#include <algorithm>

#include "core/error.h"
#include "distill/draw.h"
#include "distill/engines.h"
#include "distill/raw_json.h"
#include "distill/rewrite.h"

namespace r1 {
namespace {

using raw::Json;

// Takes the samples that it asks for, and keeps them.
class Counter : public WorkSource {
 public:
  Counter(Work work, std::vector<Drawn>& out) : work_(work), out_(out) {}
  std::optional<Work> next(bool, int most) override {
    if (work_.count == 0) return std::nullopt;
    Work part = work_;
    part.count = std::min(part.count, most);
    work_.first += part.count;
    work_.count -= part.count;
    return part;
  }
  void done(std::size_t, int sample, Drawn drawn) override { out_.at(static_cast<std::size_t>(sample)) = std::move(drawn); }

 private:
  Work work_;
  std::vector<Drawn>& out_;
};

}  // namespace

RecordOrigin origin_of(const std::string& record) {
  try {
    const Json row = Json::parse(record);
    const Json& from = row.at("provenance");
    RecordOrigin o;
    const auto text = [&](const char* key) { return from.at(key).is_null() ? std::string() : from.at(key).get<std::string>(); };
    if (!from.at("local").get<bool>())
      throw ConfigError(message("the record was drawn by a server's model (", text("model"), "), whose sampling cannot be repeated from here"));
    TeacherInfo t{text("model"), text("dtype"),           text("template"), text("template_digest"), text("template_variables"),
                  true,          raw::sampling_from(from)};
    o.header.seed = from.at("seed").get<std::uint64_t>();
    o.header.rewards = text("rewards_config");
    o.header.teachers = {t};
    o.prompt_index = from.at("prompt_index").get<std::size_t>();
    o.sample = from.at("sample").get<int>();
    o.samples = from.at("samples").get<int>();
    o.program = text("program");
    o.model_digest = text("model_digest");
    o.prompt.prompt.id = row.at("prompt_id").get<std::string>();
    o.prompt.prompt.task = row.at("task").get<std::string>();
    o.prompt.prompt.reference = row.at("answer").get<std::string>();
    const Json& messages = row.at("messages");
    for (std::size_t i = 0; i + 1 < messages.size(); ++i)
      o.prompt.prompt.messages.push_back({messages[i].at("role").get<std::string>(), messages[i].at("content").get<std::string>()});
    o.prompt.renders = {{text("prompt_digest"), text("prefill")}};
    if (!row.at("pass_rate").is_null()) o.pass_rate = row.at("pass_rate").get<double>();
    if (row.contains("rewards"))
      for (const auto& [label, value] : row.at("rewards").items()) o.labels.push_back(label);
    if (row.contains("columns")) {
      o.columns = true;
      for (const auto& [name, value] : row.at("columns").items()) o.prompt.prompt.columns[name] = value.dump();
    }
    if (from.contains("rewriter")) {
      RewriterInfo& r = o.rewriter.emplace();
      r.name = text("rewriter");
      r.local = from.at("rewriter_local").get<bool>();
      r.dtype = text("rewriter_dtype");
      r.temperature = from.at("rewriter_temperature").get<double>();
      r.max_new_tokens = from.at("rewriter_max_new_tokens").get<int>();
      r.seed = from.at("rewriter_seed").get<std::uint64_t>();
      r.prompt = text("rewriter_prompt");
      if (!r.local)
        throw ConfigError(message("the record was rewritten by a server's model (", r.name, "), whose sampling cannot be repeated from here"));
    }
    return o;
  } catch (const Json::exception& e) {
    throw DataError(message("this is no record of r1 generate (", e.what(), ")"));
  }
}

std::string redraw(const RecordOrigin& o, const Prompt& rendered, RolloutEngine& engine, std::shared_ptr<const Tokenizer> tokenizer,
                   const Rubric* rubric, const ChatClient& rewriter) {
  const TeacherInfo& info = o.header.teachers.at(0);
  std::vector<SampleTeacher> teachers(1);
  teachers[0].prompts = {rendered};
  const RawPrompt prompt = raw_prompts(teachers).at(0);
  if (prompt.renders[0].digest != o.prompt.renders[0].digest)
    throw DataError(
        "the prompt is rendered otherwise than when the record was drawn: another tokenizer or chat template, or a row with tools, which a record "
        "does not keep");
  // Prompts are keyed by their number in the data.
  std::vector<Prompt> prompts(o.prompt_index + 1);
  prompts[o.prompt_index] = rendered;
  const bool all = rubric != nullptr;
  std::vector<Drawn> drawn(static_cast<std::size_t>(o.samples));
  Counter counter(all ? Work{o.prompt_index, 0, o.samples} : Work{o.prompt_index, o.sample, 1}, drawn);
  make_rollout_source(info.name, engine, prompts, info.sampling, o.header.seed, std::move(tokenizer))->run(counter);
  RawSample sample{0, o.prompt_index, o.sample, drawn.at(static_cast<std::size_t>(o.sample)), o.program};
  if (sample.drawn.digest != o.model_digest)
    throw DataError(message("the weights of ", info.name, " are not those that drew the record (digest ", sample.drawn.digest.substr(0, 8),
                            ", there ", o.model_digest.substr(0, 8), ")"));

  std::vector<Score> scores;
  if (rubric) {
    SampleGroup group;
    group.prompt = o.prompt.prompt;
    group.prompt.text = prompt.renders[0].prefill;
    for (Drawn& d : drawn) {
      Completion& c = group.completions.emplace_back();
      c.text = d.text;
      c.stop = d.stop;
      c.tokens = d.tokens;
    }
    scores = rubric->score(group);
  }
  const Score* score = rubric ? &scores.at(static_cast<std::size_t>(o.sample)) : nullptr;
  RawPrompt out_prompt = o.prompt;
  out_prompt.renders = prompt.renders;
  std::optional<RawRewrite> rewrite;
  if (o.rewriter) {
    const RewriteTask task{o.prompt.prompt, o.prompt_index, o.sample, whole_text(prompt.renders[0], sample.drawn), score};
    rewrite = rewrite_one(task, *o.rewriter, rewriter, FilterChain({}), rubric);
  }
  return make_record(o.header, out_prompt, sample, score, o.pass_rate, o.samples, o.labels, o.rewriter ? &*o.rewriter : nullptr,
                     rewrite ? &*rewrite : nullptr, o.columns);
}

std::string first_difference(const std::string& record, const std::string& again) {
  if (record == again) return "";
  const Json a = Json::parse(record).flatten(), b = Json::parse(again).flatten();
  for (const auto& [path, value] : a.items()) {
    const auto it = b.find(path);
    if (it == b.end()) return message(path, " is missing now");
    if (*it != value) return message(path, ": ", value.dump().substr(0, 200), ", now ", it->dump().substr(0, 200));
  }
  return "the same values in another form";
}

}  // namespace r1
