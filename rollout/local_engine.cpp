#include "rollout/local_engine.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace r1 {

Transformer& LocalEngine::prepared(Transformer& transformer, const Options& options) {
  if (options.speculative) transformer.keep_drafting_state();
  return transformer;
}

std::int32_t LocalEngine::count_blocks(const Transformer& transformer, const Options& options) {
  const auto bytes = static_cast<std::int64_t>(transformer.kv_block_bytes());
  const std::int64_t count = options.kv_cache_bytes / bytes;
  if (count < 1)
    throw ConfigError(message("rollout.kv_cache_gb gives ", options.kv_cache_bytes, " bytes, one KV block of this model has ", bytes, "; raise it"));
  return static_cast<std::int32_t>(std::min<std::int64_t>(count, std::int64_t{1} << 30));
}

LocalEngine::LocalEngine(Transformer& transformer, std::shared_ptr<const Tokenizer> tokenizer, const Options& options)
    : EngineBase(std::move(tokenizer), options, transformer.config(), count_blocks(prepared(transformer, options), options), cpu::kKvBlock), model_(transformer),
      arena_(blocks_.size(), transformer.kv_block_bytes()) {
  if (tokenizer_ && tokenizer_->vocab_size() < model_.vocab_limit()) model_.set_vocab_limit(tokenizer_->vocab_size());
}

void LocalEngine::step() {
  learn_digest();
  const StepPlan& plan = scheduler_.plan();
  R1_CHECK(plan.rows > 0, "the scheduler planned nothing for ", requests_.size(), " requests");
  for (const BlockCopy& copy : plan.copies) arena_.copy(copy.from, copy.to);
  build_rows(plan);
  model_.step(rows_, [this](std::size_t row, const float* logits) { draw(row, logits); });
  scheduler_.commit();
  take_draws();
  if (options_.speculative) draft();
  ++stats_.decode_steps;
}

void LocalEngine::take_draws() {
  bool holds = false;  // what was drawn before is the draft that the next draw stands behind, and the sample goes on
  for (const Draw& d : draws_) {
    if (d.behind_draft) {
      ++stats_.drafted_tokens;
      if (!holds) continue;
      ++stats_.accepted_tokens;
      ++d.sample->computed;  // the draft's row was computed in this step
      ++runs_[static_cast<std::size_t>(d.run)].count;
    }
    holds = false;
    const TokenId draft = std::exchange(d.request->of(*d.sample).draft, -1);
    scheduler_.append(*d.sample, d.sampled.token);
    const auto reason = add_token(*d.request, *d.sample, d.sampled.token, d.sampled.logprob, d.sampled.entropy, version_);
    if (reason) end(*d.request, *d.sample, *reason);
    else holds = draft >= 0 && draft_holds(draft, d.sampled.token);
  }
}

// The prediction layer goes over the rows of this step whose next token is known by now, and guesses one token behind the newest. A prompt's
// last row has a next token for each sample: the layer's cache takes the first one's; that may cost a guess, never a wrong token.
void LocalEngine::draft() {
  std::vector<Transformer::DraftRow> rows;
  std::vector<Sequence*> guessed;
  for (const Run& run : runs_) {
    Sequence& s = *run.sequence;
    if (s.state == Sequence::State::kFinished || s.blocks.empty()) continue;
    for (std::int32_t i = 0; i < run.count; ++i) {
      const std::int32_t position = run.begin + i;
      const cpu::KvRow kv = rows_[static_cast<std::size_t>(run.first_row + i)].kv;
      if (position + 1 < s.length()) {
        rows.push_back({run.first_row + i, s.token_at(position + 1), kv, !s.is_prompt() && position + 2 == s.length()});
        guessed.push_back(&s);
      } else if (s.is_prompt()) {
        for (const Sequence& sample : s.group->samples)
          if (!sample.tokens.empty()) {
            rows.push_back({run.first_row + i, sample.tokens.front(), kv, false});
            guessed.push_back(&s);
            break;
          }
      }
    }
  }
  model_.draft(rows, [&](std::size_t row, const float* logits) {
    Sequence& s = *guessed[row];
    Request& request = *request_of(s);
    // The very draw that the next token will be taken by: where the layer's distribution is the model's, so is its guess.
    request.of(s).draft = sample(request, s, static_cast<std::uint32_t>(s.tokens.size()), logits).token;
  });
}

void LocalEngine::build_rows(const StepPlan& plan) {
  rows_.clear();
  pointers_.clear();
  row_draws_.clear();
  draws_.clear();
  runs_.clear();
  std::size_t tables = 0;
  for (const Chunk& chunk : plan.chunks) tables += chunk.sequence->blocks.size();
  pointers_.reserve(tables);  // rows point into it
  for (const Chunk& chunk : plan.chunks) {
    Sequence& s = *chunk.sequence;
    std::byte* const* table = pointers_.data() + pointers_.size();
    for (const BlockId block : s.blocks) pointers_.push_back(arena_.block(block));
    if (options_.poison_kv)
      for (std::size_t b = 0; b < s.blocks.size(); ++b)
        if (static_cast<std::int64_t>(b) * cpu::kKvBlock >= chunk.begin) arena_.fill_nan(s.blocks[b]);
    for (std::int32_t p = chunk.begin; p < chunk.begin + chunk.count; ++p) rows_.push_back({s.token_at(p), {table, p}, false});
    row_draws_.resize(rows_.size());
    runs_.push_back({&s, static_cast<std::int32_t>(rows_.size()) - chunk.count, chunk.begin, chunk.count});
    if (!s.is_prompt()) stats_.decode_rows += chunk.count;
    if (!chunk.wants_logits) continue;
    rows_.back().wants_logits = true;
    Request& request = *request_of(s);
    const auto begin = static_cast<std::int32_t>(draws_.size()), run = static_cast<std::int32_t>(runs_.size()) - 1;
    if (!s.is_prompt()) {
      draws_.push_back({&request, &s, {}, false, run});
    } else {
      for (Sequence& sample : s.group->samples)
        if (sample.state != Sequence::State::kFinished) draws_.push_back({&request, &sample, {}, false, run});
    }
    row_draws_.back() = {begin, static_cast<std::int32_t>(draws_.size())};
    // A guess is checked where its row needs no new block and a token behind it is still wanted.
    const std::int32_t last = chunk.begin + chunk.count - 1;
    const TokenId guess = s.is_prompt() ? -1 : request.of(s).draft;
    if (guess < 0 || (last + 1) % cpu::kKvBlock == 0 || static_cast<int>(s.tokens.size()) + 2 > request.request.sampling.max_new_tokens) continue;
    rows_.push_back({guess, {table, last + 1}, true});
    row_draws_.push_back({static_cast<std::int32_t>(draws_.size()), static_cast<std::int32_t>(draws_.size()) + 1});
    draws_.push_back({&request, &s, {}, true, run});
  }
}

// Called from several threads; each touches its own row's draws only.
void LocalEngine::draw(std::size_t row, const float* logits) {
  for (std::int32_t i = row_draws_[row].first; i < row_draws_[row].second; ++i) {
    Draw& d = draws_[static_cast<std::size_t>(i)];
    d.sampled = sample(*d.request, *d.sample, static_cast<std::uint32_t>(d.sample->tokens.size()) + (d.behind_draft ? 1 : 0), logits);
  }
}

cpu::Sampled LocalEngine::sample(const Request& request, const Sequence& s, std::uint32_t position, const float* logits) const {
  const RolloutRequest& r = request.request;
  DrawKey key = r.key;
  key.sample += static_cast<std::uint32_t>(s.sample);
  const SamplingOptions& o = r.sampling;
  try {
    cpu::Sampled out = cpu::sample_row(logits, model_.vocab_limit(), {o.temperature, o.top_k, o.top_p, o.min_p, draw_uniform(key, position)});
    if (model_.splits_vocabulary() && o.top_k == 0 && o.top_p == 1 && o.min_p == 0) {  // in the learner's order of sums
      const float temperature = o.temperature == 0 ? 1.f : o.temperature;
      const cpu::RowStats stats = model_.row_stats(logits, temperature, true);
      out.logprob = cpu::row_logprob(logits, stats, out.token, temperature), out.entropy = stats.entropy;
    }
    return out;
  } catch (const NumericError& e) {
    throw NumericError(message("prompt ", r.prompt.id, ", sample ", key.sample, ", token ", position, ": ", e.what()));
  }
}

void LocalEngine::install(const WeightSnapshot& snapshot) {
  model_.weights_changed();
  model_.weights().load(snapshot);
}

// Every position but the last, whose token was drawn but not computed. A sample that ended with its first token may have no block of
// its own yet.
std::vector<std::uint16_t> LocalEngine::experts_of(const Sequence& s) const {
  const std::int64_t choices = model_.expert_choices();
  const std::int32_t positions = s.length() - 1;
  std::vector<std::uint16_t> out(static_cast<std::size_t>(positions * choices));
  for (std::int32_t p = 0; choices > 0 && p < positions; ++p) {
    const auto block = static_cast<std::size_t>(p) / cpu::kKvBlock;
    const std::vector<BlockId>& blocks = block < s.blocks.size() ? s.blocks : s.group->prompt.blocks;
    model_.read_experts(arena_.block(blocks.at(block)), p, out.data() + p * choices);
  }
  return out;
}

}  // namespace r1
