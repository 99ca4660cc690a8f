// What a reward in a shared library includes: a class that implements RewardFunction, and one line that names it.
//
//   class Brevity : public r1::RewardFunction { ... };
//   R1_REWARD_PLUGIN({"brevity", "shorter is better", [](r1::PluginArguments& a) -> std::unique_ptr<r1::RewardFunction> {
//                       return std::make_unique<Brevity>(a.number("weight", 1)); }})
//
// Headers alone: a plug-in links nothing of r1. It is asked for its ABI before anything else, and refused by name if it
// was built against other structs, another interface or another C++ library than the program that loads it.
// examples/plugin_reward is a whole one; docs/user_rewards.md the users' page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "rewards/reward.h"

namespace r1 {

// Raised by one with each change of RewardFunction or of what a function of it means. Changed structs are noticed by
// themselves (plugin_layout).
inline constexpr int kRewardInterface = 1;

// The recipe's `arguments:` of a plug-in, as texts of JSON. An argument that the plug-in never asks for is an error of
// the recipe.
class PluginArguments {
 public:
  explicit PluginArguments(std::map<std::string, std::string> json) : json_(std::move(json)) {}

  bool has(const std::string& name) const { return json_.contains(name); }
  // Throw std::invalid_argument that names the argument.
  double number(const std::string& name, double fallback) {
    const std::string* text = find(name);
    if (!text) return fallback;
    char* end = nullptr;
    const double value = std::strtod(text->c_str(), &end);
    if (text->empty() || *end != '\0') throw std::invalid_argument(name + " is " + *text + ", expected a number");
    return value;
  }
  bool flag(const std::string& name, bool fallback) {
    const std::string* text = find(name);
    if (!text) return fallback;
    if (*text != "true" && *text != "false") throw std::invalid_argument(name + " is " + *text + ", expected true or false");
    return *text == "true";
  }
  // The JSON text of any value: "\"a text\"", "[1, 2]".
  std::string json(const std::string& name, const std::string& fallback) {
    const std::string* text = find(name);
    return text ? *text : fallback;
  }
  std::vector<std::string> unread() const {
    std::vector<std::string> out;
    for (const auto& [name, value] : json_)
      if (!read_.contains(name)) out.push_back(name);
    return out;
  }

 private:
  const std::string* find(const std::string& name) {
    read_.insert(name);
    const auto found = json_.find(name);
    return found == json_.end() ? nullptr : &found->second;
  }
  std::map<std::string, std::string> json_;
  std::set<std::string> read_;
};

struct PluginReward {
  const char* name;
  const char* summary;  // one line
  std::unique_ptr<RewardFunction> (*make)(PluginArguments& arguments);  // may throw: the recipe's error
};

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // GCC and Clang have it for these structs
#endif
// Sizes and places of everything that crosses the border, folded into one number.
constexpr std::uint64_t plugin_layout() {
  std::uint64_t h = 14695981039346656037ull;
  for (const std::size_t v :
       {sizeof(RewardResult), offsetof(RewardResult, verdict), offsetof(RewardResult, detail), offsetof(RewardResult, columns),
        offsetof(RewardResult, steps), sizeof(StepReward),
        sizeof(KnownAnswer), offsetof(KnownAnswer, completion), offsetof(KnownAnswer, value), sizeof(SampleGroup),
        offsetof(SampleGroup, completions), sizeof(Prompt), offsetof(Prompt, task), offsetof(Prompt, tokens), offsetof(Prompt, text),
        offsetof(Prompt, reference), offsetof(Prompt, messages), offsetof(Prompt, columns), sizeof(Message), sizeof(Completion),
        offsetof(Completion, tokens), offsetof(Completion, logprobs), offsetof(Completion, sampled), offsetof(Completion, text),
        offsetof(Completion, stop), offsetof(Completion, version_runs), sizeof(VersionRun), sizeof(StopReason), sizeof(Verdict),
        static_cast<std::size_t>(StopReason::kAborted), static_cast<std::size_t>(Verdict::kAbstain), sizeof(PluginArguments), sizeof(PluginReward)})
    h = (h ^ v) * 1099511628211ull;
  return h;
}
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

// Comparable as text, readable in an error.
inline std::string plugin_abi() {
  std::string hex;
  for (int shift = 60; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(plugin_layout() >> shift) & 15];
  std::string library = "C++ library ?";
#if defined(__GLIBCXX__)
  library = std::string("libstdc++ ") + (_GLIBCXX_USE_CXX11_ABI ? "cxx11" : "old strings");
#if defined(_GLIBCXX_DEBUG)
  library += " debug";
#endif
#elif defined(_LIBCPP_VERSION)
  library = "libc++ " + std::to_string(_LIBCPP_ABI_VERSION);
#endif
  return "reward interface " + std::to_string(kRewardInterface) + ", layout " + hex + ", " + library;
}

}  // namespace r1

extern "C" {
// What r1_reward_plugin() points at. The first two members stay where they are in every version: they are all that is
// read before the ABI texts are found equal.
struct R1RewardPlugin {
  std::uint32_t format;  // of this struct: 1
  const char* abi;       // r1::plugin_abi() of the plug-in's build
  std::size_t count;
  const r1::PluginReward* rewards;
};
using R1RewardPluginEntry = const R1RewardPlugin* (*)();
}
#define R1_REWARD_PLUGIN(...)                                                             \
  extern "C" __attribute__((visibility("default"))) const R1RewardPlugin* r1_reward_plugin() { \
    static const r1::PluginReward rewards[] = {__VA_ARGS__};                             \
    static const std::string abi = r1::plugin_abi();                                     \
    static const R1RewardPlugin table{1, abi.c_str(), sizeof rewards / sizeof *rewards, rewards}; \
    return &table;                                                                       \
  }
