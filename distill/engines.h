// The engines that teachers run on: a rollout engine of this process, or a model that answers chat messages.
#pragma once

#include <memory>
#include <string>

#include "distill/sample_source.h"
#include "rewards/judge/chat.h"
#include "rollout/engine.h"
#include "text/tokenizer.h"

namespace r1 {

// `prompts` (rendered for this model) and `engine` outlive it; nobody else submits. Samples are keyed by (seed, prompt's
// index, sample's number) alone, so they are the same bits whatever is drawn beside them. `in_flight`: samples submitted at
// once; 0 = 256. `tokenizer` finds which stop string ended a completion.
std::unique_ptr<SampleEngine> make_rollout_source(std::string name, RolloutEngine& engine, const std::vector<Prompt>& prompts,
                                                  SamplingOptions sampling, std::uint64_t seed, std::shared_ptr<const Tokenizer> tokenizer,
                                                  int in_flight = 0);

// `parallel` questions at once. temperature, top_p, stop, max_new_tokens and a seed of its own for each sample go into the
// request; other settings belong into the client. A prompt that the server refuses for what it is (HTTP 400, 413, 422)
// is a sample with an error; three failures of other kinds in a row put the engine out of order.
std::unique_ptr<SampleEngine> make_chat_source(std::string name, ChatClient client, const std::vector<Prompt>& prompts, SamplingOptions sampling,
                                               std::uint64_t seed, int parallel);

// A chat reply as a completion: reasoning that the server keeps apart comes first, in <think> tags.
Drawn drawn_from(const ChatReply& reply);

}  // namespace r1
