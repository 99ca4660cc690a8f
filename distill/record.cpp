#include "distill/record.h"

#include "core/digest.h"
#include "core/error.h"
#include "distill/raw_json.h"

namespace r1 {

using raw::Json;

std::string RewriterInfo::id() const {
  Hasher h;
  for (const std::string& part : {name, dtype, message(local, " ", temperature, " ", max_new_tokens, " ", seed), prompt}) h.update_field(part);
  return to_hex(h.digest());
}

std::string make_record(const RawHeader& header, const RawPrompt& prompt, const RawSample& sample, const Score* score,
                        std::optional<double> pass_rate, int samples, const std::vector<std::string>& labels, const RewriterInfo* rewriter,
                        const RawRewrite* rewrite, bool columns) {
  const TeacherInfo& teacher = header.teachers.at(sample.teacher);
  const RawPrompt::Render& render = prompt.renders.at(sample.teacher);
  const Drawn& d = sample.drawn;
  const std::string text = whole_text(render, d);
  if (rewrite) score = score ? &rewrite->score : nullptr;
  const Json scored = score ? raw::to_json(*score) : Json();

  Json row = Json::object();
  row["messages"] = raw::messages_json(prompt.prompt.messages);
  row["messages"].push_back({{"role", "assistant"}, {"content", rewrite ? rewrite->text : text}});
  row["prompt_id"] = prompt.prompt.id;
  row["task"] = prompt.prompt.task;
  row["answer"] = prompt.prompt.reference;
  row["reward"] = score ? scored.at("reward") : Json();
  row["verdict"] = score ? scored.at("verdict") : Json();
  row["pass_rate"] = pass_rate ? Json(*pass_rate) : Json();
  Json rewards = Json::object();
  for (const std::string& label : labels) rewards[label] = score && score->parts.contains(label) ? scored.at("parts").at(label) : Json();
  if (!labels.empty()) row["rewards"] = rewards;
  if (columns) {
    Json& own = row["columns"] = Json::object();
    for (const auto& [name, value] : prompt.prompt.columns) own[name] = Json::parse(value);
  }

  Json& from = row["provenance"] = Json::object();
  from["program"] = sample.program;
  from["model"] = teacher.name;
  from["local"] = teacher.local;
  from["model_digest"] = d.digest.empty() ? Json() : Json(d.digest);
  from["dtype"] = teacher.dtype;
  from["template"] = teacher.prompt_template;
  from["template_digest"] = teacher.template_digest;
  from["template_variables"] = teacher.template_variables;
  from["prompt_digest"] = render.digest;
  from["prefill"] = render.prefill;
  from["seed"] = header.seed;
  from["prompt_index"] = sample.prompt;
  from["sample"] = sample.sample;
  from["samples"] = samples;
  from.update(raw::sampling_json(teacher.sampling));
  from["stop_reason"] = to_string(d.stop);
  from["stop_text"] = d.stop_text;
  from["tokens"] = d.num_tokens >= 0 ? Json(d.num_tokens) : Json();
  from["logprob"] = d.logprob ? Json(*d.logprob) : Json();
  from["detail"] = score ? Json(score->detail) : Json();
  from["rewards_config"] = header.rewards;
  if (rewriter) {
    from["rewriter"] = rewriter->name;
    from["rewriter_local"] = rewriter->local;
    from["rewriter_dtype"] = rewriter->dtype;
    from["rewriter_temperature"] = rewriter->temperature;
    from["rewriter_max_new_tokens"] = rewriter->max_new_tokens;
    from["rewriter_seed"] = rewriter->seed;
    from["rewriter_prompt"] = rewriter->prompt;
    from["source"] = text;
  }
  return raw::to_line(row);
}

}  // namespace r1
