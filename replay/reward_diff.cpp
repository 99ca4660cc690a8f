#include "replay/reward_diff.h"

#include <algorithm>

#include "core/error.h"
#include "core/format.h"
#include "core/json_text.h"

namespace r1 {
namespace {

bool differ(std::span<const Score> scores) {
  return std::any_of(scores.begin(), scores.end(), [&](const Score& s) { return s.value != scores[0].value; });
}

std::string side_json(const Score& s) {
  std::string out = message("{\"verdict\":", json_quote(to_string(s.verdict)), ",\"detail\":", json_quote(s.detail), ",\"reward\":", json_number(s.value), ",\"rewards\":{");
  const char* comma = "";
  for (const auto& [name, value] : s.parts) {
    out += message(comma, json_quote(name), ":", json_number(value));
    comma = ",";
  }
  out += "},\"columns\":{";
  comma = "";
  for (const auto& [name, value] : s.columns) {
    out += message(comma, json_quote(name), ":", json_quote(value));
    comma = ",";
  }
  return out + "}}";
}

std::string share(std::int64_t part, std::int64_t all) {
  return message(with_commas(part), " of ", with_commas(all), " (", human_number(100.0 * static_cast<double>(part) / static_cast<double>(std::max<std::int64_t>(all, 1)), 3), " %)");
}

}  // namespace

void RewardDiff::add(std::int64_t step, const SampleGroup& group, std::span<const Score> old, std::span<const Score> now,
                     const std::function<void(const RewardFlip&)>& on_flip) {
  R1_CHECK(old.size() == group.completions.size() && now.size() == group.completions.size(), "scores of another group");
  ++groups;
  signal_before += differ(old);
  signal_after += differ(now);
  for (std::size_t i = 0; i < old.size(); ++i) {
    ++completions;
    before += old[i].value;
    after += now[i].value;
    values += old[i].value != now[i].value;
    const bool judged = old[i].verdict != Verdict::kAbstain && now[i].verdict != Verdict::kAbstain;
    if (judged ? old[i].verdict == now[i].verdict : old[i].value == now[i].value) continue;
    ++flips;
    ++moves[{old[i].verdict, now[i].verdict}];
    on_flip({step, i, &group.prompt, &group.completions[i], &old[i], &now[i]});
  }
}

std::string RewardDiff::text() const {
  std::string out = message("flipped           ", share(flips, completions), "\nrewards changed   ", share(values, completions), "\nmean reward       ",
                            human_number(before / static_cast<double>(std::max<std::int64_t>(completions, 1))), " -> ",
                            human_number(after / static_cast<double>(std::max<std::int64_t>(completions, 1))), "\ngroups that teach ", with_commas(signal_before), " -> ",
                            with_commas(signal_after), " of ", with_commas(groups), "\n");
  if (moves.empty()) return out;
  Table table({"old", "new", "completions"});
  for (const auto& [move, n] : moves) table.add_row({to_string(move.first), to_string(move.second), with_commas(n)});
  return out + table.str();
}

std::string flip_json(const RewardFlip& f) {
  return message("{\"step\":", f.step, ",\"prompt_id\":", json_quote(f.prompt->id), ",\"sample\":", f.sample, ",\"reference\":", json_quote(f.prompt->reference),
                 ",\"completion\":", json_quote(f.completion->text), ",\"stop\":", json_quote(to_string(f.completion->stop)), ",\"old\":", side_json(*f.before), ",\"new\":",
                 side_json(*f.after), "}\n");
}

}  // namespace r1
