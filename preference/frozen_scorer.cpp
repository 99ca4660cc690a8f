#include "preference/frozen_scorer.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/element_convert.h"
#include "preference/reward_objective.h"

namespace r1 {
namespace {

TrainSample sample_of(TrainingText text) {
  TrainSample s;
  s.prompt_length = static_cast<std::int32_t>(std::find(text.loss_mask.begin(), text.loss_mask.end(), std::uint8_t{1}) - text.loss_mask.begin());
  s.tokens = std::move(text.tokens);
  return s;
}

}  // namespace

FrozenScorer::FrozenScorer(const ModelDirectory& directory, DType dtype, ComputePool& pool, const Elsewhere& elsewhere) : config_(directory.config()) {
  if (!directory.config().scalar_head)
    throw CheckpointError(message(directory.path().string(), " holds a language model, not a reward model; train one with kind: reward_model"));
  const WeightSnapshot all = directory.snapshot();
  const TensorView& head = all.tensors.back();
  head_.resize(static_cast<std::size_t>(head.elements()));
  convert_elements(head.dtype, head.data, DType::kF32, head_.data(), head_.size());
  if (elsewhere) {
    WeightStore host(config_, dtype);
    directory.load_into(host);
    elsewhere_ = elsewhere(config_, host, head_);
    return;
  }
  model_ = std::make_unique<Transformer>(config_, dtype, pool);
  directory.load_into(model_->weights());
  model_->weights_changed();
}

std::vector<float> FrozenScorer::evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  return elsewhere_ ? elsewhere_(batch, rows) : head_scores(model_->hidden(batch, rows), head_);
}

AnswerScorer make_answer_scorer(std::shared_ptr<FrozenScorer> model, std::shared_ptr<const TrainingTextMaker> texts, std::int64_t budget) {
  auto mutex = std::make_shared<std::mutex>();
  return {[model, texts, budget, mutex](const Prompt& prompt, std::span<const std::string> answers) {
    auto messages = nlohmann::ordered_json::array();
    for (const Message& m : prompt.messages) messages.push_back({{"role", m.role}, {"content", m.content}});
    if (messages.empty()) messages.push_back({{"role", "user"}, {"content", prompt.text}});
    PreferenceSet set;
    set.pairs = false;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      TrainingText made;
      if (texts->has_chat_template()) {
        auto whole = messages;
        whole.push_back({{"role", "assistant"}, {"content", answers[i]}});
        const std::string json = whole.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
        made = texts->make(json, messages.size(), "", prompt.id).back();
      } else {
        made = texts->make_plain(messages.back().at("content").get<std::string>(), answers[i], prompt.id);
      }
      if (static_cast<std::int64_t>(made.tokens.size()) > model->config().max_position_embeddings) continue;
      set.samples.push_back(sample_of(std::move(made)));
      places.push_back(i);
    }
    std::vector<std::optional<float>> out(answers.size());
    if (set.samples.empty()) return out;
    // All answers follow one prompt, unless its template shows it differently.
    const TrainSample& first = set.samples.front();
    for (TrainSample& s : set.samples)
      if (s.prompt_length != first.prompt_length || !std::equal(s.tokens.begin(), s.tokens.begin() + s.prompt_length, first.tokens.begin()))
        s.group = 1 + static_cast<std::uint64_t>(&s - set.samples.data());
    mark_for_scores(set);
    const std::lock_guard lock(*mutex);
    const auto evaluate = [&](const PackedBatch& batch, std::span<const std::int32_t> rows) { return model->evaluate(batch, rows); };
    const std::vector<float> scores = score_samples(evaluate, set.samples, budget);
    for (std::size_t i = 0; i < scores.size(); ++i) out[places[i]] = scores[i];
    return out;
  }};
}

}  // namespace r1
