#include "rl/eval/results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "core/error.h"

namespace r1 {
namespace {

using Group = std::vector<const GradedSample*>;  // an item's samples, by number

const Grade& grade_of(const GradedSample& s, bool lenient) { return lenient && s.lenient ? *s.lenient : s.strict; }
bool right(const GradedSample& s, bool lenient) { return grade_of(s, lenient).verdict == Verdict::kCorrect; }

std::int64_t count_right(const Group& g, bool lenient) {
  return std::count_if(g.begin(), g.end(), [&](const GradedSample* s) { return right(*s, lenient); });
}

// 95 %: Wilson for right/wrong items, else the bootstrap.
Interval interval_of(std::span<const double> items, std::uint64_t seed) {
  std::int64_t ones = 0;
  for (const double x : items) {
    if (x != 0 && x != 1) return bootstrap_mean(items, seed);
    ones += x == 1;
  }
  return wilson_interval(ones, static_cast<std::int64_t>(items.size()));
}

std::optional<std::size_t> vote(const Group& g, std::size_t k, bool lenient, VoteEquality equality) {
  std::vector<std::string> answers;
  for (std::size_t i = 0; i < k; ++i) answers.push_back(grade_of(*g[i], lenient).answer);
  return majority(answers, equality);
}

GradingResult grade_part(const std::vector<Group>& groups, bool lenient, std::span<const int> ks, const ResultOptions& o) {
  GradingResult out;
  std::vector<double> shares;
  std::vector<std::int64_t> counts, samples;
  double value = 0;
  std::int64_t n = 0;
  for (const Group& g : groups) {
    samples.push_back(static_cast<std::int64_t>(g.size()));
    counts.push_back(count_right(g, lenient));
    shares.push_back(static_cast<double>(counts.back()) / static_cast<double>(samples.back()));
    for (const GradedSample* s : g) {
      ++out.verdicts[to_string(grade_of(*s, lenient).verdict)];
      value += grade_of(*s, lenient).value;
      ++n;
    }
  }
  out.pass1 = mean_of(shares);
  out.interval = interval_of(shares, o.seed);
  out.standard_error = standard_error(shares);
  out.sampling_error = sampling_standard_error(counts, samples);
  out.mean_value = value / static_cast<double>(n);
  for (const int k : ks) {
    if (k < 2) continue;
    std::vector<double> pass, cons;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      pass.push_back(pass_at_k(samples[i], counts[i], k));
      if (!o.votes) continue;
      const auto winner = vote(groups[i], static_cast<std::size_t>(k), lenient, *o.votes);
      cons.push_back(winner && right(*groups[i][*winner], lenient));
    }
    out.pass_at[k] = mean_of(pass);
    out.pass_at_interval[k] = interval_of(pass, o.seed);
    if (!o.votes) continue;
    out.cons_at[k] = mean_of(cons);
    out.cons_at_interval[k] = interval_of(cons, o.seed);
  }
  return out;
}

PartResult part_of(const std::vector<Group>& groups, bool greedy, bool has_lenient, const ResultOptions& o) {
  PartResult part;
  part.greedy = greedy;
  part.items = static_cast<std::int64_t>(groups.size());
  part.samples = std::numeric_limits<int>::max();
  std::int64_t cut = 0, counted = 0, tokens = 0;
  for (const Group& g : groups) {
    part.samples = std::min(part.samples, static_cast<int>(g.size()));
    part.completions += static_cast<std::int64_t>(g.size());
    for (const GradedSample* s : g) {
      cut += s->stop == StopReason::kLength;
      counted += s->tokens >= 0;
      tokens += std::max<std::int64_t>(s->tokens, 0);
    }
  }
  part.truncated = static_cast<double>(cut) / static_cast<double>(part.completions);
  part.mean_tokens = counted == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(tokens) / static_cast<double>(counted);
  std::vector<int> ks = greedy ? std::vector<int>{} : o.pass_k;
  if (!greedy && ks.empty()) ks = {part.samples};
  for (const int k : ks)
    if (k > part.samples) throw DataError(message("k = ", k, " needs at least ", k, " samples of each item; one has ", part.samples));
  part.strict = grade_part(groups, false, ks, o);
  if (has_lenient) part.lenient = grade_part(groups, true, ks, o);
  const double error = (part.lenient ? *part.lenient : part.strict).standard_error;
  // All items equal: their spread says nothing of what another model's would be.
  part.smallest_detectable = error > 0 ? smallest_detectable_unpaired(error) : std::numeric_limits<double>::quiet_NaN();
  return part;
}

}  // namespace

BenchmarkResult summarise(const std::string& name, std::span<const GradedSample> samples, const std::map<std::string, std::string>& references,
                          const ResultOptions& o) {
  if (samples.empty()) throw DataError(message(name, ": there is no completion to count"));
  BenchmarkResult out;
  out.name = out.title = name;
  for (const bool greedy : {true, false}) {
    std::vector<Group> groups;
    std::unordered_map<std::string, std::size_t> index;
    bool has_lenient = false;
    for (const GradedSample& s : samples) {
      if (s.greedy != greedy) continue;
      const auto [it, is_new] = index.try_emplace(s.id, groups.size());
      if (is_new) groups.emplace_back();
      groups[it->second].push_back(&s);
      has_lenient = has_lenient || s.lenient.has_value();
    }
    if (groups.empty()) continue;
    for (Group& g : groups)
      std::stable_sort(g.begin(), g.end(), [](const GradedSample* a, const GradedSample* b) { return a->sample < b->sample; });
    out.parts.push_back(with_context(name, [&] { return part_of(groups, greedy, has_lenient, o); }));
    for (const Group& g : groups) {
      ItemResult item;
      item.id = g[0]->id;
      if (const auto it = references.find(item.id); it != references.end()) item.reference = it->second;
      item.greedy = greedy;
      item.samples = static_cast<std::int64_t>(g.size());
      item.strict = count_right(g, false);
      item.lenient = count_right(g, true);
      for (const GradedSample* s : g) item.truncated += s->stop == StopReason::kLength;
      if (o.votes)
        if (const auto winner = vote(g, g.size(), true, *o.votes)) item.majority = grade_of(*g[*winner], true).answer;
      out.items.push_back(std::move(item));
    }
  }
  return out;
}

ItemScores match_items(const BenchmarkResult& a, const BenchmarkResult& b, bool greedy, bool lenient) {
  const auto score = [&](const ItemResult& i) { return static_cast<double>(lenient ? i.lenient : i.strict) / static_cast<double>(i.samples); };
  std::unordered_map<std::string, double> of_b;
  for (const ItemResult& i : b.items)
    if (i.greedy == greedy) of_b[i.id] = score(i);
  ItemScores out;
  for (const ItemResult& i : a.items) {
    if (i.greedy != greedy) continue;
    const auto it = of_b.find(i.id);
    if (it == of_b.end())
      throw DataError(
          message(a.name, ": item ", i.id, " was evaluated on one side only; a paired test needs the same items (the same --limit and data)"));
    out.a.push_back(score(i));
    out.b.push_back(it->second);
  }
  if (out.a.size() != of_b.size())
    throw DataError(message(a.name, ": one side has ", out.a.size(), " items, the other ", of_b.size(),
                            "; a paired test needs the same (the same --limit and data)"));
  return out;
}

}  // namespace r1
