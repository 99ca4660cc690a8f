#include "sft/examples.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/row_columns.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPromptColumns[] = {"prompt", "question", "problem", "instruction", "query", "input"};
constexpr const char* kCompletionColumns[] = {"completion", "response", "output", "solution", "answer"};

// The named column, or the first of the usual ones; discarded if there is none.
template <std::size_t N>
Json column(const Row& row, const std::string& named, const char* key, const char* const (&usual)[N]) {
  if (!named.empty()) {
    Json value = find_column(row, named);
    if (value.is_discarded())
      throw DataError(message(where(row), ": there is no column \"", named, "\" (", key, "); the columns are: ", column_names(row)));
    return value;
  }
  for (const char* name : usual)
    if (Json value = find_column(row, name); !value.is_discarded()) return value;
  return Json(Json::value_t::discarded);
}

bool blank(const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; }

// A text is one turn of `role`.
Json turns_of(const Json& value, const char* role, const std::string& at) {
  if (value.is_array() && !value.empty()) return value;
  if (!value.is_string()) throw DataError(message(at, ": expected a text or a list of {role, content}, not ", value.dump().substr(0, 80)));
  if (blank(value.get_ref<const std::string&>()))
    throw DataError(message(at, ": the ", role == std::string("user") ? "prompt" : "completion", " is empty"));
  return Json::array({Json{{"role", role}, {"content", value}}});
}

}  // namespace

std::int64_t trained_tokens(const SftExample& e) { return std::count(e.loss_mask.begin(), e.loss_mask.end(), std::uint8_t{1}); }

Overlong parse_overlong(std::string_view name) {
  if (name == "error") return Overlong::kError;
  if (name == "skip") return Overlong::kSkip;
  if (name == "truncate") return Overlong::kTruncate;
  throw ConfigError(message("data.overlong is \"", name, "\"; it can be error, skip, truncate"));
}

SftExampleMaker::SftExampleMaker(SftRowOptions options, std::shared_ptr<const Tokenizer> tokenizer, std::vector<TokenId> stop_tokens)
    : options_(std::move(options)), maker_(options_.dataset, std::move(tokenizer), std::move(stop_tokens)) {}

std::vector<TrainingText> SftExampleMaker::texts(const Row& row) const {
  const std::string at = where(row);
  const std::string tools = tools_of(row);
  constexpr const char* kMessages[] = {"messages"};
  const bool columns_named = !options_.dataset.prompt_column.empty() || !options_.completion_column.empty();
  if (!columns_named) {
    const Json conversation = column(row, options_.messages_column, "data.messages", kMessages);
    if (!conversation.is_discarded()) return maker_.make(conversation.dump(), 0, tools, at);
  }
  const Json prompt = column(row, options_.dataset.prompt_column, "data.prompt", kPromptColumns);
  const Json completion = column(row, options_.completion_column, "data.completion", kCompletionColumns);
  if (prompt.is_discarded() && completion.is_discarded()) {
    const Json text = find_column(row, "text");
    if (text.is_string()) return {maker_.make_text(text.get<std::string>(), at)};
  }
  if (prompt.is_discarded() || completion.is_discarded())
    throw DataError(message(at, ": no ", prompt.is_discarded() ? "prompt" : "completion",
                            " column was found; set data.messages, or data.prompt and data.completion; the columns are: ", column_names(row)));
  if (maker_.has_chat_template()) {
    Json messages = turns_of(prompt, "user", at);
    const std::size_t first = messages.size();
    for (const Json& t : turns_of(completion, "assistant", at)) messages.push_back(t);
    return maker_.make(messages.dump(), first, tools, at);
  }
  const std::string answer = text_of(completion);
  if (!prompt.is_string() || !completion.is_string())
    throw DataError(message(at, ": prompt and completion must be texts where data.template is ", options_.dataset.prompt_template));
  if (blank(answer)) throw DataError(message(at, ": the completion is empty"));
  return {maker_.make_plain(prompt.get<std::string>(), answer, at)};
}

void SftExampleMaker::add(const Row& row, SftRows& out) const {
  std::vector<TrainingText> made = texts(row);
  out.split += made.size() > 1;
  for (std::size_t k = 0; k < made.size(); ++k) {
    SftExample e{made.size() == 1 ? where(row) : message(where(row), "#", k + 1), std::move(made[k].tokens), std::move(made[k].loss_mask)};
    const auto n = static_cast<std::int64_t>(e.tokens.size());
    if (options_.max_length > 0 && n > options_.max_length) {
      if (options_.overlong == Overlong::kError)
        throw DataError(message(e.name, ": the example has ", n, " tokens, data.max_length is ", options_.max_length,
                                "; raise it, or set data.overlong to skip or truncate"));
      if (options_.overlong == Overlong::kTruncate) {
        e.tokens.resize(static_cast<std::size_t>(options_.max_length));
        e.loss_mask.resize(static_cast<std::size_t>(options_.max_length));
      }
      const std::int64_t left = options_.overlong == Overlong::kTruncate ? trained_tokens(e) : 0;
      ++(left > 0 ? out.truncated : out.too_long);  // a cut that leaves nothing to train leaves the example out
      if (left == 0) continue;
    }
    if (trained_tokens(e) == 0) throw DataError(message(e.name, ": nothing in it is the assistant's, so there is nothing to train on"));
    out.examples.push_back(std::move(e));
  }
}

namespace {

SftRows checked_rows(const std::vector<Row>& rows, const SftRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                     const std::vector<TokenId>& stop_tokens, std::vector<std::string> skipped) {
  const SftExampleMaker maker(options, std::move(tokenizer), stop_tokens);
  SftRows out;
  out.skipped = std::move(skipped);
  out.rows = static_cast<std::int64_t>(rows.size());
  for (const Row& row : rows) {
    try {
      maker.add(row, out);
    } catch (const DataError& e) {
      if (!options.dataset.skip_bad_rows) throw;
      out.skipped.push_back(e.what());
    }
  }
  if (out.examples.empty())
    throw DataError(message("no usable example in the data: ", out.rows, " rows read, ", out.skipped.size(), " bad, ", out.too_long,
                            " above max_length", out.skipped.empty() ? "" : message("; the first bad one: ", out.skipped.front())));
  return out;
}

}  // namespace

SftRows make_sft_rows(const std::vector<Row>& rows, const SftRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                      const std::vector<TokenId>& stop_tokens) {
  return checked_rows(rows, options, std::move(tokenizer), stop_tokens, {});
}

SftRows load_sft_rows(const SftRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer, const std::vector<TokenId>& stop_tokens) {
  std::vector<std::string> skipped;
  const std::vector<Row> rows = read_rows(options.dataset, &skipped);
  return checked_rows(rows, options, std::move(tokenizer), stop_tokens, std::move(skipped));
}

std::string marked_text(const SftExample& example, const Tokenizer& tokenizer, const std::function<std::string(const std::string&)>& mark) {
  std::string out;
  for (std::size_t begin = 0, end = 0; begin < example.tokens.size(); begin = end) {
    while (end < example.tokens.size() && example.loss_mask[end] == example.loss_mask[begin]) ++end;
    const auto at = [&](std::size_t i) { return example.tokens.begin() + static_cast<std::ptrdiff_t>(i); };
    const std::string piece = tokenizer.decode({at(begin), at(end)}, false);
    out += example.loss_mask[begin] ? mark(piece) : piece;
  }
  return out;
}

}  // namespace r1
