// The bodies of /v1/completions, /v1/chat/completions, /tokenize and /detokenize, read into rollout requests. Fields beyond OpenAI's
// are named as in vLLM: top_k, min_p, ignore_eos, stop_token_ids, return_token_ids, add_special_tokens, chat_template_kwargs,
// add_generation_prompt, continue_final_message. What is not implemented is refused by name, never ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rollout/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace r1 {

struct ServedModel {
  std::string name;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat;  // null: /v1/chat/completions is refused
  ChatTemplate::Options chat_options;
  std::int64_t context = 0;       // positions
  int max_new_tokens = 4096;      // of a request
  int max_samples = 128;          // of a call, all its prompts together
};

struct GenerateCall {
  bool chat = false, stream = false, logprobs = false, include_usage = false, token_ids = false;
  int samples = 1;                        // a prompt
  std::vector<RolloutRequest> requests;   // one a prompt; request i draws with the key {seed, 0, i, 0}
};

// `fresh_seed` is used where the body has no seed. All throw ApiError.
GenerateCall parse_completion(std::string_view body, const ServedModel& model, std::uint64_t fresh_seed);
GenerateCall parse_chat(std::string_view body, const ServedModel& model, std::uint64_t fresh_seed);
std::vector<TokenId> parse_tokenize(std::string_view body, const ServedModel& model);  // {prompt} or {messages}
std::string parse_detokenize(std::string_view body, const ServedModel& model);         // {tokens} -> the text

}  // namespace r1
