// The rollout engine of this process: continuous batching over a Transformer on the CPU.
//
// A request's completions are a function of the weights, the prompt, the sampling options and the draw key alone: the
// same bits whatever is batched with it, in chunks of any size, with or without sharing, caching and preemption. The
// log-probabilities have the bits that Transformer::evaluate() gives for the same tokens.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "kernels/cpu.h"
#include "model/transformer.h"
#include "rollout/engine_base.h"
#include "rollout/kv_arena.h"

namespace r1 {

class LocalEngine : public EngineBase {
 public:
  // The transformer outlives the engine; its weights are version 0 until load_weights(), and whoever changes them calls
  // load_weights() before the next rollout. Ids that the tokenizer does not know are excluded from sampling
  // (Transformer::set_vocab_limit). A snapshot of the transformer's own arena is not copied by load_weights().
  LocalEngine(Transformer& transformer, std::shared_ptr<const Tokenizer> tokenizer, const Options& options = {});
  std::size_t kv_block_bytes() const { return arena_.block_bytes(); }

 protected:
  // Whether the row behind a draft stands, now that the token before it was drawn. Virtual so that a test can show that it would notice another rule.
  virtual bool draft_holds(TokenId draft, TokenId drawn) const { return draft == drawn; }

 private:
  struct Draw {
    Request* request = nullptr;
    Sequence* sample = nullptr;
    cpu::Sampled sampled;
    bool behind_draft = false;  // holds only if the sample's draw before it, in draws_ and of this step, is its draft
    std::int32_t run = 0;  // in runs_
  };

  // With drafting switched on where it is asked for: that decides the size of a block.
  static Transformer& prepared(Transformer& transformer, const Options& options);
  static std::int32_t count_blocks(const Transformer& transformer, const Options& options);
  void step() override;
  void install(const WeightSnapshot& snapshot) override;
  WeightDigest compute_digest() const override { return model_.weights().digest(); }
  std::vector<std::uint16_t> experts_of(const Sequence& s) const override;
  void build_rows(const StepPlan& plan);
  void draw(std::size_t row, const float* logits);
  cpu::Sampled sample(const Request& request, const Sequence& s, std::uint32_t position, const float* logits) const;
  void take_draws();
  void draft();

  Transformer& model_;
  KvArena arena_;

  // One step's rows, kept to reuse their memory.
  std::vector<Transformer::Row> rows_;
  std::vector<std::byte*> pointers_;          // block tables of the step's sequences, one after another
  std::vector<std::pair<std::int32_t, std::int32_t>> row_draws_;  // [begin, end) in draws_, by row
  std::vector<Draw> draws_;
  struct Run { Sequence* sequence = nullptr; std::int32_t first_row = 0, begin = 0, count = 0; };
  std::vector<Run> runs_;  // the step's chunks, a checked draft included
};

}  // namespace r1
