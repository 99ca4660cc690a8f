#include <algorithm>
#include <array>
#include <vector>

#include "apps/hub_files.h"
#include "apps/train_kind.h"

namespace r1 {
namespace {

constexpr std::array kKinds = {
    TrainKind{"grpo", train_grpo},
    TrainKind{"sft", train_sft},
    TrainKind{"reward_model", train_reward_model},
    TrainKind{"dpo", train_dpo},
    TrainKind{"distill", train_distill},
};

}  // namespace

std::span<const TrainKind> train_kinds() { return kKinds; }

int train_by_kind(const TrainRequest& request) {
  std::vector<std::string> names;
  for (const TrainKind& kind : kKinds) names.emplace_back(kind.name);
  ConfigReader root(request.config);
  const std::string name = root.get_choice("kind", names.front(), names);
  fetch_hub_data(request.config);
  return std::find_if(kKinds.begin(), kKinds.end(), [&](const TrainKind& kind) { return kind.name == name; })->train(request);
}

}  // namespace r1
