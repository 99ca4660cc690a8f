#include "rollout/scheduler.h"

#include <algorithm>
#include <span>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

std::int64_t blocks_for(std::int64_t positions, std::int64_t block_size) { return (positions + block_size - 1) / block_size; }

}  // namespace

Scheduler::Scheduler(BlockManager& blocks, const Options& options) : blocks_(blocks), options_(options) {
  R1_CHECK(options.max_rows > 0 && options.prefill_tokens > 0, "max_rows ", options.max_rows, ", prefill_tokens ", options.prefill_tokens);
}

std::int64_t Scheduler::blocks_needed(std::int64_t prompt_tokens, std::int64_t max_new_tokens, std::int64_t block_size) {
  // The last token is never fed back. While siblings wait, their prompt keeps its partial block besides the sample's copy.
  const std::int64_t partial = prompt_tokens % block_size != 0 ? 1 : 0;
  return blocks_for(prompt_tokens + std::max<std::int64_t>(max_new_tokens, 1) - 1, block_size) + partial;
}

Group& Scheduler::add(RequestId request, std::vector<TokenId> prompt, int first_sample, int samples) {
  R1_CHECK(!prompt.empty() && samples > 0, "an empty group");
  return groups_.emplace_back(request, next_order_++, std::move(prompt), first_sample, samples);
}

void Scheduler::remove_ended_groups() {
  std::erase_if(groups_, [](const Group& g) { return g.unfinished == 0; });
}

bool Scheduler::idle() {
  remove_ended_groups();
  return groups_.empty();
}

const StepPlan& Scheduler::plan() {
  remove_ended_groups();
  plan_.copies.clear();
  plan_.chunks.clear();
  plan_.rows = 0;
  ++step_;
  std::int32_t budget = options_.prefill_tokens;
  plan_running(budget);
  plan_waiting(budget);
  return plan_;
}

void Scheduler::plan_running(std::int32_t& budget) {
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& s = *running_[i];
    const std::int32_t pending = s.pending();
    const std::int32_t count = pending == 1 ? 1 : std::min(pending, budget);
    if (count == 0) continue;
    if (!reserve(s, s.computed + count)) {
      preempt(s);  // it is the last that holds anything
      break;
    }
    if (pending > 1) budget -= count;
    add_chunk(s, count);
  }
}

void Scheduler::plan_waiting(std::int32_t& budget) {
  // Rows promised to samples of earlier groups whose prompt is not ready yet.
  std::int64_t promised = 0;
  for (Group& g : groups_) {
    if (static_cast<std::int64_t>(running_.size()) + promised >= options_.max_rows) return;
    if (g.waiting == 0) continue;
    if (!g.ready() && !plan_prompt(g, budget)) return;
    if (!g.ready()) {
      promised += g.waiting;
      continue;
    }
    // Samples of this group come after those that are promised a row.
    for (Sequence& s : g.samples) {
      if (s.state != Sequence::State::kWaiting) continue;
      if (static_cast<std::int64_t>(running_.size()) + promised >= options_.max_rows) return;
      if (!plan_fork(s, budget)) return;
    }
  }
}

bool Scheduler::plan_prompt(Group& g, std::int32_t& budget) {
  Sequence& p = g.prompt;
  if (budget == 0) return false;
  const bool starting = p.blocks.empty();
  if (starting) attach_cached(g);
  const std::int32_t found = p.computed;
  const std::int32_t count = std::min(p.pending(), budget);
  const std::int64_t wanted = blocks_for(p.length(), blocks_.block_size()) - static_cast<std::int64_t>(p.blocks.size()) + 1;
  if ((starting && !has_spare(wanted)) || !reserve(p, p.computed + count)) {
    if (starting) release(p);
    return false;
  }
  if (starting) {
    prompt_tokens_ += p.length();
    cached_tokens_ += found;
  }
  if (count == 0) return true;  // found as a whole
  budget -= count;
  add_chunk(p, count);
  return true;
}

void Scheduler::attach_cached(Group& g) {
  if (!options_.prefix_cache) return;
  Sequence& p = g.prompt;
  const std::int32_t size = blocks_.block_size();
  // The first tokens are drawn from the last prompt token's logits, so that one is computed in any case.
  const std::int32_t usable = (g.drawn ? g.prompt_length() : g.prompt_length() - 1) / size;
  for (std::int32_t i = 0; i < usable; ++i) {
    const auto found = blocks_.find(p.chain, std::span(g.prompt_tokens).subspan(static_cast<std::size_t>(i * size), static_cast<std::size_t>(size)));
    if (!found) break;
    blocks_.add_reference(found->block);
    p.blocks.push_back(found->block);
    p.chain = found->chain;
    p.computed += size;
  }
}

bool Scheduler::plan_fork(Sequence& s, std::int32_t& budget) {
  Group& g = *s.group;
  const std::int32_t size = blocks_.block_size();
  const std::int32_t prompt = g.prompt_length();
  const auto pending = static_cast<std::int32_t>(s.tokens.size());
  const std::int32_t count = pending == 1 ? 1 : std::min(pending, budget);
  if (count == 0) return false;
  const bool last = g.waiting == 1;  // nobody else needs the prompt's partial block
  const std::int64_t own = blocks_for(prompt + count, size) - (last ? static_cast<std::int64_t>(g.prompt.blocks.size()) : prompt / size);
  if (!has_spare(own) || !make_room(own, s) || last != (g.waiting == 1)) return false;

  if (last) {
    s.blocks = std::exchange(g.prompt.blocks, {});
    release(g.prompt);
  } else {
    for (std::int32_t i = 0; i < prompt / size; ++i) {
      blocks_.add_reference(g.prompt.blocks[static_cast<std::size_t>(i)]);
      s.blocks.push_back(g.prompt.blocks[static_cast<std::size_t>(i)]);
    }
    if (prompt % size != 0) {
      s.blocks.push_back(blocks_.allocate());
      plan_.copies.push_back({g.prompt.blocks.back(), s.blocks.back()});
    }
  }
  s.computed = prompt;
  s.state = Sequence::State::kRunning;
  --g.waiting;
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &s,
                                   [](const Sequence* a, const Sequence* b) { return served_before(*a, *b); }), &s);
  R1_CHECK(reserve(s, prompt + count), "room was made for ", own, " blocks");
  if (pending > 1) budget -= count;
  add_chunk(s, count);
  return true;
}

void Scheduler::add_chunk(Sequence& s, std::int32_t count) {
  const std::int32_t end = s.computed + count;
  const bool wants_logits = end == s.length() && !(s.is_prompt() && s.group->drawn);
  plan_.chunks.push_back({&s, s.computed, count, wants_logits});
  plan_.rows += count;
  s.planned = step_;
  if (!s.is_prompt() || !options_.prefix_cache) return;
  // Full blocks can be found from now on: rows that come later in this very step may read them.
  const std::int32_t size = blocks_.block_size();
  for (std::int32_t i = s.computed / size; i < end / size; ++i)
    s.chain = blocks_.publish(s.blocks[static_cast<std::size_t>(i)], s.chain,
                              std::span(s.group->prompt_tokens).subspan(static_cast<std::size_t>(i * size), static_cast<std::size_t>(size)));
}

void Scheduler::commit() {
  for (const Chunk& chunk : plan_.chunks) {
    chunk.sequence->computed += chunk.count;
    if (chunk.sequence->is_prompt() && chunk.wants_logits) chunk.sequence->group->drawn = true;
  }
}

void Scheduler::append(Sequence& sample, TokenId token) { sample.tokens.push_back(token); }

void Scheduler::finish(Sequence& s) {
  if (s.state == Sequence::State::kFinished) return;
  Group& g = *s.group;
  if (s.state == Sequence::State::kRunning) std::erase(running_, &s);
  else --g.waiting;
  release(s);
  s.state = Sequence::State::kFinished;
  --g.unfinished;
  if (g.waiting == 0) release(g.prompt);
}

// ---- room -----------------------------------------------------------------------------------------------------------

// Room for `blocks` and, while samples run, one more for each of these: admitting into the last blocks would only force
// somebody out a few tokens later.
bool Scheduler::has_spare(std::int64_t blocks) const {
  return running_.empty() || blocks_.available() >= blocks + static_cast<std::int64_t>(running_.size());
}

bool Scheduler::reserve(Sequence& s, std::int32_t positions) {
  const std::int64_t missing = blocks_for(positions, blocks_.block_size()) - static_cast<std::int64_t>(s.blocks.size());
  if (missing <= 0) return true;
  if (!make_room(missing, s)) return false;
  for (std::int64_t i = 0; i < missing; ++i) s.blocks.push_back(blocks_.allocate());
  return true;
}

bool Scheduler::make_room(std::int64_t blocks, const Sequence& for_whom) {
  while (blocks_.available() < blocks) {
    Sequence* victim = last_served_holder(for_whom);
    if (victim == nullptr) return false;
    preempt(*victim);
  }
  return true;
}

// The last in order of service that holds blocks, comes after `after` and has no rows in the plan being made.
Sequence* Scheduler::last_served_holder(const Sequence& after) {
  Sequence* last = nullptr;
  for (auto it = running_.rbegin(); it != running_.rend() && last == nullptr; ++it)
    if ((*it)->planned != step_) last = *it;
  for (auto it = groups_.rbegin(); it != groups_.rend(); ++it) {
    if (last != nullptr && it->order < last->group->order) break;
    if (it->prompt.blocks.empty() || it->prompt.planned == step_) continue;
    if (last == nullptr || served_before(*last, it->prompt)) last = &it->prompt;
    break;
  }
  return last != nullptr && served_before(after, *last) ? last : nullptr;
}

void Scheduler::release(Sequence& s) {
  // Last block first, so that the cache loses the end of a prompt before its beginning.
  for (auto it = s.blocks.rbegin(); it != s.blocks.rend(); ++it) blocks_.release(*it);
  s.blocks.clear();
  s.computed = 0;
  s.chain = BlockManager::kRoot;
}

void Scheduler::preempt(Sequence& s) {
  release(s);
  ++preemptions_;
  if (s.is_prompt()) return;
  s.state = Sequence::State::kWaiting;
  ++s.group->waiting;
  std::erase(running_, &s);
}

void Scheduler::weights_changed(bool recompute) {
  for (Group& g : groups_) release(g.prompt);
  if (recompute) {
    for (Sequence* s : running_) {
      release(*s);
      s->state = Sequence::State::kWaiting;
      ++s->group->waiting;
    }
    running_.clear();
  }
  blocks_.drop_cache();
}

void Scheduler::clear() {
  for (Group& g : groups_)
    for (Sequence& s : g.samples) finish(s);
  groups_.clear();
  plan_ = {};
  blocks_.drop_cache();
}

}  // namespace r1
