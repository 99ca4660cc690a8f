#include "rewards/language/neutral_spans.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "rewards/language/words.h"

namespace r1 {
namespace {

std::string rest(const std::string& text) {
  const std::string blank = blank_neutral(text);
  CHECK(blank.size() == text.size());
  std::string out;
  for (const char c : blank) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}
std::size_t words(const std::string& text) { return find_words(blank_neutral(text)).words.size(); }

TEST_CASE("snippets of no language hold no word") {
  for (const char* text :
       {"```python\nfor item in values:\n    print(item)\n```", "`return value`", "$x = \\frac{1}{2}$",
        "$$\\sum_{n=1}^{\\infty} \\frac{1}{n^2} = \\frac{\\pi^2}{6}$$", "\\(a \\text{ if } b\\)", "\\[ f(x) = y \\]",
        "\\begin{align} a &= b \\\\ c &= d \\end{align}", "\\boxed{\\text{none}}", "\\mathbf{x}_{max}",
        "https://example.org/some/page?query=word", "www.example.org", "someone@example.org", "src/rewards/format",
        "./run", "/usr/lib", "<answer>", "</think>", "<br/>", "12", "3.14", "1,000", "50%", "\u0663\u0664",
        "first_value", "maxValue", "x1", "numpy.array", "solve(", "f(x)", "a", "x + y = z", "a+b", "ax^n", "NASA", "GPU",
        "sin", "gcd", "5 km", "\u03B1", "\u0436", "\U0001F600", "x = 3y + 2", "\xFF\xFE"}) {
    CAPTURE(text);
    CHECK(words(text) == 0);
  }
}

TEST_CASE("words of a language stay words beside what looks like a span") {
  CHECK(rest("well-known facts and/or rules") == "well-known facts and/or rules");
  CHECK(rest("naïve été") == "naïve été");
  CHECK(rest("das Gerät ist größer") == "das Gerät ist größer");
  CHECK(words("it costs $5 and then we pay $7 more") == 7);  // prices are no formula
  CHECK(words("an open ``` fence hides nothing") == 5);
  CHECK(words("a lone ` mark hides nothing") == 4);
  CHECK(words("a lone $ sign hides nothing") == 4);
  CHECK(rest("we end.Next we begin") == "we end.Next we begin");
  CHECK(words("if a<b then c>d holds") == 3);
  CHECK(words("\u7528GPU\u8BA1\u7B97") == 2);       // an acronym in a run of Han
  CHECK(words("e\u0301te\u0301 tre\u0300s") == 2);  // decomposed letters
  CHECK(words("the function `values` returns \\frac{1}{2} here") == 4);
  CHECK(words("CONSIDER the PROBLEM") == 3);  // long capitals are no acronym
}

TEST_CASE("a fence hides code, not prose") {
  const std::string prose = "first we look at all numbers below ten\nand then we add them up one by one";
  for (const std::string& open : {"```\n", "```text\n", "```python\n", "``` "}) {
    CAPTURE(open);
    CHECK(words(open + prose + "\n```\n") == 17);
    CHECK(words(open + prose + "\n``` we end\n```\nreturn value\n```") == 19);  // the next fence is code again
  }
  CHECK(words("```\n# first we look at all numbers below ten\n# and then we add them up one by one\nprint(5)\n```") >= 16);
  CHECK(words("```\n\u6211\u4EEC\u5148\u6765\u770B\u6240\u6709\u5C0F\u4E8E\u5341\u7684\u6570\u5B57\n```") >= 5);
  // Code with a comment or two stays code, in whatever language they are.
  CHECK(words("```python\n# first we look at all numbers below ten\ndef add_all(values):\n    total = 0\n    for value in "
              "values:\n        total += value\n    return total\n```") == 0);
  CHECK(words("```cpp\n#include <vector>\n// \u6211\u4EEC\u5148\u6765\u770B\u6240\u6709\u5C0F\u4E8E\u5341\u7684\u6570\u5B57\n"
              "int main() { std::vector<int> values; for (int v : values) add(v); return total(values); }\n```") == 0);
}

TEST_CASE("prose cannot hide in a formula, inline code, a tag or a command") {
  const std::string prose = "first we look at all numbers below ten";
  for (const std::string& text :
       {"$" + prose + "$", "$$" + prose + "$$", "\\(" + prose + "\\)", "\\[" + prose + "\\]", "`" + prose + "`",
        "<b title= " + prose + ">", "\\text{" + prose + "}", "\\begin{x}" + prose + "\\end{x}"}) {
    CAPTURE(text);
    CHECK(words(text) >= 8);
  }
  CHECK(words("$\u6211\u4EEC\u5148\u6765\u770B\u6240\u6709\u5C0F\u4E8E\u5341\u7684\u6570\u5B57$") >= 5);
  CHECK(reads_like_prose("one two three four five six"));
  CHECK_FALSE(reads_like_prose("one two three four five"));
  CHECK_FALSE(reads_like_prose("one, two, three, four, five, six"));
}

}  // namespace
}  // namespace r1
