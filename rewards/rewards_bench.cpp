#include "rewards/rewards_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ostream>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/compute_pool.h"
#include "core/error.h"
#include "core/machine.h"
#include "core/version.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Case {
  std::string name, reward, options, gold;
  std::vector<std::string> completions;
};

std::string prose(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes)
    out += "First we add 37 and 45, which gives 37 + 45 = 82, and then we look at what is left of it.\n";
  return out;
}

std::string times(std::size_t n, std::string_view piece) {
  std::string out;
  while (n-- > 0) out += piece;
  return out;
}

std::vector<Case> make_cases() {
  const std::string think = "<think>" + prose(1000) + "</think>\n<answer>", close = "</answer>";
  return {
      {"math_short_integer", "math", "{extract: last_number, require_end: true}", "82",
       {"37 + 45 = 82", "The sum is 83.", "The answer is 82."}},
      {"math_boxed_integer", "math", "{}", "1234", {"So it is \\boxed{1,234}.", "\\boxed{1233}", "\\boxed{1234}"}},
      {"math_fraction_decimal", "math", "{}", "\\frac{3}{8}", {"\\boxed{0.375}", "\\boxed{\\dfrac{6}{16}}", "\\boxed{37.5\\%}"}},
      {"math_roots", "math", "{}", "\\frac{\\sqrt{3}}{2}", {"\\boxed{\\dfrac{\\sqrt3}{2}}", "\\boxed{\\frac{\\sqrt{2}}{3}}"}},
      {"math_expression", "math", "{}", "\\frac{x^2 - 1}{x + 3}",
       {"\\boxed{\\frac{(x-1)(x+1)}{3+x}}", "\\boxed{\\frac{x^2+1}{x+3}}", "\\boxed{(x^2-1)/(x+3)}"}},
      {"math_trigonometry", "math", "{}", "\\sin(2x) + \\ln 3",
       {"\\boxed{2\\sin x\\cos x + \\ln(3)}", "\\boxed{2\\sin x\\cos x + \\ln(2)}"}},
      {"math_set", "math", "{}", "\\{1, \\frac{1}{2}, \\sqrt{2}\\}", {"\\boxed{\\{0.5, \\sqrt2, 1\\}}", "\\boxed{\\{1, 2, \\sqrt2\\}}"}},
      {"math_interval", "math", "{}", "(-\\infty, 3] \\cup (5, \\infty)",
       {"\\boxed{(5,\\infty)\\cup(-\\infty,3]}", "\\boxed{(-\\infty, 3)\\cup(5,\\infty)}"}},
      {"math_matrix", "math", "{}", "\\begin{pmatrix} 1 & 2 \\\\ 3 & \\frac12 \\end{pmatrix}",
       {"\\boxed{\\begin{pmatrix}1&2\\\\3&0.5\\end{pmatrix}}", "\\boxed{\\begin{pmatrix}1&2\\\\3&5\\end{pmatrix}}"}},
      {"math_equation", "math", "{}", "2x + 3y = 6", {"\\boxed{y = 2 - \\frac{2}{3}x}", "\\boxed{3x + 2y = 6}"}},
      {"math_power_tower", "math", "{}", "5^{5^{5^{5^5}}}", {"\\boxed{5^{5^{5^{5^{5}}}}+1}", "\\boxed{9^{9^{9^9}}}"}},
      {"math_100000_braces", "math", "{}", "82", {"\\boxed{" + times(50'000, "{") + "82" + times(50'000, "}") + "}"}},
      {"math_1kB_solution", "math", "{}", "82", {prose(1000) + "The final answer is 82.", prose(1000)}},
      {"math_100kB_solution", "math", "{}", "82", {prose(100'000) + "\\boxed{82}"}},
      {"format_1kB", "format", "{}", "", {think + "82" + close, think}},
      {"language_1kB", "language", "{language: en}", "", {think + "82" + close}},
      {"countdown", "countdown", "{}", "", {"<answer>(24 + 18) + 4 = 46</answer>", "<answer>24 * 18 - 4</answer>", "I do not know"}},
      {"exact_match", "exact_match", "{}", "u r f m", {"u r f m", "U R F M.", "m f r u"}},
      {"repetition_1kB", "repetition", "{}", "", {prose(1000)}},
  };
}

std::vector<SampleGroup> groups_of(const Case& c) {
  std::vector<SampleGroup> groups;
  for (const std::string& text : c.completions) {
    SampleGroup& g = groups.emplace_back();
    g.prompt.reference = c.gold;
    g.prompt.columns = {{"numbers", "[4, 24, 18]"}, {"target", "46"}};
    Completion& completion = g.completions.emplace_back();
    completion.text = text;
    completion.stop = StopReason::kEos;
  }
  return groups;
}

// Times of single checks in seconds: the last ones, where there are more than fit.
constexpr std::size_t kKeptTimes = 1 << 18;

struct Timed {
  std::vector<float> seconds;
  std::int64_t checks = 0, bytes = 0;
};

void work(const RewardFunction& reward, const std::vector<SampleGroup>& groups, std::size_t first, Clock::time_point end, Timed& out) {
  for (std::size_t i = first;; ++i) {
    const SampleGroup& g = groups[i % groups.size()];
    RewardResult r;
    const Clock::time_point begin = Clock::now();
    reward.score(g, {&r, 1});
    const Clock::time_point now = Clock::now();
    const float s = std::chrono::duration<float>(now - begin).count();
    if (out.seconds.size() < kKeptTimes) out.seconds.push_back(s);
    else out.seconds[static_cast<std::size_t>(out.checks) % kKeptTimes] = s;
    ++out.checks;
    out.bytes += static_cast<std::int64_t>(g.completions[0].text.size());
    if (now >= end) return;
  }
}

nlohmann::ordered_json measure(const Case& c, double seconds, int threads) {
  const auto reward = make_reward(c.reward, c.options);
  const std::vector<SampleGroup> groups = groups_of(c);
  std::vector<Timed> all(static_cast<std::size_t>(threads));
  {
    Timed warm;  // one round: tables and caches of the libraries
    for (std::size_t i = 0; i < groups.size(); ++i) work(*reward, groups, i, Clock::now(), warm);
  }
  const Clock::time_point begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  {
    std::vector<std::jthread> workers;
    for (std::size_t t = 0; t < all.size(); ++t) workers.emplace_back([&, t] { work(*reward, groups, t, end, all[t]); });
  }
  const double took = seconds_since(begin);
  std::vector<float> single;
  double checks = 0, bytes = 0;
  for (const Timed& t : all) {
    single.insert(single.end(), t.seconds.begin(), t.seconds.end());
    checks += static_cast<double>(t.checks);
    bytes += static_cast<double>(t.bytes);
  }
  std::sort(single.begin(), single.end());
  const auto at = [&](double share) {
    const auto i = static_cast<std::size_t>(share * static_cast<double>(single.size()));
    return std::round(static_cast<double>(single[std::min(single.size() - 1, i)]) * 1e9) / 1e3;
  };
  return {{"bench", "rewards"}, {"case", c.name}, {"checks_per_s", static_cast<std::int64_t>(checks / took)}, {"p50_us", at(0.5)}, {"p99_9_us", at(0.999)},
          {"max_us", at(1)}, {"mb_per_s", std::round(bytes / took / 1e5) / 10}, {"threads", threads}, {"seconds", took}};
}

}  // namespace

void run_rewards_bench(const RewardsBenchOptions& o, std::ostream& out) {
  R1_CHECK(o.threads >= 1 && o.seconds > 0, "rewards benchmark with ", o.threads, " threads, ", o.seconds, " s");
  bool any = false;
  for (const Case& c : make_cases()) {
    if (!c.name.starts_with(o.only)) continue;
    any = true;
    for (const int threads : o.threads > 1 ? std::vector<int>{1, o.threads} : std::vector<int>{1}) {
      auto line = measure(c, o.seconds, threads);
      line["machine"] = cpu_name();
      line["cores"] = usable_cores();
      line["commit"] = git_commit();
      out << line.dump() << std::endl;
    }
  }
  if (!any) {
    std::string names;
    for (const Case& c : make_cases()) names += " " + c.name;
    throw ConfigError(message("no case begins with '", o.only, "'; the cases are:", names));
  }
}

}  // namespace r1
