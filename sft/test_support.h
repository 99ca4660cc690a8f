// For tests: a tokenizer of bytes with special tokens, examples of random tokens, updates in a row.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "sft/example_trainer.h"
#include "sft/examples.h"
#include "text/tokenizer.h"

namespace r1::test {

// One token a byte (id = its value); the given special tokens have the ids from 256 on and are found in any text.
class SpecialBytes final : public Tokenizer {
 public:
  SpecialBytes(std::string chat, std::vector<std::string> specials, std::string eos) : chat_(std::move(chat)), specials_(std::move(specials)) {
    for (int b = 0; b < 256; ++b) bytes_.emplace_back(1, static_cast<char>(b));
    bytes_.insert(bytes_.end(), specials_.begin(), specials_.end());
    eos_ = *token_id(eos);
  }
  std::vector<TokenId> encode(std::string_view text, bool add_special) const override {
    std::vector<TokenId> ids;
    if (add_special) ids.push_back('^');
    for (std::size_t i = 0; i < text.size();) {
      std::size_t step = 1;
      TokenId id = static_cast<unsigned char>(text[i]);
      for (std::size_t k = 0; k < specials_.size(); ++k)
        if (text.substr(i).starts_with(specials_[k])) id = static_cast<TokenId>(256 + k), step = specials_[k].size();
      ids.push_back(id);
      i += step;
    }
    return ids;
  }
  std::string decode(const std::vector<TokenId>& ids, bool skip_special) const override {
    std::string out;
    for (TokenId id : ids)
      if (!skip_special || !is_special(id)) out += token_bytes(id);
    return out;
  }
  const std::string& token_bytes(TokenId id) const override { return bytes_.at(static_cast<std::size_t>(id)); }
  bool is_special(TokenId id) const override { return id >= 256; }
  std::optional<TokenId> token_id(std::string_view token) const override {
    for (std::size_t k = 0; k < specials_.size(); ++k)
      if (token == specials_[k]) return static_cast<TokenId>(256 + k);
    return std::nullopt;
  }
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(bytes_.size()); }
  std::optional<TokenId> bos() const override { return '^'; }
  std::optional<TokenId> eos() const override { return eos_; }
  std::optional<TokenId> pad() const override { return std::nullopt; }
  const std::string& chat_template() const override { return chat_; }

 private:
  std::string chat_;
  std::vector<std::string> specials_, bytes_;
  TokenId eos_ = 0;
};

// The form of SmolLM2's and Qwen2.5's templates.
inline const char* const kChatMl =
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

inline std::shared_ptr<const Tokenizer> chat_ml(const std::string& chat = kChatMl) {
  return std::make_shared<SpecialBytes>(chat, std::vector<std::string>{"<|im_start|>", "<|im_end|>", "<|endoftext|>"}, "<|im_end|>");
}

// `lengths` examples of random tokens below `vocab`; about half of each is trained.
inline std::vector<SftExample> random_examples(const std::vector<int>& lengths, int vocab, std::uint64_t seed) {
  std::vector<SftExample> out;
  StreamRng rng(seed, 7);
  for (int n : lengths) {
    SftExample e;
    e.name = "e" + std::to_string(out.size());
    for (int t = 0; t < n; ++t) {
      e.tokens.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
      e.loss_mask.push_back(t > 0 && (t == n - 1 || rng.below(2) == 0));
    }
    out.push_back(std::move(e));
  }
  return out;
}

// `n` updates, each on all examples in order, through the loop: the metrics of each.
inline std::vector<Metrics> updates(ExampleObjective& objective, std::int64_t n, std::int64_t budget, const OptimizerOptions& optimizer) {
  struct Steps : TrainObserver {
    std::vector<Metrics> all;
    void on_step(const StepRecord& r) override { all.push_back(r.metrics); }
  } steps;
  ExampleTrainerOptions o;
  o.optimizer = optimizer;
  o.examples_per_update = objective.size(), o.shuffle = false, o.tokens_per_micro_batch = budget;
  o.epochs = static_cast<double>(n), o.loop.steps = n, o.loop.eval_every = 0;
  ExampleTrainer("test", {&objective, nullptr, {&steps}}, o).run();
  return std::move(steps.all);
}

}  // namespace r1::test
