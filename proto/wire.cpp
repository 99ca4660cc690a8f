#include "proto/wire.h"

#include <cstdlib>

#include "core/error.h"

namespace r1 {

void to_wire(const Prompt& p, wire::Prompt& out) {
  out.set_id(valid_utf8(p.id));
  out.set_task(valid_utf8(p.task));
  out.set_text(valid_utf8(p.text));
  out.set_reference(valid_utf8(p.reference));
  for (const Message& m : p.messages) {
    wire::Message& message = *out.add_messages();
    message.set_role(valid_utf8(m.role));
    message.set_content(valid_utf8(m.content));
  }
  for (const auto& [name, json] : p.columns) (*out.mutable_columns())[valid_utf8(name)] = valid_utf8(json);
}

void to_wire(const SampleGroup& group, wire::ScoreRequest& out) {
  to_wire(group.prompt, *out.mutable_prompt());
  for (const Completion& c : group.completions) {
    wire::Completion& completion = *out.add_completions();
    completion.set_text(valid_utf8(c.text));
    completion.mutable_token_ids()->Add(c.tokens.begin(), c.tokens.end());
    completion.set_stop(static_cast<wire::StopReason>(static_cast<int>(c.stop) + 1));
  }
}

Prompt from_wire(const wire::Prompt& p) {
  Prompt out;
  out.id = p.id();
  out.task = p.task();
  out.text = p.text();
  out.reference = p.reference();
  for (const wire::Message& m : p.messages()) out.messages.push_back({m.role(), m.content()});
  out.columns.insert(p.columns().begin(), p.columns().end());
  return out;
}

SampleGroup from_wire(const wire::ScoreRequest& request) {
  SampleGroup out{from_wire(request.prompt()), {}};
  for (const wire::Completion& c : request.completions()) {
    Completion& completion = out.completions.emplace_back();
    completion.text = c.text();
    completion.tokens.assign(c.token_ids().begin(), c.token_ids().end());
    const int stop = c.stop();
    // Unspecified: a client that does not know it; the completion counts as ended.
    completion.stop = stop < 1 || stop > 4 ? StopReason::kEos : static_cast<StopReason>(stop - 1);
  }
  return out;
}

void to_wire(std::span<const RewardResult> results, wire::ScoreReply& out) {
  for (const RewardResult& r : results) {
    wire::Result& result = *out.add_results();
    if (r.value) result.set_value(*r.value);
    result.set_verdict(static_cast<wire::Verdict>(static_cast<int>(r.verdict) + 1));
    result.set_detail(valid_utf8(r.detail));
    for (const StepReward& s : r.steps) {
      wire::Step& step = *result.add_steps();
      step.set_token(s.token);
      step.set_value(s.value);
    }
    for (const auto& [name, text] : r.columns) {
      if (name.starts_with(kMetricColumn)) (*out.mutable_metrics())[valid_utf8(name.substr(kMetricColumn.size()))] = std::strtod(text.c_str(), nullptr);
      else (*result.mutable_columns())[valid_utf8(name)] = valid_utf8(text);
    }
  }
}

UserReply from_wire(const wire::ScoreReply& reply, const std::string& request_id) {
  if (!reply.error().empty()) throw Error(reply.traceback().empty() ? reply.error() : reply.error() + "\n" + reply.traceback());
  if (reply.request_id() != request_id)
    throw Error(message("the reply has the request id '", reply.request_id(), "' where '", request_id, "' was asked for; send each request's id back"));
  UserReply out;
  bool details = false;
  for (const wire::Result& r : reply.results()) {
    out.rewards.push_back(r.has_value() ? std::optional(r.value()) : std::nullopt);
    const int verdict = r.verdict();
    if (verdict < 0 || verdict > 6) throw Error(message("sample ", out.rewards.size() - 1, ": ", verdict, " is no verdict"));
    out.verdicts.emplace_back(verdict == 0 ? "" : to_string(static_cast<Verdict>(verdict - 1)));
    out.details.push_back(r.detail());
    details = details || !r.detail().empty();
    std::vector<StepReward>& steps = out.steps.emplace_back();
    for (const wire::Step& s : r.steps()) steps.push_back({s.token(), s.value()});
  }
  if (!details) out.details.clear();
  // Columns of some results only: the others have none.
  for (int i = 0; i < reply.results_size(); ++i)
    for (const auto& [name, text] : reply.results(i).columns()) {
      auto& column = out.columns[name];
      column.resize(static_cast<std::size_t>(reply.results_size()));
      column[static_cast<std::size_t>(i)] = text;
    }
  out.metrics.insert(reply.metrics().begin(), reply.metrics().end());
  return out;
}

GrpcTarget parse_grpc_target(const std::string& text) {
  std::string rest = text;
  for (const char* scheme : {"grpc://", "//"})
    if (rest.starts_with(scheme)) {
      rest = rest.substr(std::string_view(scheme).size());
      break;
    }
  const std::size_t slash = rest.rfind('/');
  GrpcTarget out;
  if (slash != std::string::npos) {
    out.address = rest.substr(0, slash);
    out.reward = rest.substr(slash + 1);
  }
  try {
    out.loopback = is_loopback_address(out.address);
  } catch (const ConfigError&) {
    out.address.clear();
  }
  if (out.address.empty() || out.reward.empty()) throw ConfigError(message("= ", text, "; write HOST:PORT/NAME"));
  return out;
}

}  // namespace r1
