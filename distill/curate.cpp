#include "distill/curate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "core/digest.h"
#include "core/error.h"
#include "rewards/judge/prompt.h"
#include "text/data_files.h"

namespace r1 {
namespace {

using Prefer = CurateOptions::Prefer;

struct Candidate {
  std::size_t teacher = 0;
  int sample = 0;
  Completion completion;  // with its stop string
  Score score;
  std::int64_t length = 0;  // tokens; characters where tokens are not known
};

// Question and completion, white space as one space: what duplicates have in common.
std::string duplicate_key(const std::string& question, const std::string& text) {
  std::string out;
  for (const std::string* part : {&question, &text}) {
    for (const char c : *part) {
      if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
        if (!out.empty() && out.back() != ' ') out += ' ';
      } else {
        out += c;
      }
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += ' ';
  }
  return out;
}

class Duplicates {
 public:
  explicit Duplicates(const CurateOptions& o) : options_(o) { clear(); }
  void clear() {
    seen_.clear();
    if (options_.near) index_.emplace(*options_.near);
  }
  // True if `key` is new, and then it is kept.
  bool take(const std::string& key, CurateStats& stats) {
    const Digest digest = digest_of(key);
    if (options_.exact && seen_.count(digest)) {
      ++stats.exact;
      return false;
    }
    if (index_) {
      MinHash hash = min_hash(key, *options_.near);
      if (index_->find(hash)) {
        ++stats.near;
        return false;
      }
      index_->add(std::move(hash));
    }
    if (options_.exact) seen_.insert(digest);
    return true;
  }

 private:
  const CurateOptions& options_;
  std::set<Digest> seen_;
  std::optional<NearIndex> index_;
};

double value_of(const Candidate& c, const std::string& column) {
  if (column == "reward") return c.score.value;
  const auto it = c.score.parts.find(column);
  return it == c.score.parts.end() ? -std::numeric_limits<double>::infinity() : it->second;  // abstained: last
}

// Right ones before others, then the shorter ones, then as drawn.
bool shorter(const Candidate& a, const Candidate& b) {
  const bool right_a = a.score.verdict == Verdict::kCorrect, right_b = b.score.verdict == Verdict::kCorrect;
  return std::tuple(!right_a, a.length, a.teacher, a.sample) < std::tuple(!right_b, b.length, b.teacher, b.sample);
}

// Each next one is the least like those before it.
void order_diverse(std::vector<Candidate>& all) {
  if (all.empty()) return;
  std::sort(all.begin(), all.end(), shorter);
  const NearOptions options;
  std::vector<MinHash> hashes;
  for (const Candidate& c : all) hashes.push_back(min_hash(c.completion.text, options));
  std::vector<double> nearest(all.size(), 0);  // similarity to what is chosen
  std::vector<bool> chosen(all.size(), false);
  std::vector<Candidate> out;
  for (std::size_t next = 0; out.size() < all.size();) {
    chosen[next] = true;
    out.push_back(std::move(all[next]));
    std::size_t best = all.size();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (chosen[i]) continue;
      nearest[i] = std::max(nearest[i], similarity(hashes[i], hashes[next]));
      if (best == all.size() || nearest[i] < nearest[best]) best = i;
    }
    next = best;
  }
  all = std::move(out);
}

void put_in_order(std::vector<Candidate>& all, const CurateOptions& o) {
  if (o.prefer == Prefer::kShortest) std::sort(all.begin(), all.end(), shorter);
  if (o.prefer == Prefer::kDiverse) order_diverse(all);
  if (o.prefer == Prefer::kBest)
    std::sort(all.begin(), all.end(), [&](const Candidate& a, const Candidate& b) {
      const double va = value_of(a, o.best), vb = value_of(b, o.best);
      return va != vb ? va > vb : shorter(a, b);
    });
}

void check(const RawFile& file, const CurateOptions& o) {
  const bool scored = !file.header().rewards.empty();
  if (scored) return;
  if (o.filters.correct) throw ConfigError("filters.correct needs rewards: nothing was scored");
  if (o.min_pass_rate || o.max_pass_rate) throw ConfigError("difficulty needs rewards: nothing was scored");
  if (o.prefer == Prefer::kBest) throw ConfigError("select.by: best needs rewards: nothing was scored");
}

std::vector<Candidate> candidates_of(const RawFile& file, std::size_t p, const RawPrompt& prompt, const CurateOptions& o) {
  std::vector<Candidate> all;
  for (std::size_t t = 0; t < file.header().teachers.size(); ++t) {
    const int samples = samples_of(file, o, t);
    const std::vector<Score> scores = file.scores(t, p);
    for (int s = 0; s < samples; ++s) {
      auto sample = file.sample(t, p, s);
      if (!sample) continue;
      Candidate c;
      c.teacher = t;
      c.sample = s;
      c.completion.text = sample->drawn.text + sample->drawn.stop_text;
      c.completion.stop = sample->drawn.stop;
      c.length = sample->drawn.num_tokens >= 0 ? sample->drawn.num_tokens : characters(c.completion.text);
      if (sample->drawn.num_tokens > 0) c.completion.tokens.assign(static_cast<std::size_t>(sample->drawn.num_tokens), 0);  // for what counts them
      if (static_cast<std::size_t>(s) < scores.size()) c.score = scores[static_cast<std::size_t>(s)];
      all.push_back(std::move(c));
    }
  }
  return all;
}

}  // namespace

int samples_of(const RawFile& file, const CurateOptions& o, std::size_t teacher) {
  return o.samples.empty() ? file.samples(teacher) : o.samples.at(teacher);
}

std::string whole_text(const RawPrompt::Render& render, const Drawn& drawn) { return render.prefill + drawn.text + drawn.stop_text; }

std::vector<Kept> curate(const RawFile& file, const CurateOptions& o, CurateStats& stats) {
  check(file, o);
  const FilterChain chain(o.filters);
  std::optional<Decontaminator> decontaminator;
  if (!o.against.empty()) {
    decontaminator.emplace(o.decontaminate);
    for (const std::string& path : expand_paths(o.against)) decontaminator->add_file(path);
  }
  Duplicates duplicates(o);
  std::map<std::string_view, std::int64_t> refused;
  std::vector<Kept> out;
  for (std::size_t p = 0; p < file.header().prompts; ++p) {
    RawPrompt prompt = file.prompt(p);
    std::vector<Candidate> all = candidates_of(file, p, prompt, o);
    ++stats.prompts;
    stats.samples += static_cast<std::int64_t>(all.size());
    std::int64_t judged = 0, correct = 0;
    for (const Candidate& c : all) judged += c.score.verdict != Verdict::kAbstain, correct += c.score.verdict == Verdict::kCorrect;
    stats.judged += judged;
    stats.correct += correct;
    std::optional<double> rate;
    if (judged > 0) rate = static_cast<double>(correct) / static_cast<double>(judged);

    const std::string question = question_of(prompt.prompt);
    std::erase_if(all, [&](const Candidate& c) {
      prompt.prompt.text = prompt.renders.at(c.teacher).prefill;
      const auto rejection = chain.judge(prompt.prompt, c.completion, c.score);
      if (!rejection) return false;
      ++refused[rejection->filter];
      if (rejection->why.find_first_of("0123456789") == std::string::npos) ++stats.whys[message(rejection->filter, ": ", rejection->why)];
      return true;
    });
    if (decontaminator)
      std::erase_if(all, [&](const Candidate& c) {
        const auto hit = decontaminator->find(question, c.completion.text);
        if (!hit) return false;
        ++stats.contaminated;
        ++stats.contaminated_by[hit->source];
        if (stats.contamination_example.empty())
          stats.contamination_example = message("prompt ", prompt.prompt.id, " and ", hit->source, ": \"", hit->gram, "\"");
        return true;
      });
    if (o.min_pass_rate || o.max_pass_rate) {
      const bool hard = o.min_pass_rate && (!rate || *rate < *o.min_pass_rate), easy = !hard && o.max_pass_rate && rate && *rate > *o.max_pass_rate;
      stats.too_hard_prompts += hard;
      stats.too_easy_prompts += easy;
      if (hard || easy) stats.difficulty += static_cast<std::int64_t>(all.size()), all.clear();
    }
    put_in_order(all, o);
    if (o.within_prompt) duplicates.clear();
    int kept = 0;
    for (const Candidate& c : all) {
      if (o.per_prompt > 0 && kept == o.per_prompt) {
        ++stats.not_selected;
        continue;
      }
      if ((o.exact || o.near) && !duplicates.take(duplicate_key(question, c.completion.text), stats)) continue;
      out.push_back({c.teacher, p, c.sample, rate});
      ++kept;
    }
    stats.prompts_kept += kept > 0;
  }
  for (const std::string_view name : chain.names()) stats.filters.emplace_back(name, refused[name]);
  stats.kept = static_cast<std::int64_t>(out.size());
  return out;
}

}  // namespace r1
