// What the full checker must accept and refuse. Issue numbers: docs of the faults that other checkers are known for.
#include "rewards/math/check.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace r1::math {
namespace {

using Pairs = std::vector<std::pair<const char*, const char*>>;

void all(Outcome expected, const Pairs& pairs) {
  for (const auto& [gold, answer] : pairs) {
    const Verdict v = check(gold, answer);
    CAPTURE(std::string(gold));
    CAPTURE(std::string(answer));
    CAPTURE(v.gold_read);
    CAPTURE(v.answer_read);
    CAPTURE(std::string(v.reason));
    CHECK(v.outcome == expected);
  }
}
void all_equal(const Pairs& pairs) { all(Outcome::kEqual, pairs); }
void all_different(const Pairs& pairs) { all(Outcome::kDifferent, pairs); }

TEST_CASE("full checker: numbers in other forms") {
  all_equal({{"4\\sqrt{2}", "\\sqrt{32}"}, {"\\frac{\\sqrt{3}}{2}", "\\sqrt{3}/2"}, {"\\frac{1}{\\sqrt2}", "\\frac{\\sqrt2}{2}"},
             {"2\\pi", "\\pi \\cdot 2"}, {"\\frac{\\pi}{2}", "pi/2"}, {"\u03C0/2", "\\frac\\pi2"}, {"\u221A2", "\\sqrt2"},
             {"\\sqrt[3]{8}", "2"}, {"\\sqrt[3]{-8}", "-2"}, {"2^{1/2}", "\\sqrt 2"}, {"8^{2/3}", "4"}, {"\\frac{3!}{2}", "3"},
             {"\\binom{5}{2}", "10"}, {"2\\frac{1}{3}+\\pi", "\\frac73+\\pi"}, {"|{-3}|", "3"}, {"\\lfloor 3.7 \\rfloor", "3"},
             {"\\log_2 8", "3"}, {"\\ln 15", "\\ln 3+\\ln 5"}, {"\\sin^2 1+\\cos^2 1", "1"}, {"\\sqrt{5+2\\sqrt6}", "\\sqrt2+\\sqrt3"},
             {"\\frac{1}{1+\\sqrt2}", "\\sqrt2-1"}, {"3+4i", "4i+3"}, {"\uFF12\u03C0", "2\\pi"}, {"2*3", "6"}, {"37+45", "82"}});
  all_different({{"4\\sqrt{2}", "4\\sqrt{3}"}, {"2\\pi", "3\\pi"}, {"\\sqrt2", "1.41422"}, {"\\frac{\\pi}{2}", "-\\frac{\\pi}{2}"},
                 {"4", "4\\sqrt{2}"}, {"3+4i", "3-4i"}, {"2^{10}", "2^{11}"}, {"\\sqrt2", "2"}, {"\\pi", "3.15"},
                 {"\\frac{1}{2}\\sqrt3", "\\frac{1}{3}\\sqrt2"}});
}

TEST_CASE("full checker: expressions in symbols") {
  all_equal({{"(x+1)^2", "x^2+2x+1"}, {"\\frac{x^2-1}{x-1}", "x+1"}, {"a\\sin(x)^2", "a-a\\cos^2x"}, {"\\sin 2x", "2\\sin x\\cos x"},
             {"e^{2x}", "(e^x)^2"}, {"x_1+x_2", "x_{2}+x_{1}"}, {"\\alpha\\beta", "\\beta\\alpha"}, {"\\frac{1}{2}x", "x/2"},
             {"\\sin^{-1} x", "\\arcsin(x)"}, {"n(n+1)/2", "\\frac{n^2+n}{2}"}, {"2x^2y", "y x^2*2"}});
  all_different({{"x^2+1", "x^2+2"}, {"(x+1)^2", "x^2+1"}, {"x", "X"}, {"x", "y"}, {"|x|", "x"}, {"\\sqrt{x^2}", "x"},
                 {"x^2", "x^3"}, {"\\sin x", "\\cos x"}, {"2x", "2"}, {"x_1", "x_2"}, {"-x^2", "(-x)^2"}, {"ab", "a+b"}});
}

TEST_CASE("full checker: faults that other checkers are known for") {
  all_different({{"1/2^99", "1/2^98"}, {"1/2004!", "1/2006!"}, {"\\frac{2^{2005}+1}{3\\cdot 2^{2006}}", "\\frac{1}{3\\cdot 2^{2006}}"},
                 {"1,2,\\ldots,n", "1,3,5,\\ldots,2n-1"}, {"1:2:3:\\ldots", "1:4:9:\\ldots"},   // 14
                 {"4", "4\\sqrt(2)"},                                                         // 41
                 {"x^2+y=0", "x-y^3=0"}, {"2x+y=0", "2x-y=0"},                                 // 60, 64
                 {"1", "1 - \\sqrt{2}"},                                                      // 74
                 {"1-1/\\mathrm e", "1+1/\\mathrm e"},                                        // 82
                 {"5\\text{ cm}", "5\\text{ m}"}, {"A", "a"}, {"0.5", "50\\%"}});
  all_equal({{"\\sqrt{1/n}", "\\frac{1}{\\sqrt n}"}, {"\\sqrt{17}", "4.12310562561766"},         // 64, 48
             {"\\text{13}", "13"}, {"\\frac{1}{2}", "1/2"},                                    // 37, 1
             {"-1+e^{16}", "-1 + exp(16)"}, {"14-i", "14.0 + -1.0i"},                          // 69
             {"33.3", "100/3"},                                                               // 2
             {"e^{i\\pi}+1", "0"}, {"90^\\circ", "\\pi/2"}, {"\\cos(15^\\circ)", "\\frac{\\sqrt6+\\sqrt2}{4}"},
             {"0.\\overline{3}", "1/3"}, {"x \\mapsto x^2", "x\\to x\\cdot x"}});
}

TEST_CASE("full checker: a proof is claimed only where there is one") {
  CHECK(check("1/2^99", "1/2^98").proved);
  CHECK(check("\\sqrt2", "1.5").proved);
  CHECK(check("\\sqrt8", "2\\sqrt2").outcome == Outcome::kEqual);
  CHECK_FALSE(check("\\sqrt8", "2\\sqrt2").proved);
  CHECK(check("2^{10}+1", "1025").proved);
  CHECK(check("\\{1,2\\}", "\\{2,1\\}").proved);
  CHECK_FALSE(check("Evelyn", "Maria").proved);
}

TEST_CASE("full checker: sets, lists, tuples, intervals, unions, matrices") {
  all_equal({{"\\{1,2,3\\}", "\\{3,2,1\\}"}, {"1,2", "2, 1"}, {"1,2", "1 and 2"}, {"\\{1,\\sqrt8\\}", "\\{2\\sqrt2,1\\}"},
             {"x=1 \\text{ or } x=2", "2, 1"}, {"(1,\\frac{\\pi}{2})", "\\left(1, \\pi/2\\right)"}, {"(1,2)", "1, 2"},
             {"[0,\\infty)", "\\left[0,\\infty\\right)"}, {"(-\\infty,0)\\cup(1,2]", "(1,2] \\cup (-\\infty, 0)"},
             {"x\\in[0,1]", "[0,1]"}, {"1\\pm\\sqrt2", "1+\\sqrt2, 1-\\sqrt2"}, {"\\pm 2", "-2,2"}, {"\\emptyset", "\\{\\}"},
             {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix} 1 & 2 \\\\ 3 & 8/2 \\end{bmatrix}"},
             {"(100,200)", "(100, 200)"}, {"\\{1,2\\}", "1,2"}, {"0<x\\le 1", "(0,1]"}});
  all_different({{"\\{1,2\\}", "\\{1,3\\}"}, {"(1,2)", "\\{1,2\\}"}, {"\\{1,2\\}", "\\{1,2,3\\}"}, {"(1,2)", "(2,1)"}, {"(0,1]", "[0,1]"}, {"(0,1)", "(0,2)"},
                 {"[0,\\infty)", "[0,-\\infty)"}, {"1,2", "1"}, {"1", "1,2"}, {"\\pm2", "2"}, {"1\\pm\\sqrt2", "1\\pm\\sqrt3"},
                 {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"},
                 {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}"}, {"(0,1)\\cup(1,2)", "(0,2)"},
                 {"(0,1)\\cup(2,3]", "(0,1)\\cup(2,3)"}, {"0<x\\le 1", "[0,1]"}});
}

TEST_CASE("full checker: equations and inequalities") {
  all_equal({{"y=2x+1", "2x-y+1=0"}, {"y=2x+1", "2y = 4x+2"}, {"y=2x+1", "2x+1"}, {"x+y", "f(x)=y+x"}, {"x<5", "5>x"},
             {"x \\le 2", "2x \\leq 4"}, {"0<x<1", "1>x>0"}, {"-x<1", "x>-1"}, {"4\\sqrt2", "\\sqrt{32}=4\\sqrt2"}});
  all_different({{"y=2x+1", "y=2x-1"}, {"x<5", "x>5"}, {"x<5", "x\\le5"}, {"x=5", "x<5"}, {"x+y=0", "2x+y=0"}, {"x\\ne 5", "x=5"},
                 {"5", "4=5"}, {"3\\sqrt2", "\\sqrt{32}=3\\sqrt2"}, {"\\frac{1}{2}", "\\frac{1}{3}=\\frac{1}{2}"}, {"0<x<1", "0<x<2"}, {"0", "x^2-4=0"}});
}

TEST_CASE("full checker: choices, bases and words") {
  all_equal({{"C", "(C)"}, {"\\text{(C)}", "C. 12"}, {"B", "(B) 7\\sqrt2"}, {"Evelyn", "evelyn"}, {"101_2", "101_{2}"}});
  all_different({{"C", "(D)"}, {"C", "D. 12"}, {"cat", "act"}, {"no", "on"}, {"101_2", "101_3"}, {"Evelyn", "5"}, {"5", "Evelyn"}});
}

TEST_CASE("full checker: hostile input ends, without a verdict where the limits are met") {
  const std::string braces(100000, '{'), parens = std::string(5000, '(') + "1" + std::string(5000, ')');
  CHECK(check("\\pi", braces).outcome == Outcome::kUndecided);
  CHECK(check("\\pi", std::string(3000, '(') + "x").reason == "too_deep");
  CHECK(check("\\pi", parens).outcome == Outcome::kUndecided);
  std::string tower = "5", minus = "5", sum = "x";
  for (int i = 0; i < 40; ++i) tower += "^{5", minus += "^-5";
  tower += std::string(40, '}');
  for (int i = 0; i < 4000; ++i) sum += "+x";
  CHECK(check("\\pi", tower).outcome == Outcome::kUndecided);
  CHECK(check("\\pi", "5^5^5^5^5").outcome == Outcome::kUndecided);
  CHECK(check("\\pi", sum).reason.starts_with("too_"));
  CHECK(check("\\pi", "3000!!!!").outcome == Outcome::kUndecided);
  (void)check("\\pi", minus);
  for (const char* broken : {"\\frac", "\\sqrt[", "^", "\\begin{", "\\begin{pmatrix}", "x_", "\\left", "|", "||", "\\log_", "{", "\\", "1/0",
                             "0^0", "0^{-1}", "\\binom{3}", "\\frac{1}{0}", "\\sin", "(1,", "\\lfloor", "6\\frac5", "6\\frac", "2_.5", "2_{.5}", "\\frac0.\\overline{52}", "\\frac.\\overline{52}2", "\\sqrt1,000"}) {
    CAPTURE(broken);
    CHECK(check("\\pi", broken).outcome != Outcome::kEqual);
    (void)check(broken, "7");
  }
}

}  // namespace
}  // namespace r1::math
