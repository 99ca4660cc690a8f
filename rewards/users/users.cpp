#include "rewards/users/users.h"

namespace r1 {

void add_user_rewards(RewardContext& context) {
  context.external["command"] = make_command_reward;
  context.external["plugin"] = make_plugin_reward;
  context.external["python"] = make_python_reward;
}

}  // namespace r1
