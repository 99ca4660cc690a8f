#include "apps/reward_context.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/json_text.h"
#include "model/hf_directory.h"
#include "preference/frozen_scorer.h"
#include "proto/grpc_reward.h"
#include "proto/http_chat.h"
#include "apps/hub_files.h"
#include "apps/runtime.h"
#include "recipes/engine_chat.h"
#include "rewards/model_reward.h"
#include "rewards/users/users.h"

namespace r1 {
namespace {

// A judge in this process: `model` is a directory or file, beside it timeout and the engine's memory.
ChatClient make_local_chat(ConfigReader& o) {
  const auto name = o.require<std::string>("model");
  const auto timeout = o.get_in<double>("timeout", 600, 0.001, 86'400);
  LocalEngineOptions options;
  options.max_rows = o.get_in<int>("max_rows", 16, 1, 4096);
  options.kv_cache_bytes = static_cast<std::int64_t>(o.get_in<double>("kv_cache_gb", 1, 0.01, 1e5) * (1 << 30));
  struct Parts {
    Runtime run;
    ChatTemplate chat;
    BackendParts made;
  };
  try {
    // On the CPU: the GPU's memory is planned for the model that is trained.
    Runtime run = open_model(name, DType::kBF16, o.get_in<int>("threads", 0, 0, 4096), "cpu");
    if (run.tokenizer->chat_template().empty()) throw ConfigError(message(name, " has no chat template; a judge is asked in messages"));
    ChatTemplate chat(run.tokenizer->chat_template());
    BackendNeeds needs;
    needs.engine = options;
    BackendParts made = run.backend->make(needs, run.tokenizer);
    auto parts = std::shared_ptr<Parts>(new Parts{std::move(run), std::move(chat), std::move(made)});
    const auto render = [parts](const std::vector<Message>& messages) {
      Prompt p;
      p.text = parts->chat.render(messages, template_options(*parts->run.tokenizer));
      p.tokens = parts->run.tokenizer->encode(p.text);
      return p;
    };
    return make_engine_chat(std::shared_ptr<RolloutEngine>(parts, parts->made.engine.get()), render, message("local ", parts->run.path.string()), timeout);
  } catch (const ConfigError& e) {
    o.fail("model", e.what());
  }
}

// A reward model in this process: `model` is its directory, beside it template (of data:, where it was not chat), threads and device.
AnswerScorer make_local_scorer(ConfigReader& o) {
  struct Parts {
    ComputePool pool;
    FrozenScorer scorer;
    Parts(const ModelDirectory& directory, int threads, const FrozenScorer::Elsewhere& device) : pool(threads), scorer(directory, DType::kBF16, pool, device) {}
  };
  constexpr std::int64_t kMicroBatch = 8192;  // tokens
  const auto name = o.require<std::string>("model");
  DatasetOptions layout;
  layout.prompt_template = o.get_choice("template", "chat", std::array<std::string, 3>{"chat", "r1_zero", "none"});
  const int threads = o.get_in<int>("threads", 0, 0, 4096);
  // The CPU unless asked: what a scorer takes of a GPU is gone before the memory of the model that is trained is planned.
  const DeviceKind device = choose_device(o.get_choice("device", "cpu", std::array<std::string, 3>{"cpu", "cuda", "auto"}), DType::kBF16);
  try {
    const ModelDirectory directory(find_model(name));
    const auto on_gpu = [&](const ModelConfig& config, const WeightStore& weights, std::span<const float> head) {
      return make_gpu_scorer(config, weights, head, std::max(kMicroBatch, config.max_position_embeddings));  // a text alone may be longer
    };
    const auto parts = std::make_shared<Parts>(directory, threads, device == DeviceKind::kGpu ? FrozenScorer::Elsewhere(on_gpu) : FrozenScorer::Elsewhere{});
    auto texts = std::make_shared<const TrainingTextMaker>(layout, load_tokenizer(directory.path()), directory.config().eos_token_ids);
    return make_answer_scorer(std::shared_ptr<FrozenScorer>(parts, &parts->scorer), std::move(texts), kMicroBatch);
  } catch (const Error& e) {
    o.fail("model", e.what());
  }
}

}  // namespace

RewardContext reward_context() {
  RewardContext context;
  add_user_rewards(context);
  add_grpc_rewards(context);
  context.external["model"] = [](ConfigReader& o) { return make_model_reward(o, make_local_scorer); };
  context.chat_client = [](ConfigReader& options) { return options.has("url") ? make_http_chat(options) : make_local_chat(options); };
  return context;
}

Config rewards_config(const std::string& recipe, const std::vector<std::string>& rewards, const RewardContext& context) {
  if (!recipe.empty()) return Config::load(recipe, {});
  std::string yaml = "rewards:\n";
  for (const std::string& text : rewards.empty() ? std::vector<std::string>{"math"} : rewards)
    yaml += "  - " + reward_entry_yaml(text, context) + "\n";
  return Config::parse(yaml, "--rewards");
}

std::string reward_entry_yaml(const std::string& text, const RewardContext& context) {
  const std::size_t colon = text.find(':');
  const std::string key = text.substr(0, colon);
  if (colon != std::string::npos && context.external.contains(key)) return "{" + key + ": " + json_quote(text.substr(colon + 1)) + "}";
  return "{name: " + json_quote(text) + "}";
}

}  // namespace r1
