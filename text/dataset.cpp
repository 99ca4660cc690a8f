// Rows to prompts: columns, templates, checks.
#include "text/dataset.h"

#include <algorithm>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/prompt_template.h"
#include "text/row_columns.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPromptColumns[] = {"prompt", "messages", "question", "problem", "instruction", "query", "input"};
constexpr const char* kAnswerColumns[] = {
    "reward_model.ground_truth", "answer", "solution", "final", "ground_truth", "golden", "reference"};

// "... #### 72" of GSM8K: the text behind the last mark; other answers as they are.
std::string reference_of(const std::string& answer) {
  const std::size_t mark = answer.rfind("####");
  if (mark == std::string::npos) return answer;
  const std::size_t begin = answer.find_first_not_of(" \t\r\n", mark + 4);
  if (begin == std::string::npos) return answer;
  return answer.substr(begin, answer.find_last_not_of(" \t\r\n") + 1 - begin);
}

// Everything of a prompt but the question.
Prompt row_fields(const DatasetOptions& o, const Row& row, std::int64_t number) {
  const std::string at = where(row);
  const auto named = [&](const std::string& column, const char* option) {
    Json value = find_column(row, column);
    if (value.is_discarded())
      throw DataError(
          message(at, ": there is no column \"", column, "\" (", option, "); the columns are: ", column_names(row)));
    return text_of(value);
  };
  Prompt out;
  out.columns = row.columns;
  out.id = o.id_column.empty() ? text_of(find_column(row, "id")) : named(o.id_column, "data.id");
  if (out.id.empty()) out.id = std::to_string(number);
  out.task = o.task_column.empty() ? text_of(find_column(row, "task")) : named(o.task_column, "data.task_column");
  if (out.task.empty()) out.task = o.task;
  std::string answer;
  if (!o.answer_column.empty()) {
    answer = named(o.answer_column, "data.answer");
  } else {
    for (const char* name : kAnswerColumns) {
      const Json value = find_column(row, name);
      if (value.is_discarded()) continue;
      answer = text_of(value);
      if (value.is_null()) continue;  // mixed files: the answer may stand in another column
      break;
    }
  }
  out.reference = reference_of(answer);
  return out;
}

}  // namespace

Prompt unrendered_prompt(const DatasetOptions& o, const Row& row, std::int64_t number) {
  Prompt out = row_fields(o, row, number);
  Json question(Json::value_t::discarded);
  if (!o.prompt_column.empty()) {
    question = find_column(row, o.prompt_column);
    if (question.is_discarded())
      throw DataError(message(where(row), ": there is no column \"", o.prompt_column, "\"; the columns are: ", column_names(row)));
  }
  for (const char* name : kPromptColumns) {
    if (!question.is_discarded()) break;
    question = find_column(row, name);
  }
  if (question.is_string()) {
    out.text = question.get<std::string>();
    out.messages.push_back({"user", out.text});
  } else if (question.is_array()) {
    for (const Json& m : question)
      if (m.is_object() && m.contains("role") && m["role"].is_string())
        out.messages.push_back({m["role"].get<std::string>(), content_of(m, where(row))});
    if (!out.messages.empty()) out.text = out.messages.back().content;
  }
  return out;
}

struct PromptMaker::Impl {
  DatasetOptions options;
  std::shared_ptr<const Tokenizer> tokenizer;
  PromptTemplate layout;

  Json question_of(const Row& row) const;
  Json conversation(const Json& value, const std::string& at) const;
  void render(const Json& messages, const std::string& tools, const std::string& at, Prompt& out) const;
};

PromptMaker::PromptMaker(DatasetOptions options, std::shared_ptr<const Tokenizer> tokenizer) {
  auto impl = std::make_unique<Impl>();
  if (tokenizer) {
    impl->layout = load_prompt_template(options, *tokenizer);
    impl->tokenizer = std::move(tokenizer);
  } else {
    if (options.prompt_template != "chat")
      throw ConfigError(message("data.template ", options.prompt_template,
                                " has no effect on a model that is asked in messages: its server applies the chat template"));
    if (!options.template_variables.empty())
      throw ConfigError("data.template_variables has no effect on a model that is asked in messages: its server applies the chat template");
    if (options.max_prompt_tokens > 0) throw ConfigError("data.max_prompt_tokens needs the model's tokenizer, which a server keeps to itself");
  }
  impl->options = std::move(options);
  impl_ = std::move(impl);
}
PromptMaker::~PromptMaker() = default;
PromptMaker::PromptMaker(PromptMaker&&) noexcept = default;

// The prompt column: a text or a list of messages.
Json PromptMaker::Impl::question_of(const Row& row) const {
  if (!options.prompt_column.empty()) {
    Json value = find_column(row, options.prompt_column);
    if (!value.is_discarded()) return value;
    throw DataError(message(where(row), ": there is no column \"", options.prompt_column,
                            "\" (data.prompt); the columns are: ", column_names(row)));
  }
  for (const char* name : kPromptColumns) {
    Json value = find_column(row, name);
    if (!value.is_discarded() && !value.is_null()) return value;
  }
  throw DataError(message(where(row), ": no prompt column was found; set data.prompt to one of: ", column_names(row)));
}

// A list of messages with the system prompt and the suffix put in.
Json PromptMaker::Impl::conversation(const Json& value, const std::string& at) const {
  Json messages = Json::array();
  if (value.is_string()) {
    if (value.get_ref<const std::string&>().find_first_not_of(" \t\r\n") == std::string::npos)
      throw DataError(message(at, ": the prompt is empty"));
    messages.push_back({{"role", "user"}, {"content", value}});
  } else if (value.is_array() && !value.empty()) {
    messages = value;
  } else {
    throw DataError(
        message(at, ": the prompt must be a text or a list of {role, content}, it is ", value.dump().substr(0, 80)));
  }
  Json* last_user = nullptr;
  for (Json& m : messages) {
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string()) {
      throw DataError(message(at, ": a message of the prompt is no {role, content}: ", m.dump().substr(0, 80)));
    }
    if (m["role"] == "user") last_user = &m;
  }
  if (messages.back()["role"] == "assistant") {
    throw DataError(message(at,
                            ": the prompt ends with an assistant turn, so there is nothing to answer; cut that turn or "
                            "name another column in data.prompt"));
  }
  if (!options.prompt_suffix.empty()) {
    if (!last_user) throw DataError(message(at, ": data.prompt_suffix needs a user turn in the prompt"));
    (*last_user)["content"] = content_of(*last_user, at) + options.prompt_suffix;
  }
  if (!options.system_prompt.empty() && messages[0]["role"] != "system") {
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", options.system_prompt}});
  }
  return messages;
}

void PromptMaker::Impl::render(const Json& messages, const std::string& tools, const std::string& at,
                               Prompt& out) const {
  for (const Json& m : messages) out.messages.push_back({m["role"].get<std::string>(), content_of(m, at)});
  if (!tokenizer) {
    out.text = out.messages.back().content;
    return;
  }
  if (layout.chat) {
    ChatTemplate::Options o = layout.chat_options;
    o.tools_json = tools;
    out.text = with_context(at, [&] { return layout.chat->render_json(messages.dump(), o); });
    out.tokens = tokenizer->encode(out.text, false);  // the template writes its own BOS
  } else {
    if (out.messages.size() != 1) {
      throw DataError(message(at, ": the prompt has ", out.messages.size(), " turns, but data.template ",
                              options.prompt_template, " has room for one question; use a chat template"));
    }
    out.text = layout.fill(out.messages[0].content);
    out.tokens = tokenizer->encode(out.text, true);
  }
  if (out.tokens.empty()) throw DataError(message(at, ": the prompt is empty"));
  const auto n = static_cast<std::int64_t>(out.tokens.size());
  if (options.max_prompt_tokens > 0 && n > options.max_prompt_tokens) {
    throw DataError(message(at, out.id.empty() ? "" : " (id " + out.id + ")", ": the prompt has ", n,
                            " tokens, data.max_prompt_tokens is ", options.max_prompt_tokens,
                            "; raise it, shorten the row, or set data.on_error: skip"));
  }
}

Prompt PromptMaker::make_prompt(const Row& row, std::int64_t number) const {
  const std::string at = where(row);
  Prompt out = row_fields(impl_->options, row, number);
  impl_->render(impl_->conversation(impl_->question_of(row), at), tools_of(row), at, out);
  return out;
}

Prompt PromptMaker::make_prompt(const std::string& question) const {
  Prompt out;
  impl_->render(impl_->conversation(Json(question), "prompt"), "", "prompt", out);
  return out;
}

Prompt PromptMaker::make_prompt(const std::vector<Message>& messages) const {
  Json list = Json::array();
  for (const Message& m : messages) list.push_back({{"role", m.role}, {"content", m.content}});
  Prompt out;
  impl_->render(impl_->conversation(list, "conversation"), "", "conversation", out);
  return out;
}

PromptSet load_prompts(const DatasetOptions& options, std::shared_ptr<const Tokenizer> tokenizer) {
  const PromptMaker maker(options, std::move(tokenizer));
  PromptSet set;
  RowReader reader(options, &set.skipped);
  std::unordered_map<std::string, std::string> seen;  // where each id stands
  std::int64_t number = 0;
  for (Row row; reader.next(row);) {
    ++number;
    try {
      Prompt prompt = maker.make_prompt(row, number);
      const auto [it, is_new] = seen.try_emplace(prompt.id, where(row));
      if (!is_new) {
        throw DataError(message(where(row), ": the id \"", prompt.id, "\" is that of ", it->second,
                                " too; ids must be unique: name another column in data.id"));
      }
      set.prompts.push_back(std::move(prompt));
    } catch (const DataError& e) {
      if (!options.skip_bad_rows) throw;
      set.skipped.push_back(e.what());
    }
  }
  if (set.prompts.empty()) {
    throw DataError(message("no usable row in the data",
                            set.skipped.empty()
                                ? ""
                                : message(": all ", set.skipped.size(), " were skipped, the first: ", set.skipped[0])));
  }
  return set;
}

}  // namespace r1
