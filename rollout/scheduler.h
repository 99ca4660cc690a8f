// Continuous batching: decides which tokens of which sequences the next model step computes, gives them KV blocks,
// takes blocks back when they run out. Pure logic on numbers; the engine carries a plan out. Deterministic; not
// thread-safe.
//
// Rules:
//  1. Groups are served in the order of their submission, samples of a group by number. A later group starts only
//     when every earlier one has started or is limited by its own chunk of this step.
//  2. A prompt is computed once for its group, in chunks; its samples are forked from it: full blocks are shared, the
//     partial last block is copied (the last fork takes it over). First tokens of all samples come from one row.
//  3. A running sample with one token pending is in every step. Longer runs (prompts, samples computed again after
//     preemption) share `prefill_tokens` a step.
//  4. When a sequence needs a block and none is left, the sequence that is served last loses its blocks; a sample
//     then waits and is computed again. The one served first never loses, so every request ends.
//  5. A sequence that has rows in the plan being made is never preempted in it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "core/types.h"
#include "rollout/block_manager.h"
#include "rollout/sequence.h"

namespace r1 {

// Rows for positions [begin, begin + count) of a sequence. With wants_logits, the last one's logits give the next token:
// of the sample, or for a prompt the first token of each unfinished sample.
struct Chunk {
  Sequence* sequence = nullptr;
  std::int32_t begin = 0, count = 0;
  bool wants_logits = false;
};
struct BlockCopy {
  BlockId from = 0, to = 0;
};
struct StepPlan {
  std::vector<BlockCopy> copies;  // whole blocks, done in order before the rows run
  std::vector<Chunk> chunks;      // rows in this order; a row may read what earlier rows of the step write
  std::int32_t rows = 0;
};

class Scheduler {
 public:
  struct Options {
    int max_rows = 64;         // samples that decode at once
    int prefill_tokens = 512;  // prompt tokens (and tokens computed again) a step
    bool prefix_cache = true;  // prompts find the blocks of equal beginnings
  };
  // `blocks` outlives the scheduler.
  Scheduler(BlockManager& blocks, const Options& options);

  // Blocks that one sample of this size may hold in the worst case, with its prompt: must not exceed blocks.size().
  static std::int64_t blocks_needed(std::int64_t prompt_tokens, std::int64_t max_new_tokens, std::int64_t block_size);

  // Queues a group whose samples are numbered first_sample and on; precondition: blocks_needed() fits, prompt not empty.
  Group& add(RequestId request, std::vector<TokenId> prompt, int first_sample, int samples);
  // Calls of one step: plan(); then the copies and rows; then commit(); then append() or finish() for each new token.
  const StepPlan& plan();
  void commit();
  void append(Sequence& sample, TokenId token);
  // Ends a sample, from any state; its blocks are freed. A group of ended samples disappears at the next plan().
  void finish(Sequence& sample);

  // The weights changed: no block of a prompt may be used again, found or held. With `recompute`, running samples are
  // preempted too, so that everything is computed again under the new weights.
  void weights_changed(bool recompute);
  void clear();  // ends and forgets every group, and the cache
  bool idle();   // no unfinished sample

  std::list<Group>& groups() { return groups_; }  // in order; for finish() of some of them
  std::int64_t preemptions() const { return preemptions_; }
  std::int64_t prompt_tokens() const { return prompt_tokens_; }         // computed for prompts, or found
  std::int64_t cached_prompt_tokens() const { return cached_tokens_; }  // of these, found in the cache

 private:
  void plan_running(std::int32_t& budget);
  void plan_waiting(std::int32_t& budget);
  bool plan_prompt(Group& group, std::int32_t& budget);
  bool plan_fork(Sequence& sample, std::int32_t& budget);
  void add_chunk(Sequence& sequence, std::int32_t count);
  bool reserve(Sequence& sequence, std::int32_t positions);
  bool make_room(std::int64_t blocks, const Sequence& for_whom);
  Sequence* last_served_holder(const Sequence& after);
  bool has_spare(std::int64_t blocks) const;
  void attach_cached(Group& group);
  void release(Sequence& sequence);
  void preempt(Sequence& sequence);
  void remove_ended_groups();

  BlockManager& blocks_;
  Options options_;
  std::list<Group> groups_;         // in order; addresses are stable
  std::vector<Sequence*> running_;  // samples, in order of service
  StepPlan plan_;
  std::uint64_t step_ = 0, next_order_ = 0;
  std::int64_t preemptions_ = 0, prompt_tokens_ = 0, cached_tokens_ = 0;
};

}  // namespace r1
