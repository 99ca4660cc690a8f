// Transcripts through time: the same held-out prompts at every evaluation, then prompts of the training rollouts.
#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/format.h"
#include "report/html.h"
#include "report/sections.h"

namespace r1::report {
namespace {

constexpr std::size_t kPrompts = 6, kSteps = 8, kSamples = 3, kCharacters = 3000, kRuns = 8;

using BySteps = std::map<std::int64_t, std::vector<SampleRow>>;

std::string cut(const std::string& text) {
  const std::size_t width = display_width(text);
  if (width <= kCharacters) return escape(text);
  return message(escape(cut_to_width(text, kCharacters)), " <span class=\"note\">(", with_commas(static_cast<std::int64_t>(width)),
      " characters in all)</span>");
}

}  // namespace

std::string transcript(const SampleRow& s) {
  const std::string verdict = s.verdict.empty() ? "none" : s.verdict;
  std::string facts = message("<span class=\"verdict v-", escape(verdict), "\">", escape(verdict), "</span> ", s.greedy ? "greedy, " : "", "reward ",
      human_number(s.reward));
  for (const auto& [name, value] : s.rewards) facts += message(", ", escape(name), " ", human_number(value));
  facts += message(", ", s.tokens, " tokens", s.stop.empty() ? "" : ", stop: " + escape(s.stop));
  if (s.advantage) facts += message(", advantage ", human_number(*s.advantage, 3));
  if (!s.detail.empty()) facts += ", " + escape(s.detail);
  std::string read;
  for (const auto& [name, value] : s.columns) read += message(read.empty() ? "" : "; ", escape(name), ": <code>", escape(value), "</code>");
  return message("<article class=\"sample\"><p class=\"facts\">", facts, "</p>", read.empty() ? "" : "<p class=\"facts\">read: " + read + "</p>",
      "<pre>",
                 s.completion.empty() ? "<span class=\"note\">(empty)</span>" : cut(s.completion), "</pre></article>\n");
}

namespace {

// How often the verdict of a prompt's completions changed between steps: those that changed tell the most.
struct Candidate {
  std::string id;
  std::size_t order = 0, steps = 0, changes = 0;
};

std::vector<Candidate> candidates(const BySteps& steps) {
  std::map<std::string, Candidate> by_id;
  std::map<std::string, double> share;
  for (const auto& [step, rows] : steps) {
    std::map<std::string, std::pair<double, double>> right;  // reward, completions
    for (const SampleRow& row : rows) right[row.prompt_id].first += row.verdict == "ok", right[row.prompt_id].second += 1;
    for (const SampleRow& row : rows)
      if (!by_id.contains(row.prompt_id)) by_id[row.prompt_id] = {row.prompt_id, by_id.size(), 0, 0};
    for (const auto& [id, sum] : right) {
      Candidate& c = by_id[id];
      const double now = sum.first / sum.second;
      c.changes += c.steps > 0 && now != share[id];
      c.steps += 1;
      share[id] = now;
    }
  }
  std::vector<Candidate> list;
  for (auto& [id, c] : by_id) list.push_back(c);
  std::sort(list.begin(), list.end(), [](const Candidate& a, const Candidate& b) {
    return std::tuple(b.steps, b.changes, a.order) < std::tuple(a.steps, a.changes, b.order);
  });
  return list;
}

// The user's last words in a chat prompt with <|markers|>, else the prompt.
std::string question(const std::string& prompt) {
  const std::size_t user = prompt.rfind("user\n");
  const std::string from = user == std::string::npos ? prompt : prompt.substr(user + 5);
  const std::size_t end = from.find("<|", 1);
  return from.substr(0, end);
}

std::string prompt_through_time(const BySteps& steps, const std::string& id, bool open) {
  std::vector<std::int64_t> at;
  const SampleRow* any = nullptr;
  for (const auto& [step, rows] : steps)
    for (const SampleRow& row : rows)
      if (row.prompt_id == id && (at.empty() || at.back() != step)) at.push_back(step), any = &row;
  std::string body = message("<p class=\"facts\">", escape(id), any->reference.empty() ? "" : message("; reference: <code>",
      escape(cut_to_width(any->reference, 200)), "</code>"),
                             "</p><pre class=\"prompt\">", cut(any->prompt), "</pre>\n<div class=\"timeline\">");
  for (std::size_t i : spread_indices(at.size(), kSteps)) {
    std::size_t shown = 0, all = 0;
    std::string texts;
    for (const SampleRow& row : steps.at(at[i])) {
      if (row.prompt_id != id) continue;
      ++all;
      if (shown < kSamples) texts += transcript(row), ++shown;
    }
    body += message("<div><h4>step ", at[i], all > shown ? message(" <span class=\"note\">", shown, " of ", all, "</span>") : std::string(), "</h4>",
        texts, "</div>\n");
  }
  return fold(message(escape(cut_to_width(question(any->prompt), 90)), " <span class=\"note\">", at.size(), at.size() == 1 ? " step" : " steps",
      "</span>"), body + "</div>", open);
}

std::string through_time(const BySteps& steps, std::size_t prompts, bool open) {
  std::string out;
  for (const Candidate& c : candidates(steps)) {
    if (prompts-- == 0) break;
    out += prompt_through_time(steps, c.id, open);
    open = false;
  }
  return out;
}

}  // namespace

std::string samples_section(std::span<const RunData> runs) {
  std::string out;
  std::size_t shown = 0;
  for (const RunData& run : runs) {
    if (run.evaluations.empty() && run.samples.empty()) continue;
    if (shown++ == kRuns) {
      out += message("<p class=\"note\">Transcripts of the first ", kRuns, " runs only; make a report of a run alone for its own.</p>");
      break;
    }
    std::string body;
    if (!run.evaluations.empty())
      body += message("<h4>Held-out prompts at every evaluation</h4>", through_time(run.evaluations, kPrompts, runs.size() == 1));
    if (!run.samples.empty()) {
      // A prompt of the first, a middle and the last recorded rollout where none comes again.
      BySteps few;
      std::vector<std::int64_t> steps;
      for (const auto& [step, rows] : run.samples) steps.push_back(step);
      for (std::size_t i : spread_indices(steps.size(), kPrompts)) few[steps[i]] = run.samples.at(steps[i]);
      std::string list;
      std::set<std::string> seen;
      for (const Candidate& c : candidates(run.samples))
        if (c.steps > 1 && seen.size() < kPrompts && seen.insert(c.id).second) list += prompt_through_time(run.samples, c.id, false);
      for (const auto& [step, rows] : few)
        if (!rows.empty() && seen.insert(rows.front().prompt_id).second) list += prompt_through_time(few, rows.front().prompt_id, false);
      body += "<h4>Training rollouts</h4>" + list;
    }
    out += runs.size() == 1 ? body : fold(escape(run.name), body, shown == 1);
  }
  return section("samples", "Samples through time", out);
}

}  // namespace r1::report
