// Speed of rewards: one JSON line a case, single thread. rewards_bench [seconds per case]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "rewards/factory.h"

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Case {
  const char* name;
  const char* reward;
  const char* options;
  std::string gold;
  std::vector<std::string> completions;
};

std::string prose(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes)
    out += "First we add 37 and 45, which gives 37 + 45 = 82, and then we look at what is left of it.\n";
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const double budget = argc > 1 ? std::atof(argv[1]) : 0.5;
  const std::string think = "<think>" + prose(1000) + "</think>\n<answer>", close = "</answer>";
  const std::vector<Case> cases = {
      {"math_short_integer",
       "math",
       "{extract: last_number, require_end: true}",
       "82",
       {"37 + 45 = 82", "The sum is 83.", "The answer is 82."}},
      {"math_boxed_integer", "math", "{}", "1234", {"So it is \\boxed{1,234}.", "\\boxed{1233}", "\\boxed{1234}"}},
      {"math_fraction_decimal",
       "math",
       "{}",
       "\\frac{3}{8}",
       {"\\boxed{0.375}", "\\boxed{\\dfrac{6}{16}}", "\\boxed{37.5\\%}"}},
      {"math_text_answer",
       "math",
       "{}",
       "\\frac{\\sqrt{3}}{2}",
       {"\\boxed{\\dfrac{\\sqrt3}{2}}", "\\boxed{\\frac{\\sqrt{2}}{3}}"}},
      {"math_1kB_solution", "math", "{}", "82", {prose(1000) + "The final answer is 82.", prose(1000)}},
      {"math_100kB_solution", "math", "{}", "82", {prose(100'000) + "\\boxed{82}"}},
      {"format_1kB", "format", "{}", "", {think + "82" + close, think}},
      {"countdown",
       "countdown",
       "{}",
       "",
       {"<answer>(24 + 18) + 4 = 46</answer>", "<answer>24 * 18 - 4</answer>", "I do not know"}},
      {"exact_match", "exact_match", "{}", "u r f m", {"u r f m", "U R F M.", "m f r u"}},
      {"repetition_1kB", "repetition", "{}", "", {prose(1000)}},
  };
  for (const Case& c : cases) {
    const auto reward = r1::make_reward(c.reward, std::string(c.options));
    r1::SampleGroup group;
    group.prompt.reference = c.gold;
    group.prompt.columns = {{"numbers", "[4, 24, 18]"}, {"target", "46"}};
    std::size_t bytes = 0;
    for (int i = 0; i < 8; ++i) {  // a group of eight, as in the quick start
      r1::Completion completion;
      completion.text = c.completions[static_cast<std::size_t>(i) % c.completions.size()];
      completion.stop = r1::StopReason::kEos;
      bytes += completion.text.size();
      group.completions.push_back(std::move(completion));
    }
    std::vector<r1::RewardResult> out;
    std::int64_t groups = 0;
    const auto start = Clock::now();
    do {
      out.assign(group.completions.size(), {});
      reward->score(group, out);
      ++groups;
    } while (seconds_since(start) < budget);
    const double s = seconds_since(start), scores = static_cast<double>(groups) * 8;
    std::printf(
        "{\"bench\": \"rewards\", \"case\": \"%s\", \"scores_per_s\": %.0f, \"us_per_score\": %.3f, \"MB_per_s\": "
        "%.1f, \"threads\": 1}\n",
        c.name, scores / s, 1e6 * s / scores, static_cast<double>(groups) * static_cast<double>(bytes) / s / 1e6);
  }
  return 0;
}
