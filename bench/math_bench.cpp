// The maths checker on labelled pairs: accuracy, checks a second, latency; one JSON line a class of inputs.
// math_bench PAIRS.jsonl [seconds a case] [threads] [class]; rows are {"class", "gold", "answer", "label", "options"?}. A check
// reads both sides anew: nothing is cached. Class "hostile" is made here: power towers, 10^5 braces and the like.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "rewards/math/check.h"

namespace {

using Clock = std::chrono::steady_clock;
using r1::math::CheckOptions;
using r1::math::Outcome;
// Latency is the thread's own time: on a shared machine the wall clock counts the neighbours too.
double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Pair {
  std::string gold, answer;
  bool label = false, labelled = true;
  CheckOptions options;
};

std::vector<Pair> hostile() {
  std::string tower = "5", binomials = "3000", sum = "x", nested = "1", product = "(x+1)";
  for (int i = 0; i < 40; ++i) tower += "^{5", nested = "\\sqrt{1+" + nested + "}";
  tower += std::string(40, '}');
  for (int i = 0; i < 300; ++i) sum += "+x", product += "(x+1)";
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"\\pi", std::string(100000, '{')},
      {"\\pi", std::string(100000, '{') + "1" + std::string(100000, '}')},
      {"\\pi", "\\frac{" + std::string(100000, '(')},
      {"\\pi", std::string(3900, '(') + "1" + std::string(3900, ')')},
      {"\\pi", "5^5^5^5^5"},
      {"\\pi", tower},
      {"\\pi", "9^{9^{9^9}}"},
      {"\\pi", "3000!!!!"},
      {"\\pi", "2^{99999}-2^{99998}"},
      {"3^{20000}", "3^{20001}"},
      {"\\sin(10^{30})", "\\cos(10^{30})"},
      {nested, nested + "+10^{-30}"},
      {sum, "301x"},
      {product, "(x+1)^{301}"},
      {"x^{100000}", "x^{100001}"},
      {"\\binom{3000}{1500}", "\\binom{3000}{1501}"},
      {std::string(1000, '9'), std::string(999, '9') + "8"},
      {"\\tan(\\tan(\\tan(\\tan(\\tan 1))))", "\\pi"},
      {"x^x^x^x", "x^{x^x}"},
      {"e^{e^{e^{e}}}", "e^{e^{e^{e^{e}}}}"}};
  std::vector<Pair> out;
  for (const auto& [gold, answer] : pairs) out.push_back({gold, answer, false, false, {}});
  return out;
}

void measure(const std::string& name, const std::vector<Pair>& pairs, double seconds, int threads) {
  int right = 0, missed = 0, wrong = 0, accepted = 0, undecided = 0;
  for (const Pair& p : pairs) {
    const Outcome o = r1::math::check(p.gold, p.answer, p.options).outcome;
    undecided += o == Outcome::kUndecided;
    if (!p.labelled) continue;
    (p.label ? right : wrong) += 1;
    missed += p.label && o != Outcome::kEqual;
    accepted += !p.label && o == Outcome::kEqual;
  }
  std::vector<double> us;
  std::atomic<long> total = 0;
  const auto begin = Clock::now();
  std::atomic<double> cpu = 0;
  const auto work = [&](bool record) {
    long done = 0;
    std::vector<double> mine;
    const double started = thread_seconds();
    for (double last = started; seconds_since(begin) < seconds || (record && done < static_cast<long>(pairs.size())); ++done) {
      const Pair& p = pairs[static_cast<std::size_t>(done) % pairs.size()];
      (void)r1::math::check(p.gold, p.answer, p.options);
      const double now = thread_seconds();
      if (record) mine.push_back(1e6 * (now - last));
      last = now;
    }
    total += done;
    cpu += thread_seconds() - started;
    if (record) us = std::move(mine);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work, false);
  work(true);
  for (std::thread& t : others) t.join();
  const double s = seconds_since(begin);
  std::sort(us.begin(), us.end());
  const auto at = [&](double q) { return us[std::min(us.size() - 1, static_cast<std::size_t>(q * static_cast<double>(us.size())))]; };
  std::printf(
      "{\"bench\": \"math\", \"grader\": \"r1\", \"class\": \"%s\", \"threads\": %d, \"pairs\": %zu, \"right\": %d, \"missed\": %d, "
      "\"wrong\": %d, \"accepted\": %d, \"undecided\": %d, \"checks_per_s\": %.0f, "
      "\"checks_per_cpu_s\": %.0f, \"p50_us\": %.2f, \"p99_us\": %.1f, "
      "\"p999_us\": %.1f, \"max_us\": %.0f}\n",
      name.c_str(), threads, pairs.size(), right, missed, wrong, accepted, undecided, static_cast<double>(total) / s, static_cast<double>(total) / cpu, at(0.5), at(0.99),
      at(0.999), us.back());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: math_bench PAIRS.jsonl [seconds a case] [threads]\n");
    return 2;
  }
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1;
  const int threads = argc > 3 ? std::atoi(argv[3]) : 1;
  std::ifstream in(argv[1]);
  if (!in) {
    std::fprintf(stderr, "math_bench: cannot read %s\n", argv[1]);
    return 2;
  }
  std::map<std::string, std::vector<Pair>> classes;
  std::vector<Pair> mixed;
  for (std::string line; std::getline(in, line);) {
    const auto row = nlohmann::json::parse(line);
    Pair p{row["gold"], row["answer"], row["label"], true, {}};
    if (row.contains("options")) {
      r1::ConfigReader reader(r1::Config::parse(row["options"].dump(), "options"));
      p.options = r1::math::read_check_options(reader);
    }
    classes[row["class"]].push_back(p);
    mixed.push_back(std::move(p));
  }
  for (const auto& [name, pairs] : classes) {
    if (argc <= 4 || name == argv[4]) measure(name, pairs, seconds, threads);
  }
  if (argc > 4) return 0;
  const std::vector<Pair> bad = hostile();
  measure("hostile", bad, seconds, threads);
  // One hostile input among a hundred.
  std::size_t next = 0;
  for (std::size_t i = 0; i < mixed.size(); i += 100) mixed.insert(mixed.begin() + static_cast<std::ptrdiff_t>(i), bad[next++ % bad.size()]);
  for (Pair& p : mixed) p.labelled = false;
  measure("all_with_hostile", mixed, seconds, threads);
  return 0;
}
