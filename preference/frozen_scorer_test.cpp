#include "preference/frozen_scorer.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "preference/reward_objective.h"
#include "preference/test_support.h"
#include "sft/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

constexpr TokenId kStop = 257;  // <|im_end|>

// A small scorer saved in float32, and the model that it was.
struct Saved {
  Saved() : pool(1) {
    std::string json = read_file(R1_SOURCE_DIR "/tests/golden/trl_tiny/config.json");
    json.replace(json.find("\"vocab_size\": 48"), 16, "\"vocab_size\": 260");
    language = ModelConfig::from_json(json, "config.json");
    backbone = std::make_unique<Transformer>(language.as_scorer(), DType::kF32, pool);
    init_random(backbone->weights(), 3, 0.2f);
    backbone->weights_changed();
    TransformerValue::Options options;
    options.head_std = 0.5;
    value = std::make_unique<TransformerValue>(*backbone, options);
    SaveModelOptions save;
    save.dtype = DType::kF32;
    save_model_directory(dir / "rm", language.as_scorer(), value->weights(0).tensors, save);
  }
  test::TempDir dir;
  ComputePool pool;
  ModelConfig language;
  std::unique_ptr<Transformer> backbone;
  std::unique_ptr<TransformerValue> value;
};

}  // namespace

TEST_CASE("a saved reward model gives the bits that it had; answers to a prompt are scored as in training, alone or together") {
  Saved saved;
  const auto frozen = std::make_shared<FrozenScorer>(ModelDirectory(saved.dir / "rm"), DType::kF32, saved.pool);
  const auto texts = std::make_shared<const TrainingTextMaker>(DatasetOptions{}, test::chat_ml(), std::vector<TokenId>{kStop});
  const AnswerScorer scorer = make_answer_scorer(frozen, texts, 64);
  Prompt prompt;
  prompt.messages = {{"user", "Hi"}};
  const std::vector<std::string> answers = {"a", "bb c", "<think>\nx\n</think>\n\ny"};
  const auto together = scorer.score(prompt, answers);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    CAPTURE(i);
    const std::string turns = "[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":" + json_quote(answers[i]) + "}]";
    const TrainingText text = texts->make(turns, 1, "", "test").at(0);
    CHECK(text.tokens.back() == kStop);
    PackedBatch batch;
    batch.tokens = text.tokens;
    for (std::size_t t = 0; t < text.tokens.size(); ++t) batch.positions.push_back(static_cast<std::int32_t>(t));
    const auto n = static_cast<std::int32_t>(text.tokens.size());
    batch.sequences = {{0, n, -1, -1}};
    const std::vector<std::int32_t> last = {n - 1};
    REQUIRE(together[i]);
    CHECK(*together[i] == saved.value->evaluate(batch, last)[0]);
    CHECK(*scorer.score(prompt, {&answers[i], 1})[0] == *together[i]);
  }
  Prompt plain;
  plain.text = "Hi";  // without messages its text is the user's turn
  CHECK(*scorer.score(plain, answers)[1] == *together[1]);
  const std::vector<std::string> long_one = {std::string(100, 'x'), "a"};  // the context has 64 tokens
  const auto some = scorer.score(prompt, long_one);
  CHECK_FALSE(some[0]);
  CHECK(*some[1] == *together[0]);
}

TEST_CASE("a language model's directory is no reward model") {
  Saved saved;
  Transformer language(saved.language, DType::kF32, saved.pool);
  save_model_directory(saved.dir / "lm", saved.language, language.weights().snapshot(0).tensors, {});
  CHECK_THROWS_WITH_AS(FrozenScorer(ModelDirectory(saved.dir / "lm"), DType::kF32, saved.pool), doctest::Contains("kind: reward_model"), CheckpointError);
}

}  // namespace r1
