#include "sft/training_text.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/prompt_template.h"
#include "text/row_columns.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

// Bytes [begin, end) of a rendered text that one assistant turn wrote.
struct Span {
  std::size_t begin = 0, end = 0;
};

std::size_t common_prefix(std::string_view a, std::string_view b) {
  const std::size_t n = std::min(a.size(), b.size());
  std::size_t i = 0;
  while (i < n && a[i] == b[i]) ++i;
  while (i > 0 && i < b.size() && (static_cast<unsigned char>(b[i]) & 0xC0) == 0x80) --i;  // not inside a character
  return i;
}

// Templates trim and re-indent what they are given; nothing else may be lost.
std::string without_blanks(std::string_view text) {
  std::string out;
  for (char c : text)
    if (!std::isspace(static_cast<unsigned char>(c))) out += c;
  return out;
}

std::string tail(std::string_view text) {
  return text.size() <= 60 ? std::string(text) : "..." + std::string(text.substr(text.size() - 60));
}

}  // namespace

struct TrainingTextMaker::Impl {
  DatasetOptions options;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<TokenId> stop_tokens;
  PromptTemplate layout;

  bool stops(TokenId id) const { return std::find(stop_tokens.begin(), stop_tokens.end(), id) != stop_tokens.end(); }
  std::string render(const Json& messages, std::size_t n, bool prompt, const ChatTemplate::Options& base, const std::string& at) const;
  Span turn(const Json& messages, std::size_t i, const ChatTemplate::Options& base, std::string& text, const std::string& at) const;
  void check_content(const Json& turn, std::size_t i, std::string_view written, const std::string& at) const;
  TrainingText tokens_of(const std::string& text, const std::vector<Span>& spans, const std::string& at) const;
  std::vector<TokenId> with_stop(const std::string& answer) const;
  Json complete(Json messages, std::size_t& first_trained) const;
};

TrainingTextMaker::TrainingTextMaker(DatasetOptions options, std::shared_ptr<const Tokenizer> tokenizer, std::vector<TokenId> stop_tokens) {
  auto impl = std::make_unique<Impl>();
  impl->layout = load_prompt_template(options, *tokenizer);
  if (stop_tokens.empty() && tokenizer->eos()) stop_tokens.push_back(*tokenizer->eos());
  if (stop_tokens.empty())
    throw ConfigError(
        "the model names no end-of-sequence token (eos_token_id in generation_config.json or config.json), so no text can end; add it there");
  impl->options = std::move(options);
  impl->tokenizer = std::move(tokenizer);
  impl->stop_tokens = std::move(stop_tokens);
  impl_ = std::move(impl);
}
TrainingTextMaker::~TrainingTextMaker() = default;
TrainingTextMaker::TrainingTextMaker(TrainingTextMaker&&) noexcept = default;

bool TrainingTextMaker::has_chat_template() const { return impl_->layout.chat != nullptr; }

// The first n messages; `prompt`: with the beginning of an answer.
std::string TrainingTextMaker::Impl::render(const Json& messages, std::size_t n, bool prompt, const ChatTemplate::Options& base,
                                             const std::string& at) const {
  Json part = Json::array();
  for (std::size_t i = 0; i < n; ++i) part.push_back(messages[i]);
  ChatTemplate::Options o = base;
  o.add_generation_prompt = prompt;
  return with_context(at, [&] { return layout.chat->render_json(part.dump(), o); });
}

// Renders up to and with turn i, and gives what of it the turn wrote.
Span TrainingTextMaker::Impl::turn(const Json& messages, std::size_t i, const ChatTemplate::Options& base, std::string& text,
                                   const std::string& at) const {
  text = render(messages, i + 1, false, base, at);
  const std::string prompt = render(messages, i, true, base, at);
  if (text.starts_with(prompt)) return {prompt.size(), text.size()};
  // The beginning of an answer that the template prompts with is not what it writes for a finished one (an opened thinking block).
  const std::size_t common = common_prefix(prompt, text);
  if (common < render(messages, i, false, base, at).size())
    throw DataError(message(at, ": the chat template writes the turns before message ", i + 1,
                            " differently once it is there, so what the assistant wrote "
                            "cannot be told apart; use a template with {% generation %} blocks (data.template: file)"));
  return {common, text.size()};
}

void TrainingTextMaker::Impl::check_content(const Json& turn, std::size_t i, std::string_view written, const std::string& at) const {
  const std::string content = without_blanks(content_of(turn, at));
  if (without_blanks(written).find(content) == std::string::npos)
    throw DataError(message(at, ": the chat template drops a part of assistant message ", i + 1,
                            " (thinking, as a rule): it would not be learnt. Use a template "
                            "that keeps it (data.template: file, data.template_file)"));
}

// Pieces are encoded one by one, as a rollout has its prompt's tokens before it draws the first of its own.
TrainingText TrainingTextMaker::Impl::tokens_of(const std::string& text, const std::vector<Span>& spans, const std::string& at) const {
  TrainingText out;
  std::vector<TokenId> whole;  // where pieces do not decode on their own, the text is encoded at once and cut
  if (!tokenizer->decodes_bytewise()) whole = tokenizer->encode(text, false);
  std::size_t taken = 0;
  const auto append = [&](std::size_t begin, std::size_t end, bool trained) {
    std::vector<TokenId> piece;
    if (tokenizer->decodes_bytewise()) {
      piece = tokenizer->encode(std::string_view(text).substr(begin, end - begin), false);
    } else {
      const std::vector<TokenId> upto = tokenizer->encode(std::string_view(text).substr(0, end), false);
      const auto cut = static_cast<std::size_t>(std::mismatch(whole.begin(), whole.end(), upto.begin(), upto.end()).first - whole.begin());
      const std::size_t stop = end == text.size() ? whole.size() : std::max(cut, taken);
      piece.assign(whole.begin() + static_cast<std::ptrdiff_t>(taken), whole.begin() + static_cast<std::ptrdiff_t>(stop));
      taken = stop;
    }
    std::size_t kept = 0;  // of a trained piece: up to its last stop token
    for (std::size_t k = 0; trained && k < piece.size(); ++k)
      if (stops(piece[k])) kept = k + 1;
    if (trained) {
      const std::string rest = tokenizer->decode({piece.begin() + static_cast<std::ptrdiff_t>(kept), piece.end()}, false);
      if (kept == 0 || !without_blanks(rest).empty()) {
        std::string names;
        for (TokenId id : stop_tokens) names += (names.empty() ? "" : ", ") + tokenizer->token_bytes(id);
        throw DataError(message(at, ": an assistant turn does not end with a stop token of the generation config (", names, ") but with \"",
                                tail(std::string_view(text).substr(begin, end - begin)),
                                "\": a model trained on it would not stop; correct the chat template or eos_token_id"));
      }
    }
    out.tokens.insert(out.tokens.end(), piece.begin(), piece.end());
    out.loss_mask.insert(out.loss_mask.end(), kept, 1);
    out.loss_mask.insert(out.loss_mask.end(), piece.size() - kept, 0);
  };
  std::size_t at_byte = 0;
  for (const Span& s : spans) {
    if (s.begin > at_byte) append(at_byte, s.begin, false);
    append(s.begin, s.end, true);
    at_byte = s.end;
  }
  const auto last = std::find(out.loss_mask.rbegin(), out.loss_mask.rend(), 1);  // what follows trains nothing and is not computed
  out.loss_mask.erase(last.base(), out.loss_mask.end());
  out.tokens.resize(out.loss_mask.size());
  if (!out.loss_mask.empty()) out.loss_mask[0] = 0;
  return out;
}

// With system prompt and suffix, as prompts have them (text/dataset.cpp).
Json TrainingTextMaker::Impl::complete(Json messages, std::size_t& first_trained) const {
  if (!options.prompt_suffix.empty()) {
    for (std::size_t i = messages.size(); i-- > 0;) {
      if (messages[i]["role"] != "user") continue;
      messages[i]["content"] = content_of(messages[i], "messages") + options.prompt_suffix;
      break;
    }
  }
  if (!options.system_prompt.empty() && messages[0]["role"] != "system") {
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", options.system_prompt}});
    ++first_trained;
  }
  return messages;
}

std::vector<TrainingText> TrainingTextMaker::make(std::string_view messages_json, std::size_t first_trained, const std::string& tools_json,
                                                  const std::string& at) const {
  const Impl& m = *impl_;
  if (!m.layout.chat) throw DataError(message(at, ": a conversation needs a chat template, but data.template is ", m.options.prompt_template));
  Json messages = Json::parse(messages_json);
  if (!messages.is_array() || messages.empty())
    throw DataError(message(at, ": messages must be a list of {role, content}, not ", std::string(messages_json.substr(0, 80))));
  for (const Json& t : messages)
    if (!t.is_object() || !t.contains("role") || !t["role"].is_string())
      throw DataError(message(at, ": a message is no {role, content}: ", t.dump().substr(0, 80)));
  if (messages.back()["role"] != "assistant")
    throw DataError(
        message(at, ": the last message is the ", messages.back()["role"].get<std::string>(), "'s; to train on it, it must be the assistant's"));
  messages = m.complete(std::move(messages), first_trained);
  std::vector<std::size_t> turns;
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (messages[i]["role"] == "assistant") turns.push_back(i);

  ChatTemplate::Options base = m.layout.chat_options;
  base.tools_json = tools_json;
  base.add_generation_prompt = false;
  std::vector<std::pair<std::size_t, std::size_t>> marked;
  const std::string whole = with_context(at, [&] { return m.layout.chat->render_json(messages.dump(), base, marked); });
  std::vector<Span> spans;
  const auto trained = [&](std::size_t turn) { return turn >= first_trained; };
  if (marked.size() == turns.size()) {
    for (std::size_t k = 0; k < turns.size(); ++k) {
      if (!trained(turns[k])) continue;
      m.check_content(messages[turns[k]], turns[k], std::string_view(whole).substr(marked[k].first, marked[k].second - marked[k].first), at);
      spans.push_back({marked[k].first, marked[k].second});
    }
    return std::vector<TrainingText>{m.tokens_of(whole, spans, at)};
  }
  std::vector<std::pair<std::string, Span>> alone;
  bool one_text = true;
  for (std::size_t i : turns) {
    if (!trained(i)) continue;
    std::string text;
    const Span span = m.turn(messages, i, base, text, at);
    m.check_content(messages[i], i, std::string_view(text).substr(span.begin), at);
    one_text = one_text && whole.starts_with(text);
    spans.push_back(span);
    alone.emplace_back(std::move(text), span);
  }
  if (one_text) return std::vector<TrainingText>{m.tokens_of(whole, spans, at)};
  std::vector<TrainingText> out;
  for (const auto& [text, span] : alone) out.push_back(m.tokens_of(text, {span}, at));
  return out;
}

std::vector<TokenId> TrainingTextMaker::Impl::with_stop(const std::string& answer) const {
  std::vector<TokenId> out = tokenizer->encode(answer, false);
  if (out.empty() || !stops(out.back())) {
    const auto eos = tokenizer->eos();
    out.push_back(eos && stops(*eos) ? *eos : stop_tokens.front());
  }
  return out;
}

TrainingText TrainingTextMaker::make_plain(const std::string& question, const std::string& answer, const std::string& at) const {
  const Impl& m = *impl_;
  TrainingText out;
  out.tokens = m.tokenizer->encode(m.layout.fill(question + m.options.prompt_suffix), true);
  if (out.tokens.empty()) throw DataError(message(at, ": the prompt is empty, so nothing predicts the answer's first token"));
  const std::vector<TokenId> tokens = m.with_stop(answer);
  out.loss_mask.assign(out.tokens.size(), 0);
  out.loss_mask.insert(out.loss_mask.end(), tokens.size(), 1);
  out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end());
  return out;
}

TrainingText TrainingTextMaker::make_text(const std::string& text, const std::string& at) const {
  TrainingText out;
  const std::vector<TokenId> empty = impl_->tokenizer->encode("", true);  // what the tokenizer puts around a text
  const std::vector<TokenId> tokens = impl_->with_stop(text);
  if (!empty.empty() && empty.front() == impl_->tokenizer->bos()) out.tokens.push_back(empty.front());
  out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end());
  if (out.tokens.size() < 2) throw DataError(message(at, ": the text is empty"));
  out.loss_mask.assign(out.tokens.size(), 1);
  out.loss_mask[0] = 0;
  return out;
}

}  // namespace r1
