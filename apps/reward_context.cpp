#include "apps/reward_context.h"

#include "core/json_text.h"
#include "rewards/users/users.h"

namespace r1 {

RewardContext reward_context() {
  RewardContext context;
  add_user_rewards(context);
  return context;
}

std::string reward_entry_yaml(const std::string& text, const RewardContext& context) {
  const std::size_t colon = text.find(':');
  const std::string key = text.substr(0, colon);
  if (colon != std::string::npos && context.external.contains(key)) return "{" + key + ": " + json_quote(text.substr(colon + 1)) + "}";
  return "{name: " + text + "}";
}

}  // namespace r1
