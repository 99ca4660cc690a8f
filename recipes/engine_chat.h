// The judge's model in front of a rollout engine of this process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rewards/judge/chat.h"
#include "rollout/engine.h"

namespace r1 {

// Questions that wait are sampled together: the engine's one thread takes all of them, then those that came meanwhile.
// `render` turns messages into a prompt with tokens. A question that does not fit the engine fails, and so does one that
// is unanswered after `timeout_s` (its samples are cancelled). The engine belongs to the client: nobody else submits.
ChatClient make_engine_chat(std::shared_ptr<RolloutEngine> engine, std::function<Prompt(const std::vector<Message>&)> render,
                            std::string identity, double timeout_s);

}  // namespace r1
