// How well single sentences are told apart; the figures of docs/language.md come from here (`-s -tc=*accuracy*`).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "rewards/language/consistency.h"
#include "rewards/language/detector.h"
#include "rewards/language/labelled_sentences.h"

namespace r1 {
namespace {

const std::vector<std::string> kFourteen = {"zh", "en", "ja", "ko", "ru", "ar", "de",
                                            "fr", "es", "pt", "it", "vi", "th", "hi"};
Consistency measure(std::string_view text, std::string_view code) {
  const Language* language = find_language(code);
  REQUIRE(language);
  ConsistencyOptions every_word;
  every_word.allowance = 0;
  every_word.min_words = 3;
  return language_consistency(text, *language, every_word);
}

struct Tally {
  int right = 0, unsure = 0, wrong = 0;
};

TEST_CASE("accuracy on single sentences") {
  std::map<std::string, Tally> own, guess;
  int accepted_as_other = 0, pairs = 0;
  std::set<std::string> seen;
  for (const auto& [code, text] : kLabelledSentences) {
    CAPTURE(text);
    seen.insert(std::string(code));
    const bool script_decides = !find_language(code)->shared;
    if (!script_decides && !detector_built_in()) continue;
    const Consistency c = measure(text, code);
    Tally& t = own[std::string(code)];
    if (c.defined && c.score == 1.0) ++t.right;
    else if (c.other_words == 0) ++t.unsure;
    else ++t.wrong;
    if (script_decides) CHECK(c.score == 1.0);
    const Language* guessed = guess_language(text);
    Tally& g = guess[std::string(code)];
    ++(!guessed ? g.unsure : guessed->code == code ? g.right : g.wrong);
    for (const std::string& other : kFourteen) {
      if (other == code) continue;
      ++pairs;
      const Consistency foreign = measure(text, other);
      if (foreign.target_words > 0) {
        ++accepted_as_other;
        MESSAGE(code, " paid as ", other, ": ", foreign.target_words, " words of ", text);
      }
    }
  }
  CHECK(seen.size() == kFourteen.size());
  Tally all;
  std::string table = "\nlanguage  right unsure wrong | guessed right unsure wrong\n";
  for (const auto& [code, t] : own) {
    const Tally& g = guess[code];
    char line[96];
    std::snprintf(line, sizeof line, "%-8s %6d %6d %5d | %13d %6d %5d\n", code.c_str(), t.right, t.unsure, t.wrong, g.right,
                  g.unsure, g.wrong);
    table += line;
    all.right += t.right, all.unsure += t.unsure, all.wrong += t.wrong;
  }
  MESSAGE(table, all.right, " right, ", all.unsure, " unsure, ", all.wrong, " wrong; as one of the other languages: ",
          accepted_as_other, " of ", pairs);
  CHECK(accepted_as_other == 0);
  CHECK(all.wrong == 0);
  CHECK(all.right * 100 >= 95 * (all.right + all.unsure + all.wrong));
}

std::vector<std::string_view> sentences(const std::string& code) {
  std::vector<std::string_view> out;
  for (const auto& s : kLabelledSentences) {
    if (s.language == code) out.push_back(s.text);
  }
  return out;
}

TEST_CASE("mixed chains: the fraction is exact for every pair of languages") {
  if (!detector_built_in()) return;
  int exact = 0, pairs = 0;
  for (const std::string& target : kFourteen) {
    for (const std::string& foreign : kFourteen) {
      if (target == foreign) continue;
      const auto own = sentences(target), other = sentences(foreign);
      std::string chain;
      const char* between = foreign < target ? "\n" : " ";
      std::size_t own_words = 0, other_words = 0;
      for (std::size_t i = 0; i < own.size(); ++i) {  // they alternate; every second foreign one is left out
        chain += std::string(own[i]) + between;
        own_words += measure(own[i], target).target_words;
        if (i % 2 == 0) continue;
        chain += std::string(other[i]) + between;
        other_words += measure(other[i], target).other_words;
      }
      CAPTURE(target);
      CAPTURE(foreign);
      const Consistency c = measure(chain, target);
      ++pairs;
      exact += c.target_words == own_words && c.other_words == other_words;
      CHECK(c.target_words == own_words);
      CHECK(c.other_words == other_words);
      CHECK(c.score == doctest::Approx(static_cast<double>(own_words) / static_cast<double>(own_words + other_words)));
    }
  }
  MESSAGE(exact, " of ", pairs, " pairs exact");
}

TEST_CASE("words of other scripts inside a sentence are counted one by one") {
  const Consistency zh = measure("我们先 calculate 一下总和，然后 check 答案是否 correct。", "zh");
  CHECK(zh.other_words == 3);
  CHECK(zh.target_words == measure("我们先一下总和，然后答案是否。", "zh").target_words);
  const Consistency ru = measure("Сначала мы складываем numbers, потом проверяем the result.", "ru");
  CHECK(ru.other_words == 3);
  CHECK(ru.target_words == 5);
  const Consistency ko = measure("먼저 두 수를 더하고 合計 값을 확인합니다.", "ko");
  CHECK(ko.other_words == 1);
}

TEST_CASE("a million characters in linear time") {
  const auto seconds = [](const std::string& unit, std::size_t bytes, const char* code) {
    std::string text;
    while (text.size() < bytes) text += unit;
    const auto start = std::chrono::steady_clock::now();
    (void)measure(text, code);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const std::string thai(sentences("th")[4]), chinese(sentences("zh")[4]), german(sentences("de")[4]);
  struct Row {
    std::string unit;
    const char* code;
  };
  const std::vector<Row> rows = {
      {german + " ", "de"}, {chinese, "zh"}, {thai, "th"}, {"Ja. ", "de"}, {"a", "de"}, {"加", "zh"}, {"の", "ja"},
      {"ก", "th"}, {"$", "de"}, {"$a ", "de"}, {"```", "de"}, {"```\n", "de"}, {"`", "de"}, {"``` ja\nwort ", "de"},
      {"\\begin{a}", "de"}, {"\\begin{a}\\end{a}", "de"}, {"\\frac{", "de"}, {"\\(", "de"}, {"\\[ab", "de"}, {"<a", "de"},
      {"<a b=", "de"}, {"{", "de"}, {"a/b", "de"}, {"\xF0\x9F", "de"}, {"e\u0301", "fr"}, {"\u200B", "de"}, {"a,", "de"},
      {"$$ we have all of these words in here $$", "de"}, {"wir addieren, ", "de"}, {"```\nwe have all of these words in here\n```\n", "de"}, {"\n", "de"}, {"Äß", "de"}};
  for (const Row& row : rows) {
    CAPTURE(row.unit);
    const double small = seconds(row.unit, 125'000, row.code), large = seconds(row.unit, 1'000'000, row.code);
    CHECK(large < std::max(24 * small, 1.0));  // 8 if linear, 64 if quadratic; the machine may be busy
  }
}

}  // namespace
}  // namespace r1
