#include "rollout/pipelined_engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

constexpr TokenId kUnknown = -1;  // drawn by a step that was not collected yet

LocalEngineOptions lowered(LocalEngineOptions o, const StepDevice& device) {
  o.max_rows = std::min(o.max_rows, device.max_decode_rows());
  o.prefill_tokens_per_step = std::min(o.prefill_tokens_per_step, device.max_prefill_rows());
  return o;
}

}  // namespace

PipelinedEngine::PipelinedEngine(StepDevice& device, std::shared_ptr<const Tokenizer> tokenizer, const Options& options)
    : EngineBase(std::move(tokenizer), lowered(options, device), device.config(), device.blocks(), device.block_size()), device_(device) {
  if (tokenizer_ && tokenizer_->vocab_size() < device_.vocab_limit()) device_.set_vocab_limit(tokenizer_->vocab_size());
  free_all_slots();
  memory_epoch_ = device_.memory_epoch();
}

void PipelinedEngine::step() {
  const bool launched = !scheduler_.idle() && launch_step();
  if (!in_flight_.empty() && (!launched || static_cast<int>(in_flight_.size()) >= device_.max_in_flight())) collect_step();
}

bool PipelinedEngine::launch_step() {
  learn_digest();
  if (const std::uint64_t epoch = device_.memory_epoch(); epoch != memory_epoch_) {
    // Somebody else used the memory of the blocks.
    R1_CHECK(in_flight_.empty(), "the blocks' memory was taken while a step was in flight");
    scheduler_.weights_changed(true);
    free_idle_slots();
    memory_epoch_ = epoch;
  }
  // More samples drew than there are slots: what no slot remembers has to be known before it can be planned.
  if (!in_flight_.empty() && in_flight_.back().unslotted) drain();
  if (scheduler_.idle()) return false;
  const std::int64_t preempted = scheduler_.preemptions();
  const StepPlan& plan = scheduler_.plan();
  if (scheduler_.preemptions() != preempted) free_idle_slots();
  if (plan.rows == 0) {
    R1_CHECK(!in_flight_.empty(), "the scheduler planned nothing for ", requests_.size(), " requests");
    return false;
  }
  Step step;
  if (!spare_steps_.empty()) {
    step = std::move(spare_steps_.back());
    spare_steps_.pop_back();
  }
  step.version = version_;
  build_rows(plan, step);
  device_.launch(rows_);
  scheduler_.commit();
  for (const Draw& d : step.draws) {
    const Sample& sample = d.request->samples[static_cast<std::size_t>(d.sample)];
    if (!d.closing && sample.sequence != nullptr) scheduler_.append(*sample.sequence, kUnknown);
  }
  ++stats_.decode_steps;
  in_flight_.push_back(std::move(step));
  return true;
}

void PipelinedEngine::build_rows(const StepPlan& plan, Step& step) {
  rows_.clear();
  step.draws.clear();
  step.met.clear();
  step.unslotted = false;
  for (const BlockCopy& copy : plan.copies) rows_.copy_from.push_back(copy.from), rows_.copy_to.push_back(copy.to);
  const auto decodes = [](const Chunk& c) { return c.count == 1 && !c.sequence->is_prompt(); };
  for (const bool decode : {true, false}) {
    for (const Chunk& chunk : plan.chunks) {
      if (decodes(chunk) != decode) continue;
      add_sequence(chunk, decode);
      if (request_of(*chunk.sequence)->request.sampling.want_experts && device_.expert_choices() > 0) {
        const Sequence& s = *chunk.sequence;
        // A prompt's positions before the chunk may have come from the cache: all are read again at its end.
        const std::int32_t begin = s.is_prompt() && chunk.wants_logits ? 0 : chunk.begin;
        step.met.push_back({request_of(s), s.is_prompt() ? -1 : s.sample, static_cast<std::int32_t>(request_of(s)->request.prompt.tokens.size()), begin,
                            chunk.begin + chunk.count, s.blocks});
      }
      if (!chunk.sequence->is_prompt()) stats_.decode_rows += chunk.count;
      if (chunk.wants_logits) add_draws(chunk, static_cast<std::int32_t>(rows_.tokens.size()) - 1, step);
    }
    if (decode) rows_.decode_rows = static_cast<std::int32_t>(rows_.tokens.size());
  }
}

void PipelinedEngine::add_sequence(const Chunk& chunk, bool decode) {
  const Sequence& s = *chunk.sequence;
  const auto table = static_cast<std::int32_t>(rows_.table_begin.size()) - 1;
  rows_.tables.insert(rows_.tables.end(), s.blocks.begin(), s.blocks.end());
  rows_.table_begin.push_back(static_cast<std::int32_t>(rows_.tables.size()));
  if (!decode) rows_.runs.push_back({static_cast<std::int32_t>(rows_.tokens.size()), chunk.count, chunk.begin, table});
  for (std::int32_t p = chunk.begin; p < chunk.begin + chunk.count; ++p) {
    TokenId token = s.token_at(p);
    if (token == kUnknown) token = -1 - request_of(s)->of(s).slot;
    rows_.tokens.push_back(token);
    rows_.positions.push_back(p);
  }
}

void PipelinedEngine::add_draws(const Chunk& chunk, std::int32_t row, Step& step) {
  const Sequence& planned = *chunk.sequence;
  const std::shared_ptr<Request>& request = request_of(planned);
  const RolloutRequest& r = request->request;
  const auto draw = [&](const Sequence& s) {
    Sample& sample = request->of(s);
    if (sample.slot == kNoSlot && !free_slots_.empty()) {
      sample.slot = free_slots_.back();
      free_slots_.pop_back();
    }
    step.unslotted = step.unslotted || sample.slot == kNoSlot;
    DrawKey key = r.key;
    key.sample += static_cast<std::uint32_t>(s.sample);
    const SamplingOptions& o = r.sampling;
    rows_.draws.push_back({row, sample.slot, draw_uniform(key, static_cast<std::uint32_t>(sample.draws)), o.temperature, o.top_k, o.top_p, o.min_p});
    step.draws.push_back({request, s.sample, s.tokens.size(), ++sample.draws >= o.max_new_tokens});
  };
  if (!planned.is_prompt()) {
    draw(planned);
    return;
  }
  for (const Sequence& s : planned.group->samples)
    if (s.state != Sequence::State::kFinished) draw(s);
}

void PipelinedEngine::collect_step() {
  Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  const std::span<const DeviceDraw> drawn = device_.collect();
  R1_CHECK(drawn.size() == step.draws.size(), drawn.size(), " draws came back of ", step.draws.size());
  keep_experts(step);
  for (std::size_t i = 0; i < drawn.size(); ++i) take(step.draws[i], drawn[i], step.version);
  step.draws.clear();
  step.met.clear();
  spare_steps_.push_back(std::move(step));
}

void PipelinedEngine::keep_experts(const Step& step) {
  const auto choices = static_cast<std::size_t>(device_.expert_choices());
  for (const Met& m : step.met)
    for (std::int32_t p = m.begin; p < m.end; ++p) {
      const bool own = p >= m.prompt_length;
      std::vector<std::uint16_t>& to = own ? m.request->samples[static_cast<std::size_t>(m.sample)].experts : m.request->prompt_experts;
      const std::size_t at = static_cast<std::size_t>(own ? p - m.prompt_length : p) * choices;
      if (to.size() < at + choices) to.resize(at + choices);
      device_.read_experts(m.blocks.at(static_cast<std::size_t>(p / device_.block_size())), p, to.data() + at);
    }
}

std::vector<std::uint16_t> PipelinedEngine::experts_of(const Sequence& s) const {
  const Request& request = *request_of(s);
  std::vector<std::uint16_t> out = request.prompt_experts;
  const std::vector<std::uint16_t>& own = request.samples[static_cast<std::size_t>(s.sample)].experts;
  // Of every position but the last, whose token was drawn but not computed; one computed in vain is left out too.
  const auto positions = static_cast<std::size_t>(s.length() - 1);
  out.insert(out.end(), own.begin(), own.end());
  out.resize(positions * static_cast<std::size_t>(device_.expert_choices()));
  return out;
}

void PipelinedEngine::drain() {
  while (!in_flight_.empty()) collect_step();
}

void PipelinedEngine::take(const Draw& d, const DeviceDraw& drawn, WeightVersion version) {
  Request& request = *d.request;
  Sample& sample = request.samples[static_cast<std::size_t>(d.sample)];
  if (sample.sequence == nullptr) return;  // ended at an earlier token
  if (drawn.token < 0)
    throw NumericError(message("prompt ", request.request.prompt.id, ", sample ", request.request.key.sample + static_cast<std::uint32_t>(d.sample),
                               ", token ", d.index, ": a logit is NaN or infinite; the weights or the activations of this row went bad"));
  Sequence& s = *sample.sequence;
  if (d.closing) s.tokens.push_back(drawn.token);
  else s.tokens[d.index] = drawn.token;
  const auto reason = add_token(request, s, drawn.token, drawn.logprob, drawn.entropy, version);
  if (reason) {
    s.tokens.resize(d.index + 1);
    end(request, s, *reason);
  } else if (s.state == Sequence::State::kWaiting && s.tokens.back() != kUnknown) {
    release_slot(sample);  // preempted, or not admitted yet: its token is known, others can use the slot
  }
}

void PipelinedEngine::release_slot(Sample& sample) {
  if (sample.slot != kNoSlot) free_slots_.push_back(std::exchange(sample.slot, kNoSlot));
}

// Of samples that wait, no token of which is on its way: where they were preempted after their token was taken.
void PipelinedEngine::free_idle_slots() {
  for (auto& [id, request] : requests_)
    for (Sample& sample : request->samples)
      if (sample.sequence != nullptr && sample.sequence->state == Sequence::State::kWaiting && !sample.sequence->tokens.empty() &&
          sample.sequence->tokens.back() != kUnknown)
        release_slot(sample);
}

void PipelinedEngine::free_all_slots() {
  free_slots_.clear();
  for (std::int32_t s = device_.slots(); s-- > 0;) free_slots_.push_back(s);
}

void PipelinedEngine::discard() noexcept {
  for (; !in_flight_.empty(); in_flight_.pop_front()) {
    try {
      device_.collect();
    } catch (...) {  // the error that led here is the one to tell
    }
  }
  for (auto& [id, request] : requests_)
    for (Sample& sample : request->samples) sample.slot = kNoSlot;
  free_all_slots();
}

}  // namespace r1
