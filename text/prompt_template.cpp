#include "text/prompt_template.h"

#include "core/error.h"
#include "text/row_columns.h"

namespace r1 {

PromptTemplate load_prompt_template(const DatasetOptions& options, const Tokenizer& tokenizer) {
  PromptTemplate out;
  const std::string& kind = options.prompt_template;
  std::string jinja;
  if (kind == "chat") {
    jinja = tokenizer.chat_template();
    if (jinja.empty())
      throw ConfigError(
          "data.template is chat, but the model has no chat template; use r1_zero, none, or file with "
          "data.template_file");
  } else if (kind == "r1_zero") {
    out.plain = kR1ZeroTemplate;
  } else if (kind == "none") {
    out.plain = "{question}";
  } else if (kind == "file") {
    const std::string text = read_template(options.template_file);
    const bool is_plain = text.find("{question}") != std::string::npos;
    (is_plain ? out.plain : jinja) = text;
    if (!is_plain && text.find("{{") == std::string::npos) {
      throw ConfigError(
          message("data.template_file ", options.template_file, " holds neither {question} nor a Jinja template"));
    }
  } else {
    throw ConfigError(message("data.template \"", kind, "\" is unknown; use chat, r1_zero, none or file"));
  }
  if (!options.template_file.empty() && kind != "file") {
    throw ConfigError(
        message("data.template_file has no effect with data.template ", kind, "; use data.template: file"));
  }
  if (!jinja.empty()) {
    with_context("chat template of the data", [&] { out.chat = std::make_unique<ChatTemplate>(jinja); });
    const auto token = [&](std::optional<TokenId> id) {
      return id ? tokenizer.token_bytes(*id) : std::string();
    };
    out.chat_options.bos_token = token(tokenizer.bos());
    out.chat_options.eos_token = token(tokenizer.eos());
    out.chat_options.variables_json = options.template_variables;
  } else {
    for (const auto& [name, value] : {std::pair("data.system_prompt", &options.system_prompt),
                                      {"data.template_variables", &options.template_variables}}) {
      if (!value->empty())
        throw ConfigError(message(name, " has no effect with data.template ", kind, "; it needs a chat template"));
    }
  }
  return out;
}

std::string PromptTemplate::fill(const std::string& question) const {
  const std::string mark = "{question}";
  std::string out;
  for (std::size_t from = 0, hit; from <= plain.size(); from = hit + mark.size()) {
    hit = plain.find(mark, from);
    out.append(plain, from, hit - from);
    if (hit == std::string::npos) break;
    out += question;
  }
  return out;
}

}  // namespace r1
