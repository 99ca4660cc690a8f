#include "rewards/language/consistency.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <unicode/uscript.h>

#include "rewards/language/detector.h"
#include "rewards/language/neutral_spans.h"
#include "rewards/language/words.h"

namespace r1 {
namespace {

// The clause's words of one script, as the detector wants them.
std::string join(std::string_view text, const WordList& list, const Clause& clause, Script script) {
  std::string out;
  for (std::size_t w = clause.first; w < clause.last; ++w) {
    const Word& word = list.words[w];
    if (word.script != script) continue;
    if (!out.empty()) out += ' ';
    out += text.substr(word.begin, word.end - word.begin);
  }
  return out;
}

// Kana in a clause: a fifth of its Han and kana letters, so that a Japanese word quoted in Chinese does not turn it.
bool japanese(const WordList& list, const Clause& clause) {
  std::size_t kana = 0, han = 0;
  for (std::size_t w = clause.first; w < clause.last; ++w) {
    const Word& word = list.words[w];
    if (word.script == USCRIPT_HAN) han += word.letters;
    if (word.script == USCRIPT_HIRAGANA || word.script == USCRIPT_KATAKANA) kana += word.letters;
  }
  return kana > 0 && kana * 4 >= han;
}

bool in_list(std::string_view list, std::string_view code) {
  return !code.empty() && ("," + std::string(list) + ",").find("," + std::string(code) + ",") != std::string::npos;
}

// The labels of the clauses for the target's shared script; "" where nothing decides.
std::vector<std::string> clause_labels(std::string_view text, const WordList& list, Script script,
                                       const Language& target) {
  std::vector<std::string> labels(list.clauses.size());
  std::vector<bool> wanted(list.clauses.size());
  const auto decided = [&](const std::string& words) {
    std::string label = detect_language(words);
    return in_list(target.siblings, label) ? std::string() : label;
  };
  std::string last;
  bool open = false;
  for (std::size_t c = 0; c < labels.size(); ++c) {
    const std::string words = join(text, list, list.clauses[c], script);
    wanted[c] = !words.empty();
    if (!wanted[c]) continue;
    labels[c] = decided(words);
    if (labels[c].empty()) labels[c] = last;
    else last = labels[c];
    open = open || labels[c].empty();
  }
  if (!open) return labels;
  // Only clauses before the first label are open: they take it. With no label at all the whole text may be enough.
  std::string label;
  for (const std::string& l : labels) {
    if (label.empty()) label = l;
  }
  if (label.empty()) label = decided(join(text, list, {0, list.words.size()}, script));
  for (std::size_t c = 0; c < labels.size(); ++c) {
    if (wanted[c] && labels[c].empty()) labels[c] = label;
  }
  return labels;
}

}  // namespace

Consistency language_consistency(std::string_view raw, const Language& target, const ConsistencyOptions& options) {
  const std::string text = blank_neutral(raw);
  const WordList list = find_words(text);
  Consistency out;
  const bool detect = options.use_detector && target.shared && detector_built_in();
  std::vector<std::string> labels;
  if (detect) labels = clause_labels(text, list, target.scripts.front(), target);
  // A Han clause without kana between Japanese ones is a heading or a name: it counts as what stands before it.
  bool in_japanese = target.code == "ja" &&
                     std::any_of(list.words.begin(), list.words.begin() + std::min<std::ptrdiff_t>(20, static_cast<std::ptrdiff_t>(list.words.size())),
                                 [](const Word& w) { return w.script == USCRIPT_HIRAGANA; });
  constexpr std::size_t kShortHan = 4;  // words
  for (std::size_t c = 0; c < list.clauses.size(); ++c) {
    const Clause& clause = list.clauses[c];
    const bool kana = japanese(list, clause);
    if (kana || clause.last - clause.first > kShortHan) in_japanese = kana;
    for (std::size_t w = clause.first; w < clause.last; ++w) {
      const Script script = list.words[w].script;
      std::string label = script_label(script);
      if (script == USCRIPT_HAN) {
        label = in_japanese && (kana || target.code == "ja") ? "ja" : "zh";
      } else if (written_in(target, script)) {
        label = detect ? labels[c] : std::string(target.code);
      }
      if (label.empty()) ++out.unsure_words;
      else if (label == target.code) ++out.target_words;
      else ++out.other_words, ++out.others[label];
    }
  }
  const std::size_t counted = out.target_words + out.other_words;
  out.defined = counted >= std::max<std::size_t>(options.min_words, 1);
  if (out.defined) {
    const auto allowed = static_cast<std::size_t>(std::floor(options.allowance * static_cast<double>(counted)));
    const std::size_t foreign = out.other_words - std::min(out.other_words, allowed);
    // All of it foreign and all of it allowed cannot be: the allowance is below 1.
    out.score = static_cast<double>(out.target_words) / static_cast<double>(out.target_words + foreign);
  }
  return out;
}

const Language* guess_language(std::string_view raw, bool use_detector) {
  const std::string text = blank_neutral(raw);
  const WordList list = find_words(text);
  std::map<Script, std::size_t> letters;
  for (const Word& w : list.words) letters[w.script] += w.letters;
  const Clause all{0, list.words.size()};
  if (letters.empty()) return nullptr;
  const auto most = std::max_element(letters.begin(), letters.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most->first == USCRIPT_HAN) return find_language(japanese(list, all) ? "ja" : "zh");
  if (const Language* named = find_language(script_label(most->first))) return named;
  return use_detector ? find_language(detect_language(join(text, list, all, most->first))) : nullptr;
}

}  // namespace r1
