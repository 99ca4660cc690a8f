// check_template, check_stops
#include <algorithm>
#include <set>

#include <re2/re2.h>

#include "core/error.h"
#include "core/format.h"
#include "doctor/checks.h"
#include "doctor/question.h"
#include "rewards/completion_text.h"
#include "text/prompt_template.h"

namespace r1::doctor {
namespace {

std::string token_name(const Tokenizer& tokenizer, TokenId id) {
  return id >= 0 && id < tokenizer.vocab_size() ? message(tokenizer.token_bytes(id), " (", id, ")") : message(id);
}

std::string names(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string out;
  for (const TokenId id : ids) out += (out.empty() ? "" : ", ") + token_name(tokenizer, id);
  return out.empty() ? "none" : out;
}

// Marks like <|im_start|> that the tokenizer takes apart: the template belongs to another model.
void check_marks(const Prompt& p, const std::string& question, const Tokenizer& tokenizer, Findings& out) {
  static const RE2 kMark("(<\\|[A-Za-z0-9_]{1,40}\\|>)");
  std::string text = p.text;
  if (const std::size_t at = text.find(question); at != std::string::npos && !question.empty()) text.erase(at, question.size());
  re2::StringPiece rest(text);
  std::string mark;
  std::set<std::string> unknown;
  while (RE2::FindAndConsume(&rest, kMark, &mark))
    if (!tokenizer.token_id(mark)) unknown.insert(mark);
  if (unknown.empty()) return;
  std::string all;
  for (const std::string& m : unknown) all += (all.empty() ? "" : ", ") + m;
  out.error("unknown-marks", message("the template writes ", all, ", which this tokenizer knows as no token: the model reads letters"),
            "the template belongs to another model; data.template: chat takes the model's own");
}

bool only_marks(std::string text) {
  static const RE2 kMark("<\\|?[A-Za-z0-9_]{1,40}\\|?>|</s>|\\[/?INST\\]");
  RE2::GlobalReplace(&text, kMark, "");
  return trim(text).empty();
}

}  // namespace

void check_template(const Subject& s, Findings& out) {
  out.section("template");
  if (s.prompts.empty()) return;
  const Prompt& p = s.prompts.front();
  const std::string question = question_of(p, s.recipe.data.instruction);
  out.good("sample", message("prompt ", p.id, ", ", p.tokens.size(), " tokens, as the model reads it:\n", cut_to_width(p.text, 2000)));
  if (p.text.find(question) == std::string::npos)
    out.error("question-lost", message("the rendered prompt does not hold the question '", cut_to_width(question, 120), "'"),
              "the template drops or changes it: look at the sample above");
  const auto bos = s.tokenizer->bos();
  if (bos && p.tokens.size() > 1 && p.tokens[0] == *bos && p.tokens[1] == *bos)
    out.error("double-bos", message("the prompt begins with ", token_name(*s.tokenizer, *bos), " twice: the template writes it and the tokenizer adds it"),
              "take it out of the template");
  check_marks(p, question, *s.tokenizer, out);
  const std::size_t at = p.text.rfind(question);
  const bool chat = s.recipe.data.format == "chat" || (s.recipe.data.format == "file" && !s.tokenizer->chat_template().empty());
  if (chat && at != std::string::npos && only_marks(p.text.substr(at + question.size() + (s.recipe.data.instruction.empty() ? 0 : s.recipe.data.instruction.size() + 1))))
    out.warning("no-generation-prompt", "behind the question comes nothing that opens the assistant's turn", "the template ignores add_generation_prompt; use one that does not");
  if (s.recipe.data.format == "none" && !s.tokenizer->chat_template().empty())
    out.warning("template-unused", "data.template is none, but the model has a chat template: an instruct model continues the question instead of answering it",
                "data.template: chat; none is for base models and prompts that are rendered already");
  if (prompt_opens_think(p)) out.note("think-prefilled", "the prompt opens <think>: completions begin inside the block, and our rewards know it; a pattern of your own must not ask for <think>");
}

void check_stops(const DatasetOptions& data, const ModelConfig& model, const Tokenizer& tokenizer, const SamplingOptions& sampling, Findings& out) {
  out.section("stop");
  std::vector<TokenId> stops = model.eos_token_ids;
  stops.insert(stops.end(), sampling.stop_tokens.begin(), sampling.stop_tokens.end());
  if (stops.empty() && sampling.stop_strings.empty()) {
    out.error("no-stop-token", "neither generation_config.json, config.json nor the recipe names a token that ends a completion",
              "set eos_token_id in the model's generation_config.json, or rollout.stop_token_ids");
    return;
  }
  out.good("stop-tokens", message("a completion ends with ", names(tokenizer, stops)));
  for (const TokenId id : stops)
    if (id < 0 || id >= tokenizer.vocab_size())
      out.error("stop-token-unknown", message("stop token ", id, " is none of the tokenizer's ", tokenizer.vocab_size()), "it can never be sampled; correct the id");
  const auto is_stop = [&](TokenId id) { return std::find(stops.begin(), stops.end(), id) != stops.end(); };
  if (tokenizer.eos() && !is_stop(*tokenizer.eos()))
    out.warning("eos-differs", message("the tokenizer's end token is ", token_name(tokenizer, *tokenizer.eos()), ", but no completion ends with it"),
                "add it to eos_token_id in generation_config.json, or to rollout.stop_token_ids");
  const std::optional<TokenId> pad = model.pad_token_id ? model.pad_token_id : tokenizer.pad();
  if (pad && is_stop(*pad))
    out.note("pad-is-stop", message("the pad token ", token_name(tokenizer, *pad), " is a stop token: harmless here, where nothing is padded; trainers that pad leave it out of the loss, "
                                    "and such a model never learns to stop"));
  static constexpr const char* kParts[] = {"</think>", "<answer>", "\\boxed{", "####"};
  for (const std::string& stop : sampling.stop_strings) {
    for (const char* part : kParts)
      if (std::string(part).find(stop) != std::string::npos || stop.find(part) != std::string::npos) {
        out.warning("stop-cuts-answer", message("rollout.stop '", stop, "' ends a completion at '", part, "', before its answer"), "take it out");
        break;
      }
    if (trim(stop).empty()) out.warning("stop-cuts-answer", "a rollout.stop of white space ends a completion at its first paragraph", "take it out");
  }

  // What the template writes behind an assistant's turn.
  if (data.prompt_template != "chat" && data.prompt_template != "file") return;
  std::string turn;
  try {
    PromptTemplate layout = load_prompt_template(data, tokenizer);
    if (!layout.chat) return;
    layout.chat_options.add_generation_prompt = false;
    turn = layout.chat->render({{"user", "question"}, {"assistant", "ANSWER"}}, layout.chat_options);
  } catch (const Error& e) {
    out.note("turn-end", message("the template does not render an assistant's turn (", e.what(), "), so its end is not known"));
    return;
  }
  const std::size_t at = turn.rfind("ANSWER");
  if (at == std::string::npos) {
    out.warning("turn-end", "the template drops what an assistant said", "its turns cannot be trained on");
    return;
  }
  for (const TokenId id : tokenizer.encode(turn.substr(at + 6))) {
    if (!tokenizer.is_special(id)) continue;
    const std::string name = tokenizer.token_bytes(id);
    const bool by_text = std::any_of(sampling.stop_strings.begin(), sampling.stop_strings.end(), [&](const std::string& s) { return name.find(s) != std::string::npos; });
    if (is_stop(id) || by_text) out.good("turn-end", message("the template ends a turn with ", token_name(tokenizer, id), ", which is a stop token"));
    else
      out.error("turn-end-no-stop", message("the template ends a turn with ", token_name(tokenizer, id), ", but a completion ends only with ", names(tokenizer, stops),
                                            ": every sample runs to the token limit"),
                message("add ", id, " to eos_token_id in generation_config.json, or rollout.stop_token_ids: [", id, "]"));
    return;
  }
  out.note("turn-end", "the template writes no special token behind an assistant's turn; the model ends by its end token");
}

}  // namespace r1::doctor
