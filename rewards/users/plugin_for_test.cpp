// A plug-in of the tests, with rewards that do what they must not. Built a second time with R1_TEST_OTHER_ABI, as if
// against other headers.
#include <cmath>
#include <stdexcept>

#include "rewards/plugin.h"

namespace {

class Naughty : public r1::RewardFunction {
 public:
  explicit Naughty(std::string what) : what_(std::move(what)) {}
  std::string_view name() const override { return "naughty"; }
  void score(const r1::SampleGroup&, std::span<r1::RewardResult> out) const override {
    if (what_ == "throw") throw std::runtime_error("index 7 of 3");
    if (what_ == "int") throw 7;
    for (r1::RewardResult& r : out) {
      r.value = what_ == "nan" ? NAN : 1.f;
      if (what_ == "verdict") r.verdict = static_cast<r1::Verdict>(77);
    }
  }

 private:
  std::string what_;
};

std::unique_ptr<r1::RewardFunction> make(r1::PluginArguments& a) {
  if (a.flag("refuse", false)) throw std::invalid_argument("refuse is set");
  const std::string what = a.json("what", "\"fine\"");
  return std::make_unique<Naughty>(what.substr(1, what.size() - 2));
}

}  // namespace

#ifndef R1_TEST_OTHER_ABI
R1_REWARD_PLUGIN({"naughty", "for tests", make}, {"nothing", "makes none", [](r1::PluginArguments&) -> std::unique_ptr<r1::RewardFunction> { return nullptr; }})
#else
extern "C" const R1RewardPlugin* r1_reward_plugin() {
  static const r1::PluginReward rewards[] = {{"naughty", "", make}};
  static const R1RewardPlugin table{1, "reward interface 0, layout 0000000000000000, libstdc++ cxx11", 1, rewards};
  return &table;
}
#endif
