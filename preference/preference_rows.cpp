#include "preference/preference_rows.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/row_columns.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPromptColumns[] = {"prompt", "messages", "question", "problem", "instruction", "query", "input"};

class Maker {
 public:
  Maker(const PreferenceRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer, const std::vector<TokenId>& stop_tokens)
      : options_(options), maker_(plain(options.sft), std::move(tokenizer), stop_tokens) {}

  void add(const Row& row, PreferenceRows& out) const {
    const std::string at = where(row);
    if (options_.pairs) {
      Json chosen = required(row, options_.chosen_column, "chosen"), rejected = required(row, options_.rejected_column, "rejected");
      Json prompt = find_prompt(row);
      if (prompt.is_discarded()) prompt = take_common_turns(chosen, rejected, at);
      if (chosen == rejected) throw DataError(message(at, ": chosen and rejected are the same answer"));
      add_answers(row, prompt, {chosen, rejected}, out);
      return;
    }
    const double label = label_of(required(row, options_.label_column, "label"), at);
    Json prompt = find_prompt(row), response = find_response(row);
    if (prompt.is_discarded()) throw DataError(message(at, ": no prompt column was found; set data.prompt; the columns are: ", column_names(row)));
    if (response.is_discarded()) {  // a conversation that ends with it
      if (!prompt.is_array() || prompt.size() < 2)
        throw DataError(message(at, ": no response column was found; set data.response; the columns are: ", column_names(row)));
      response = Json::array({prompt.back()});
      prompt.erase(prompt.size() - 1);
    }
    if (add_answers(row, prompt, {response}, out)) out.set.labels.push_back(label);
  }

 private:
  // What the two pseudo rows below need: columns of fixed names.
  static SftRowOptions plain(SftRowOptions o) {
    o.dataset.prompt_column = "prompt";
    o.completion_column = "completion";
    return o;
  }
  static Json required(const Row& row, const std::string& named, const char* usual) {
    Json value = find_column(row, named.empty() ? usual : named);
    if (value.is_discarded())
      throw DataError(message(where(row), ": there is no column \"", named.empty() ? usual : named, "\"; set data.", usual,
                              "; the columns are: ", column_names(row)));
    return value;
  }
  Json find_prompt(const Row& row) const {
    if (!options_.sft.dataset.prompt_column.empty()) return required(row, options_.sft.dataset.prompt_column, "prompt");
    for (const char* name : kPromptColumns)
      if (Json value = find_column(row, name); !value.is_discarded()) return value;
    return Json(Json::value_t::discarded);
  }
  Json find_response(const Row& row) const {
    if (!options_.response_column.empty()) return required(row, options_.response_column, "response");
    for (const char* name : {"response", "completion", "output", "answer"})
      if (Json value = find_column(row, name); !value.is_discarded()) return value;
    return Json(Json::value_t::discarded);
  }
  // Two conversations that begin alike: their common turns, which are taken out of both.
  static Json take_common_turns(Json& chosen, Json& rejected, const std::string& at) {
    std::size_t n = 0;
    if (chosen.is_array() && rejected.is_array())
      while (n + 1 < std::min(chosen.size(), rejected.size()) && chosen[n] == rejected[n]) ++n;
    if (n == 0)
      throw DataError(message(at, ": there is no prompt column, and chosen and rejected are not conversations that begin alike; set data.prompt"));
    const auto cut = [&](Json& turns, std::size_t first, std::size_t last) {
      Json part = Json::array();
      for (std::size_t i = first; i < last; ++i) part.push_back(turns[i]);
      return part;
    };
    const Json prompt = cut(chosen, 0, n);
    chosen = cut(chosen, n, chosen.size());
    rejected = cut(rejected, n, rejected.size());
    return prompt;
  }
  static double label_of(const Json& value, const std::string& at) {
    if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
    if (value.is_number() && value.get<double>() >= 0 && value.get<double>() <= 1) return value.get<double>();
    throw DataError(message(at, ": the label is ", value.dump().substr(0, 40), "; it can be true, false, or a number from 0 to 1"));
  }

  // The answers to one prompt; false: one of them is too long, all are left out.
  bool add_answers(const Row& row, const Json& prompt, const std::vector<Json>& answers, PreferenceRows& out) const {
    SftRows made;
    for (const Json& answer : answers) {
      Row one{row.file, row.line, {{"prompt", prompt.dump()}, {"completion", answer.dump()}}};
      if (const auto tools = row.columns.find("tools"); tools != row.columns.end()) one.columns.insert(*tools);
      const std::size_t before = made.examples.size();
      maker_.add(one, made);
      if (made.examples.size() > before + 1)
        throw DataError(message(where(row), ": an answer of several turns that the template writes one by one is not supported here"));
    }
    if (made.too_long > 0) {
      ++out.too_long;
      return false;
    }
    // Rows that both share: tokens that are equal and judged in neither.
    std::size_t shared = made.examples[0].tokens.size();
    for (const SftExample& e : made.examples) {
      const auto judged = static_cast<std::size_t>(std::find(e.loss_mask.begin(), e.loss_mask.end(), std::uint8_t{1}) - e.loss_mask.begin());
      const auto differ = std::mismatch(e.tokens.begin(), e.tokens.end(), made.examples[0].tokens.begin(), made.examples[0].tokens.end());
      shared = std::min({shared, judged, static_cast<std::size_t>(differ.first - e.tokens.begin())});
    }
    const std::uint64_t group = static_cast<std::uint64_t>(out.set.samples.size()) / answers.size();
    for (SftExample& e : made.examples) {
      TrainSample s;
      s.name = std::move(e.name);
      s.prompt_length = static_cast<std::int32_t>(shared);
      s.group = group;
      s.behavior_logprobs.assign(e.tokens.size(), 0.f);
      s.advantages.assign(e.tokens.size(), 0.f);
      s.tokens = std::move(e.tokens);
      s.loss_mask = std::move(e.loss_mask);
      out.set.samples.push_back(std::move(s));
    }
    return true;
  }

  const PreferenceRowOptions& options_;
  SftExampleMaker maker_;
};

}  // namespace

PreferenceRows load_preference_rows(const PreferenceRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                                    const std::vector<TokenId>& stop_tokens) {
  std::vector<std::string> skipped;
  const std::vector<Row> rows = read_rows(options.sft.dataset, &skipped);
  PreferenceRows out = make_preference_rows(rows, options, std::move(tokenizer), stop_tokens);
  out.skipped.insert(out.skipped.begin(), skipped.begin(), skipped.end());
  return out;
}

PreferenceRows make_preference_rows(const std::vector<Row>& rows, const PreferenceRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                                    const std::vector<TokenId>& stop_tokens) {
  if (options.sft.overlong == Overlong::kTruncate) throw ConfigError("data.overlong: an answer that is cut cannot be judged; use error or skip");
  const Maker maker(options, std::move(tokenizer), stop_tokens);
  PreferenceRows out;
  out.set.pairs = options.pairs;
  for (const Row& row : rows) {
    ++out.rows;
    try {
      maker.add(row, out);
    } catch (const DataError& e) {
      if (!options.sft.dataset.skip_bad_rows) throw;
      out.skipped.push_back(e.what());
    }
  }
  if (out.set.size() == 0)
    throw DataError(message("no usable ", options.pairs ? "pair" : "labelled answer", " in the data: ", out.rows, " rows read, ", out.skipped.size(),
                            " bad, ", out.too_long, " above max_length",
                            out.skipped.empty() ? "" : message("; the first bad one: ", out.skipped.front())));
  return out;
}

}  // namespace r1
