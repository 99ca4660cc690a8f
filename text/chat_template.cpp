#include "text/chat_template.h"

#include "core/error.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"
#include "text/jinja_render.h"
#include "text/unicode.h"

namespace r1 {

// Our wording of the structure that DeepSeek-R1 (arXiv:2501.12948, table 1) gives to a base model.
const char* const kR1ZeroTemplate =
    "The following is an exchange between a User and an Assistant. The User poses a question and the Assistant solves "
    "it. "
    "Before replying, the Assistant works through the problem privately; then it gives the answer. Private work goes "
    "inside "
    "<think> </think> and the reply inside <answer> </answer>, that is: <think> working </think> <answer> reply "
    "</answer>.\n"
    "User: {question}. Assistant:";

struct ChatTemplate::Impl {
  std::string source;
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::string_view jinja_source) {
  if (!unicode::is_valid(jinja_source)) throw DataError("chat template: is no valid UTF-8");
  auto impl = std::make_unique<Impl>();
  impl->source = jinja::normalize_lines(jinja_source);
  impl->body = jinja::parse(impl->source);
  impl_ = std::move(impl);
}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

namespace {

std::string render_value(const jinja::Body& body, const std::string& source, jinja::Value messages,
                         const ChatTemplate::Options& options, jinja::Spans* generated = nullptr) {
  jinja::Dict variables;
  const auto set = [&](const char* name, jinja::Value value) { variables.set(jinja::Value(name), std::move(value)); };
  set("messages", std::move(messages));
  // transformers defines both always, as None where the caller gives none.
  set("tools", options.tools_json.empty() ? jinja::Value() : jinja::from_json(options.tools_json, "tools"));
  set("documents", jinja::Value());
  set("add_generation_prompt", options.add_generation_prompt);
  set("bos_token", options.bos_token);
  set("eos_token", options.eos_token);
  if (!options.variables_json.empty()) {
    const jinja::Value more = jinja::from_json(options.variables_json, "template variables");
    if (!more.dict()) throw DataError("template variables: expected a JSON object");
    for (const auto& [name, value] : more.dict()->items) variables.set(name, value);
  }
  return jinja::render(body, source, variables, generated);
}

jinja::Value parse_messages(std::string_view json) {
  jinja::Value messages = jinja::from_json(json, "messages");
  if (!messages.list()) throw DataError("messages: expected a JSON array of {role, content}");
  return messages;
}

}  // namespace

std::string ChatTemplate::render_json(std::string_view messages_json, const Options& options) const {
  return render_value(impl_->body, impl_->source, parse_messages(messages_json), options);
}

std::string ChatTemplate::render_json(std::string_view messages_json, const Options& options,
                                      std::vector<std::pair<std::size_t, std::size_t>>& generated) const {
  generated.clear();
  return render_value(impl_->body, impl_->source, parse_messages(messages_json), options, &generated);
}

std::string ChatTemplate::render(const std::vector<Message>& messages, const Options& options) const {
  jinja::List list;
  for (const Message& m : messages) {
    jinja::Dict d;
    d.set("role", m.role);
    d.set("content", m.content);
    list.emplace_back(std::move(d));
  }
  return render_value(impl_->body, impl_->source, std::move(list), options);
}

}  // namespace r1
