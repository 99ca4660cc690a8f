#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "apps/hub_files.h"
#include "apps/train_kind.h"
#include "core/error.h"
#include "recipes/common_sections.h"

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

namespace {

// Each rank sees one GPU, as its first: that of its place on this machine.
void choose_gpu(const Launch& launch) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::vector<std::string> devices;
  for (std::string rest = visible ? visible : ""; !rest.empty();) {
    const std::size_t comma = rest.find(',');
    devices.push_back(rest.substr(0, comma));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  if (devices.size() == 1) return;  // the launcher has chosen
  if (visible && static_cast<std::size_t>(launch.local_rank) >= devices.size())
    throw ConfigError(message("CUDA_VISIBLE_DEVICES=", visible, " has no GPU for local rank ", launch.local_rank));
  const std::string mine = visible ? devices[static_cast<std::size_t>(launch.local_rank)] : std::to_string(launch.local_rank);
  setenv("CUDA_VISIBLE_DEVICES", mine.c_str(), 1);
}

int train_as_rank(const TrainKind& kind, const TrainRequest& request, const Launch& launch) {
  choose_gpu(launch);
  ConfigReader root(request.config);
  ConfigReader section = root.section("train");
  const RanksSection keys = detail::read_ranks(section);
  SessionOptions options;
  options.timeout_s = keys.comm_timeout_s, options.silence_s = keys.comm_silence_s, options.start_timeout_s = keys.comm_start_timeout_s;
  Session session(launch, options);
  TrainRequest mine = request;
  mine.session = &session;
  try {
    return kind.train(mine);
  } catch (const Interrupted&) {
    throw;  // of all ranks
  } catch (const std::exception& e) {
    session.fail(e.what());
    throw;
  }
}

}  // namespace

int train_by_kind(const TrainRequest& request) {
  std::vector<std::string> names;
  for (const TrainKind& kind : kKinds) names.emplace_back(kind.name);
  ConfigReader root(request.config);
  const std::string name = root.get_choice("kind", names.front(), names);
  fetch_hub_data(request.config);
  const TrainKind& kind = *std::find_if(kKinds.begin(), kKinds.end(), [&](const TrainKind& k) { return k.name == name; });
  const Launch launch = read_launch();
  return launch.world > 1 ? train_as_rank(kind, request, launch) : kind.train(request);
}

}  // namespace r1
