// The bodies that answer: whole completions and the chunks of a stream. Beyond OpenAI's fields each choice has token_ids where asked
// for, and `weights`: [{start, version, digest}], the weights that its tokens were drawn under.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/openai_request.h"

namespace r1 {

class OpenAiReply {
 public:
  // `call` and `model` outlive it.
  OpenAiReply(const GenerateCall& call, const ServedModel& model, std::string id, std::int64_t created);

  void add(std::size_t request, int sample, Completion completion);
  std::string whole() const;  // after all completions

  // Streams: the data of one event, without "data: " and line ends.
  std::string opening(std::size_t request, int sample) const;  // chat: the assistant's role
  std::string tokens(std::size_t request, int sample, const std::vector<TokenId>& tokens, const std::vector<float>& logprobs,
                     const std::string& text);
  std::string finished(std::size_t request, int sample, const Completion& completion);
  std::string usage() const;

 private:
  std::size_t index(std::size_t request, int sample) const {
    return request * static_cast<std::size_t>(call_.samples) + static_cast<std::size_t>(sample);
  }

  const GenerateCall& call_;
  const ServedModel& model_;
  std::string id_;
  std::int64_t created_, completion_tokens_ = 0;
  std::vector<Completion> completions_;
  std::vector<std::int64_t> offsets_;  // streams: characters sent of each completion
};

}  // namespace r1
