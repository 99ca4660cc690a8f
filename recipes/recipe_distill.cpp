#include "recipes/recipe_distill.h"

#include <array>
#include <utility>

#include "core/error.h"
#include "rewards/reward.h"

namespace r1 {
namespace {

const std::array<std::string, 4> kModes = {"sft", "logits", "gkd", "on_policy"};

// What these modes take as given where the recipe says nothing: no advantage from rewards, no clipping, the published rate.
constexpr const char* kOnPolicyDefaults = R"(
rl:
  advantage: {kind: none}
  surrogate: ratio
  learning_rate: 5.0e-5
rollout: {samples_per_prompt: 4}
)";

void read_divergence(ConfigReader& reader, bool gkd, KdOptions& kd) {
  kd.divergence = detail::read_name(reader, "divergence", gkd ? "jsd" : "forward_kl", parse_divergence);
  if (kd.divergence == Divergence::kJsd) kd.beta = reader.get_in<double>("beta", 0.5, 0.0, 1.0);
  else reader.reject("beta", "it belongs to divergence: jsd");
  kd.temperature = reader.get_in<double>("temperature", 1.0, 0.01, 100.0);
}

class NoReward : public RewardFunction {
 public:
  std::string_view name() const override { return "none"; }
  void score(const SampleGroup&, std::span<RewardResult> out) const override {
    for (RewardResult& r : out) r.value = 0.f;
  }
};

}  // namespace

DistillMode distill_mode(const Config& config) {
  ConfigReader root(config);
  ConfigReader distill = root.section("distill");
  distill.require<std::string>("mode");
  const std::string mode = distill.get_choice("mode", "sft", kModes);
  return mode == "sft" ? DistillMode::kSft : mode == "logits" ? DistillMode::kLogits : mode == "gkd" ? DistillMode::kGkd : DistillMode::kOnPolicy;
}

DistillRecipe make_distill_recipe(const Config& config, RewardContext context) {
  DistillRecipe out;
  const bool gkd = distill_mode(config) == DistillMode::kGkd;
  out.base = make_sft_recipe(config, std::move(context), "distill", [&](ConfigReader& root, SftRecipe& recipe) {
    if (recipe.lora && recipe.lora->options.dropout != 0)
      root.section("lora").fail("dropout", "must be 0 in modes logits and gkd: their loss is made beside the pairs");
    ConfigReader distill = root.section("distill");
    distill.get_choice("mode", "logits", kModes);
    read_divergence(distill, gkd, out.options.kd);
    if (gkd) {
      out.options.student_share = distill.get_in<double>("student_share", 0.5, 0.0, 1.0);
      for (const char* key : {"top_k", "store"}) distill.reject(key, "the student's answers need the teacher itself");
      ConfigReader rollout = root.section("rollout");
      out.sampling.temperature = rollout.get_in<float>("temperature", 0.9f, 0.f, 10.f);
      out.sampling.max_new_tokens = rollout.get_in<int>("max_new_tokens", 512, 1, 1 << 24);
    } else {
      distill.reject("student_share", "it belongs to mode: gkd");
      out.top_k = distill.get_in<int>("top_k", 0, 0, 1 << 24);
      out.store = distill.get<std::filesystem::path>("store", {});
      if (out.store.empty() && out.top_k > 0) out.store = recipe.output.dir / "cache/teacher_top_k.safetensors";
    }
    if (gkd || out.store.empty())
      out.teacher = distill.require<std::string>("teacher");
    else
      out.teacher = distill.get<std::string>("teacher", "");
    if (!out.store.empty() && out.top_k == 0 && !std::filesystem::exists(out.store))
      distill.fail("store", message("is not there (", out.store.string(), "); set top_k, the number of tokens to keep, and teacher to have it made"));
    if (!out.store.empty() && out.teacher.empty() && !std::filesystem::exists(out.store))
      distill.fail("teacher", message("is needed to make ", out.store.string()));
  });
  out.options.seed = out.base.seed;
  return out;
}

SftRecipe make_distill_sft_recipe(const Config& config, RewardContext context) {
  return make_sft_recipe(config, std::move(context), "distill", [](ConfigReader& root, SftRecipe&) {
    ConfigReader distill = root.section("distill");
    distill.get_choice("mode", "sft", kModes);
    distill.reject("teacher", "mode sft learns from the teacher's texts in data:; `r1 generate` writes them");
  });
}

Recipe make_on_policy_recipe(const Config& config, RewardContext context) {
  return make_recipe(config.with_defaults(kOnPolicyDefaults, "distill.mode on_policy"), std::move(context));
}

namespace detail {

std::shared_ptr<const Rubric> no_reward() {
  std::vector<Rubric::Entry> entries(1);
  entries[0].reward = std::make_unique<NoReward>();
  return std::make_shared<const Rubric>(std::move(entries));
}

void read_on_policy(ConfigReader& root, Recipe& recipe) {
  ConfigReader distill = root.section("distill");
  distill.get_choice("mode", "on_policy", kModes);
  recipe.teacher = distill.require<std::string>("teacher");
  if (recipe.trainer.train_samples.advantage.kind != AdvantageKind::kNone)
    root.section("rl").section("advantage").fail("kind", "the teacher gives the advantages; leave it out, or use none");
  if (recipe.trainer.dynamic.enabled)
    root.section("rl").section("dynamic_sampling").fail("enabled", "there is no reward to choose groups by; leave it out");
}

}  // namespace detail

}  // namespace r1
