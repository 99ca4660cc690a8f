// The life of a request inside the scheduler: a group is a prompt and its samples; each of these is a sequence, a run
// of tokens whose keys and values lie in blocks. A sample's blocks start with its prompt's.
//
//   prompt:  waiting -> (blocks, computed grows chunk by chunk) -> ready: computed == prompt length -> released when no
//            sample waits for it any more; back to waiting when its blocks are taken away
//   sample:  waiting -> running -> finished; back to waiting when preempted: its tokens stay, its blocks go, and its
//            keys and values are computed again later, with the same bits
#pragma once

#include <cstdint>
#include <vector>

#include "core/types.h"
#include "rollout/block_manager.h"
#include "rollout/engine.h"

namespace r1 {

struct Group;

struct Sequence {
  enum class State : std::uint8_t { kWaiting, kRunning, kFinished };
  static constexpr int kPrompt = -1;

  Group* group = nullptr;
  int sample = kPrompt;             // number within the request, or kPrompt
  State state = State::kWaiting;
  std::vector<TokenId> tokens;      // generated so far; empty for the prompt
  std::int32_t computed = 0;        // positions whose keys and values are in `blocks`
  std::vector<BlockId> blocks;      // block i holds positions [i * block size, (i + 1) * block size)
  BlockManager::Chain chain = BlockManager::kRoot;  // prompt only: of its last full block that is published or found
  std::uint64_t planned = 0;        // number of the last step plan it has rows in

  bool is_prompt() const { return sample == kPrompt; }
  std::int32_t length() const;      // positions: of the prompt, plus the tokens
  std::int32_t pending() const { return length() - computed; }
  TokenId token_at(std::int32_t position) const;
};

struct Group {
  RequestId request = 0;
  std::uint64_t order = 0;          // groups are served in this order
  std::vector<TokenId> prompt_tokens;
  Sequence prompt;
  std::vector<Sequence> samples;    // never resized after the group was made
  bool drawn = false;               // every sample has its first token
  int unfinished = 0;               // samples
  int waiting = 0;                  // samples that need the prompt's blocks

  Group(RequestId id, std::uint64_t number, std::vector<TokenId> tokens, int first_sample, int num_samples);
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  std::int32_t prompt_length() const { return static_cast<std::int32_t>(prompt_tokens.size()); }
  bool ready() const { return drawn && prompt.computed == prompt_length(); }
};

// Is `a` served before `b`? Groups in order; in a group the prompt, then the samples by number.
bool served_before(const Sequence& a, const Sequence& b);

}  // namespace r1
