#include "sft/training_text.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "sft/test_support.h"
#include "tests/support/errors.h"

namespace r1 {
namespace {

const char* const kTwoTurns = R"([{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"},
                                 {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}])";

// Llama 3's form: a header for each turn, <|eot_id|> behind it.
const char* const kLlama3 =
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";

// Qwen3's way: only the last turn keeps its thinking.
const char* const kThinking =
    "{% for m in messages %}{% set text = m.content if loop.last or m.role != 'assistant' else m.content.split('</think>')[-1] %}"
    "<|im_start|>{{ m.role }}\n{{ text }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

TrainingTextMaker maker(std::shared_ptr<const Tokenizer> tokenizer, DatasetOptions options = {}, std::vector<TokenId> stop = {}) {
  if (stop.empty()) stop = {*tokenizer->eos()};
  return TrainingTextMaker(std::move(options), std::move(tokenizer), std::move(stop));
}

// The text with what is trained in brackets.
std::string shown(const TrainingText& t, const Tokenizer& tokenizer) {
  return marked_text({"", t.tokens, t.loss_mask}, tokenizer, [](const std::string& s) { return "[" + s + "]"; });
}
std::vector<std::string> shown(const std::vector<TrainingText>& texts, const Tokenizer& tokenizer) {
  std::vector<std::string> out;
  for (const TrainingText& t : texts) out.push_back(shown(t, tokenizer));
  return out;
}
using Strings = std::vector<std::string>;

using test::error_of;

}  // namespace

TEST_CASE("each assistant turn is trained with its stop token, and nothing else") {
  const auto tokenizer = test::chat_ml();
  CHECK(shown(maker(tokenizer).make(kTwoTurns, 0, "", "f:1"), *tokenizer) ==
        Strings{"<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n[2<|im_end|>]"
                "\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>]"});
  // Completion only: the history is a prompt.
  CHECK(shown(maker(tokenizer).make(kTwoTurns, 3, "", "f:1"), *tokenizer) ==
        Strings{"<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>"
                "\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>]"});
  const auto llama = std::make_shared<test::SpecialBytes>(
      kLlama3, Strings{"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, "<|eot_id|>");
  CHECK(
      shown(maker(llama).make(kTwoTurns, 0, "", "f:1"), *llama) ==
      Strings{
          "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[2<|eot_id|>]"
          "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[4<|eot_id|>]"});
}

TEST_CASE("tokens before a turn are those of the prompt that a rollout would have") {
  const auto tokenizer = test::chat_ml();
  DatasetOptions options;
  options.system_prompt = "S";
  options.prompt_suffix = " Think.";
  const PromptMaker prompts(options, tokenizer);
  const Prompt prompt = prompts.make_prompt("1+1?");
  const TrainingText text =
      maker(tokenizer, options).make(R"([{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}])", 1, "", "f:1").at(0);
  REQUIRE(text.tokens.size() == prompt.tokens.size() + 2);
  CHECK(std::vector<TokenId>(text.tokens.begin(), text.tokens.end() - 2) == prompt.tokens);
}

TEST_CASE("a template that drops earlier thinking: one example a turn, each as the model will see it") {
  const auto tokenizer = test::chat_ml(kThinking);
  const char* messages = R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>x</think>b"},
                             {"role": "user", "content": "c"}, {"role": "assistant", "content": "<think>y</think>d"}])";
  CHECK(shown(maker(tokenizer).make(messages, 0, "", "f:1"), *tokenizer) ==
        Strings{"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[<think>x</think>b<|im_end|>]",
                "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[<think>y</"
                "think>d<|im_end|>]"});
}

TEST_CASE("generation blocks win over prefix differences") {
  const auto tokenizer = test::chat_ml(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}think:{% generation %}{{ m.content }}<|im_end|>{% "
      "endgeneration %}"
      "{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}");
  CHECK(shown(maker(tokenizer).make(kTwoTurns, 0, "", "f:1"), *tokenizer) ==
        Strings{"<|im_start|>user\n1+1?<|im_end|><|im_start|>assistant\nthink:[2<|im_end|>]<|im_start|>user\n2+2?<|im_end|><|im_start|>"
                "assistant\nthink:[4<|im_end|>]"});
}

TEST_CASE("a prompt that opens what the answer does not begin with") {
  // As DeepSeek's distilled templates: the prompt opens a thinking block, a finished turn has none.
  const auto tokenizer = test::chat_ml(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}");
  CHECK(shown(maker(tokenizer).make(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])", 0, "", "f:1"), *tokenizer) ==
        Strings{"<|im_start|>user\na<|im_end|><|im_start|>assistant\n[b<|im_end|>]"});
  // Thinking that it would swallow is an error, not a silent loss.
  const std::string error = error_of([&] {
    maker(tokenizer).make(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>x</think>b"}])", 0, "", "f.jsonl:7");
  });
  CHECK(error.starts_with("f.jsonl:7: "));
  CHECK(error.find("drops a part of assistant message 2") != std::string::npos);
}

TEST_CASE("a turn must end with a stop token of the generation config") {
  const auto tokenizer = test::chat_ml();
  // A base model's config often stops at <|endoftext|> only, which the chat template never writes.
  const std::string error = error_of([&] { maker(tokenizer, {}, {258}).make(kTwoTurns, 0, "", "f.jsonl:3"); });
  CHECK(error.starts_with("f.jsonl:3: "));
  CHECK(error.find("<|endoftext|>") != std::string::npos);
  CHECK(error.find("would not stop") != std::string::npos);
  CHECK(maker(tokenizer, {}, {258, 257}).make(kTwoTurns, 0, "", "f:3").size() == 1);
  // The stop token in the middle of a turn does not count.
  const auto odd =
      test::chat_ml("{% for m in messages %}{{ m.role }}:{{ m.content }}<|im_end|>!{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}");
  CHECK(error_of([&] { maker(odd).make(kTwoTurns, 0, "", "f:3"); }).find("2<|im_end|>!") != std::string::npos);
}

TEST_CASE("conversations that cannot be trained on") {
  const auto tokenizer = test::chat_ml();
  const auto error = [&](const char* messages) { return error_of([&] { maker(tokenizer).make(messages, 0, "", "f:2"); }); };
  CHECK(error(R"([{"role": "user", "content": "a"}])").find("must be the assistant's") != std::string::npos);
  CHECK(error("[]").find("list of {role, content}") != std::string::npos);
  CHECK(error(R"([{"content": "a"}])").find("{role, content}") != std::string::npos);
  DatasetOptions plain;
  plain.prompt_template = "none";
  CHECK(error_of([&] { maker(tokenizer, plain).make(kTwoTurns, 0, "", "f:2"); }).find("needs a chat template") != std::string::npos);
}

TEST_CASE("plain prompts and texts get a stop token unless they end with one") {
  const auto tokenizer = test::chat_ml();
  DatasetOptions plain;
  plain.prompt_template = "none";
  const TrainingTextMaker m = maker(tokenizer, plain);
  CHECK(shown(m.make_plain("a ", "b", "f:1"), *tokenizer) == "^a [b<|im_end|>]");
  CHECK(shown(m.make_plain("a ", "b<|im_end|>", "f:1"), *tokenizer) == "^a [b<|im_end|>]");
  CHECK(shown(m.make_text("ab", "f:1"), *tokenizer) == "^[ab<|im_end|>]");
}

}  // namespace r1
