#include "rl/eval/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/format.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

std::string fixed(double value, int digits) {
  if (std::isnan(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
std::string percent(double value) { return fixed(100 * value, 1); }
std::string with_interval(double value, const Interval& i) { return message(percent(value), " [", percent(i.low), ", ", percent(i.high), "]"); }
std::string p_value(double p) { return std::isnan(p) ? "-" : p < 0.001 ? "< 0.001" : fixed(p, 3); }
const char* part_name(bool greedy) { return greedy ? "greedy" : "sampled"; }

Json number(double v) { return std::isfinite(v) ? Json(v) : Json(); }
Json interval(const Interval& i) { return Json::array({number(i.low), number(i.high)}); }

template <class F>
void each_grading(const PartResult& part, F&& use) {
  use(false, part.strict);
  if (part.lenient) use(true, *part.lenient);
}

Json to_json(const GradingResult& g) {
  Json j = {{"pass@1", number(g.pass1)},
            {"interval", interval(g.interval)},
            {"standard_error", number(g.standard_error)},
            {"sampling_error", number(g.sampling_error)}};
  for (const auto& [k, v] : g.pass_at) j[message("pass@", k)] = number(v), j[message("pass@", k, "_interval")] = interval(g.pass_at_interval.at(k));
  for (const auto& [k, v] : g.cons_at) j[message("cons@", k)] = number(v), j[message("cons@", k, "_interval")] = interval(g.cons_at_interval.at(k));
  j["mean_reward"] = number(g.mean_value);
  j["verdicts"] = g.verdicts;
  return j;
}

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string results_table(std::span<const BenchmarkResult> results) {
  Table table({"benchmark", "part", "items", "k", "grading", "pass@1 % [95 %]", "SE", "pass@k %", "cons@k %", "cut %", "tokens"});
  std::string notes;
  for (const BenchmarkResult& r : results) {
    for (const PartResult& p : r.parts) {
      each_grading(p, [&](bool lenient, const GradingResult& g) {
        const auto list = [](const std::map<int, double>& values) {
          std::string out;
          for (const auto& [k, v] : values) out += (out.empty() ? "" : " ") + message("@", k, " ", percent(v));
          return out.empty() ? std::string("-") : out;
        };
        table.add_row({r.name, part_name(p.greedy), std::to_string(p.items), std::to_string(p.samples),
                       p.lenient ? lenient ? "lenient" : "strict" : "one", with_interval(g.pass1, g.interval), percent(g.standard_error),
                       list(g.pass_at), list(g.cons_at), percent(p.truncated), fixed(p.mean_tokens, 0)});
        if (const auto none = g.verdicts.find("abstain"); none != g.verdicts.end() && none->second == p.completions && !lenient)
          notes += message(r.name, ", ", part_name(p.greedy), ": these rewards say nothing about right or wrong; mean reward ",
                           fixed(g.mean_value, 4), "\n");
        const auto failed = g.verdicts.find("error");
        if (failed != g.verdicts.end() && !lenient)
          notes +=
              message(r.name, ": ", failed->second, " of ", p.completions, " completions could not be graded (verdict error) and count as wrong\n");
      });
      if (!std::isnan(p.smallest_detectable))
        notes += message(r.name, ", ", part_name(p.greedy), ": another model must differ by about ", percent(p.smallest_detectable),
                       " points for such an evaluation to find it (80 % power, unpaired; --compare does better)\n");
    }
    const std::int64_t items = r.parts.empty() ? 0 : r.parts[0].items;
    if (r.rows_of_set > 0 && items != r.rows_of_set) notes += message(r.name, ": ", items, " items; the whole set has ", r.rows_of_set, "\n");
  }
  return table.str() + notes;
}

std::string results_json(std::span<const BenchmarkResult> results) {
  Json all = Json::object();
  for (const BenchmarkResult& r : results) {
    Json one = {{"title", r.title}, {"rows_of_set", r.rows_of_set}};
    for (const PartResult& p : r.parts) {
      Json part = {{"items", p.items},
                   {"samples", p.samples},
                   {"completions", p.completions},
                   {"truncated", number(p.truncated)},
                   {"mean_tokens", number(p.mean_tokens)},
                   {"smallest_detectable", number(p.smallest_detectable)},
                   {"strict", to_json(p.strict)}};
      if (p.lenient) part["lenient"] = to_json(*p.lenient);
      one[part_name(p.greedy)] = std::move(part);
    }
    all[r.name] = std::move(one);
  }
  return dump({{"benchmarks", std::move(all)}});
}

std::vector<ComparisonRow> compare_results(std::span<const BenchmarkResult> a, std::span<const BenchmarkResult> b, std::uint64_t seed) {
  std::vector<ComparisonRow> rows;
  for (const BenchmarkResult& one : a) {
    const auto other = std::find_if(b.begin(), b.end(), [&](const BenchmarkResult& r) { return r.name == one.name; });
    if (other == b.end()) continue;
    for (const PartResult& p : one.parts) {
      const auto q = std::find_if(other->parts.begin(), other->parts.end(), [&](const PartResult& x) { return x.greedy == p.greedy; });
      if (q == other->parts.end()) continue;
      for (const bool lenient : {false, true}) {
        if (lenient && !(p.lenient && q->lenient)) continue;
        const ItemScores scores = match_items(one, *other, p.greedy, lenient);
        rows.push_back({one.name, p.greedy, lenient, compare_paired(scores.a, scores.b, seed)});
      }
    }
  }
  if (rows.empty()) {
    const auto of = [](std::span<const BenchmarkResult> results) {
      std::string out;
      for (const BenchmarkResult& r : results)
        for (const PartResult& p : r.parts) out += message(out.empty() ? "" : ", ", r.name, " ", part_name(p.greedy));
      return out;
    };
    throw DataError(message("the two sides have no benchmark and part in common, so there is nothing to compare: A has ", of(a), "; B has ", of(b)));
  }
  return rows;
}

std::string comparison_table(std::span<const ComparisonRow> rows, const std::string& name_a, const std::string& name_b) {
  Table table(
      {"benchmark", "part", "grading", "items", "A %", "B %", "B - A [95 %]", "p permutation", "p McNemar", "only A", "only B", "detectable"});
  std::string verdicts;
  for (const ComparisonRow& r : rows) {
    const PairedComparison& t = r.test;
    table.add_row({r.benchmark, part_name(r.greedy), r.lenient ? "lenient" : "strict", std::to_string(t.items), percent(t.mean_a), percent(t.mean_b),
                   with_interval(t.difference, t.interval), p_value(t.permutation.p), p_value(t.mcnemar_p),
                   t.only_a < 0 ? "-" : std::to_string(t.only_a), t.only_b < 0 ? "-" : std::to_string(t.only_b), percent(t.smallest_detectable)});
    const bool sure = t.permutation.p < 0.05;
    verdicts += message(r.benchmark, ", ", part_name(r.greedy), r.lenient ? ", lenient: " : ", strict: ",
                        !sure ? "no difference shown at 5 %" : t.difference > 0 ? "B is better at 5 %" : "A is better at 5 %", "\n");
  }
  return message("A = ", name_a, "\nB = ", name_b, "\n", table.str(), verdicts);
}

std::string comparison_json(std::span<const ComparisonRow> rows, const std::string& name_a, const std::string& name_b) {
  Json list = Json::array();
  for (const ComparisonRow& r : rows) {
    const PairedComparison& t = r.test;
    Json j = {{"benchmark", r.benchmark},
              {"part", part_name(r.greedy)},
              {"grading", r.lenient ? "lenient" : "strict"},
              {"items", t.items},
              {"a", number(t.mean_a)},
              {"b", number(t.mean_b)},
              {"difference", number(t.difference)},
              {"interval", interval(t.interval)},
              {"standard_error", number(t.standard_error)},
              {"correlation", number(t.correlation)},
              {"p_permutation", number(t.permutation.p)},
              {"permutation_exact", t.permutation.exact},
              {"smallest_detectable", number(t.smallest_detectable)}};
    if (t.only_a >= 0) j["only_a"] = t.only_a, j["only_b"] = t.only_b, j["p_mcnemar"] = number(t.mcnemar_p);
    list.push_back(std::move(j));
  }
  return dump({{"a", name_a}, {"b", name_b}, {"comparisons", std::move(list)}});
}

std::string agreement_table(std::span<const Agreement> agreements) {
  Table table({"their score", "our grading", "items", "theirs %", "ours %", "agree %", "only theirs", "only ours"});
  std::string lines;
  for (const Agreement& a : agreements) {
    const auto n = static_cast<double>(a.items);
    table.add_row({a.name, a.lenient ? "lenient" : "strict", std::to_string(a.items), percent(static_cast<double>(a.theirs) / n),
                   percent(static_cast<double>(a.ours) / n), percent(1 - static_cast<double>(a.only_theirs + a.only_ours) / n),
                   std::to_string(a.only_theirs), std::to_string(a.only_ours)});
    constexpr std::size_t kShown = 10;
    for (std::size_t i = 0; i < std::min(kShown, a.differing.size()); ++i) lines += a.name + "  " + a.differing[i] + "\n";
    if (a.differing.size() > kShown) lines += message(a.name, "  ... and ", a.differing.size() - kShown, " more\n");
  }
  return table.str() + lines;
}

std::string agreement_json(std::span<const Agreement> agreements) {
  Json list = Json::array();
  for (const Agreement& a : agreements)
    list.push_back({{"name", a.name},
                    {"grading", a.lenient ? "lenient" : "strict"},
                    {"items", a.items},
                    {"theirs", a.theirs},
                    {"ours", a.ours},
                    {"only_theirs", a.only_theirs},
                    {"only_ours", a.only_ours},
                    {"differing", a.differing}});
  return dump({{"agreement", std::move(list)}});
}

std::string elo_text(const EloRating& r) {
  if (std::isinf(r.rating))
    return message("rating ", r.rating > 0 ? "above" : "below", " every opponent: all ", r.games, " games in ", r.contests, " contests were ",
                   r.rating > 0 ? "won" : "lost", ", which has no finite maximum\n");
  return message("rating ", fixed(r.rating, 0), " [", fixed(r.interval.low, 0), ", ", fixed(r.interval.high, 0), "] over ", r.contests,
                 " contests (bootstrap, 95 %); ", r.games, " games, standard error ", fixed(r.standard_error, 1), " if they were independent\n");
}

std::string elo_json(const EloRating& r) {
  return dump({{"rating", number(r.rating)},
               {"interval", interval(r.interval)},
               {"standard_error", number(r.standard_error)},
               {"games", r.games},
               {"contests", r.contests}});
}

}  // namespace r1
