// Each rule with responses that follow it and responses that just miss it.
#include <doctest/doctest.h>

#include <array>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/factory.h"
#include "rewards/instructions/rules.h"
#include "rewards/language/detector.h"

namespace r1::instructions {
namespace {

struct Case {
  const char* id;
  const char* arguments;
  std::vector<const char*> good, bad;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"keywords:existence", R"({"keywords": ["Tree", "blue sky"]})", {"trees under a Blue Sky"}, {"a tree", "blue  sky tree"}},
      {"keywords:frequency", R"({"keyword": "cat", "frequency": 2, "relation": "at least"})", {"Cat and cat", "cats concatenate"}, {"cat", ""}},
      {"keywords:frequency", R"({"keyword": "cat", "frequency": 2, "relation": "less than"})", {"cat", "dog"}, {"cat cat"}},
      {"keywords:forbidden_words", R"({"forbidden_words": ["cat", "red fox"]})", {"a category", "red foxes"}, {"A CAT.", "the Red Fox ran"}},
      {"keywords:letter_frequency", R"({"letter": "q", "let_frequency": 2, "let_relation": "at least"})", {"Quick queen"}, {"quick"}},
      {"length_constraints:number_sentences",
       R"({"num_sentences": 3, "relation": "at least"})",
       {"One. Two! Three?", "Dr. A saw 3.5 m. Yes. No"},
       {"One. Two", "Mr. B. Smith paid 1.5. Done."}},
      {"length_constraints:number_words", R"({"num_words": 4, "relation": "less than"})", {"one two three", "don't go"}, {"one two three four"}},
      {"length_constraints:number_paragraphs",
       R"({"num_paragraphs": 2})",
       {"a\n***\nb", "***\na\n***\nb\n***"},
       {"a", "a\n***\n\n***\nb", "a *** b *** c"}},
      {"length_constraints:nth_paragraph_first_word",
       R"({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"})",
       {"Now.\n\nthen, it rained", "Now\n\n\n\n\"Then\" he said"},
       {"Then\n\nNow", "A\n\nThen\n\nB", "A\n\nThe n"}},
      {"detectable_content:number_placeholders", R"({"num_placeholders": 2})", {"[name] at [address]"}, {"[name]", "[na\nme] [x]"}},
      {"detectable_content:postscript", R"({"postscript_marker": "P.S."})", {"bye\nP.S. more", "p. s. x"}, {"bye", "PS more"}},
      {"detectable_content:postscript", R"({"postscript_marker": "P.P.S"})", {"P.P.S more"}, {"P.S. more"}},
      {"detectable_format:number_bullet_lists", R"({"num_bullets": 2})", {"* a\n* b", "- a\n  - b"}, {"* a", "* a\n* b\n- c", "**bold**\n* a"}},
      {"detectable_format:constrained_response", "{}", {"My answer is yes.", "Well. My answer is maybe."}, {"My answer is yes", "Yes."}},
      {"detectable_format:number_highlighted_sections",
       R"({"num_highlights": 2})",
       {"*a* and *b*", "**a** and *b*"},
       {"*a*", "** ** *a*", "*a\nb* *c*"}},
      {"detectable_format:multiple_sections",
       R"({"section_spliter": "SECTION", "num_sections": 2})",
       {"SECTION 1\na\nSECTION 2\nb"},
       {"SECTION 1\na", "SECTION a SECTION b"}},
      {"detectable_format:json_format", "{}", {R"({"a": 1})", "```json\n[1, 2]\n```", "7"}, {"{'a': 1}", "here: {}", ""}},
      {"detectable_format:title", "{}", {"<<A title>>\ntext"}, {"<A title>", "<< >>", "<<a\nb>>"}},
      {"combination:two_responses", "{}", {"one\n******\ntwo", "******one******two"}, {"one", "one******one", "a******b******c", "a****** ******b"}},
      {"combination:repeat_prompt", R"({"prompt_to_repeat": "Say it twice."})", {"say it twice. Say it"}, {"I say it twice."}},
      {"startend:end_checker", R"({"end_phrase": "Any questions?"})", {"So. any questions? ", "\"...Any questions?\""}, {"Any questions? No."}},
      {"startend:quotation", "{}", {" \"all of it\"\n"}, {"\"start", "\"", "a \"b\""}},
      {"change_case:capital_word_frequency", R"({"capital_frequency": 2, "capital_relation": "at least"})", {"GO AWAY", "I am OK"}, {"Go AWAY", ""}},
      {"punctuation:no_comma", "{}", {"no marks here"}, {"one, two"}},
  };
  return kCases;
}

TEST_CASE("every rule holds where it should and fails where it just misses") {
  std::set<std::string> tried;
  for (const Case& c : cases()) {
    const Rule rule = make_rule(c.id, c.arguments);
    for (const char* text : c.good) CHECK_MESSAGE(rule(text), c.id, " should hold: ", text);
    for (const char* text : c.bad) CHECK_MESSAGE(!rule(text), c.id, " should fail: ", text);
    tried.insert(c.id);
  }
  for (const std::string& id : rule_ids())
    if (id.find("language") == std::string::npos && id.find("english") == std::string::npos) CHECK_MESSAGE(tried.count(id), id);
  CHECK(rule_ids().size() == 25);
}

// tests/golden/ifeval_rules.py: made-up responses, graded by IFEval's own code.
TEST_CASE("verdicts equal those of IFEval's own rules") {
  std::ifstream in(std::string(R1_SOURCE_DIR) + "/tests/golden/ifeval_rules.json");
  const auto all = nlohmann::json::parse(in);
  REQUIRE(all.size() > 400);
  for (const auto& c : all) {
    const std::string id = c["id"], response = c["response"];
    CHECK_MESSAGE(make_rule(id, c["arguments"].dump())(response) == c["followed"].get<bool>(), id, " ", c["arguments"].dump(), " IFEval says ",
                  c["followed"].dump(), ": ", response);
  }
}

TEST_CASE("languages and case") {
  if (!detector_built_in()) {
    CHECK_THROWS_AS(make_rule("language:response_language", R"({"language": "de"})"), DataError);
    return;
  }
  const std::string german = "Der Hund schläft heute lange im Garten, weil die Sonne scheint und niemand arbeitet.";
  const std::string english = "The dog sleeps for a long time in the garden today because the sun is shining.";
  CHECK(make_rule("language:response_language", R"({"language": "de"})")(german));
  CHECK_FALSE(make_rule("language:response_language", R"({"language": "de"})")(english));
  CHECK(make_rule("language:response_language", R"({"language": "zh"})")(
      "\xE4\xBB\x8A\xE5\xA4\xA9\xE5\xA4\xA9\xE6\xB0\x94\xE5\xBE\x88\xE5\xA5\xBD\xEF\xBC\x8C\xE6\x88\x91\xE4\xBB\xAC\xE5\x8E\xBB\xE5\x85\xAC\xE5\x9B"
      "\xAD\xE3\x80\x82"));
  const Rule upper = make_rule("change_case:english_capital", "{}"), small = make_rule("change_case:english_lowercase", "{}");
  CHECK(upper("THE DOG SLEEPS IN THE GARDEN, 3 TIMES."));
  CHECK_FALSE(upper("THE DOG SLEEPS In THE GARDEN"));
  CHECK_FALSE(upper("123"));
  CHECK_FALSE(upper("DER HUND SCHLÄFT HEUTE LANGE IM GARTEN, WEIL DIE SONNE SCHEINT."));
  CHECK(small("the dog sleeps in the garden today."));
  CHECK_FALSE(small("The dog sleeps in the garden today."));
}

TEST_CASE("counting words and sentences") {
  CHECK(count_words("It's 3.5 km, isn't it?") == 8);  // it s 3 5 km isn t it
  CHECK(count_words("") == 0);
  CHECK(count_words("\xC3\xA4rgerlich na\xC3\xAFve") == 2);
  CHECK(count_sentences("") == 0);
  CHECK(count_sentences("no end") == 1);
  CHECK(count_sentences("He left... Really?! Yes.") == 3);
  CHECK(count_sentences("e.g. this one, by Dr. No.") == 1);
  CHECK(count_sentences("\xE6\x98\xAF\xE3\x80\x82\xE4\xB8\x8D\xE3\x80\x82") == 2);
}

TEST_CASE("bad arguments name themselves") {
  for (const auto& [id, arguments, what] : std::vector<std::array<const char*, 3>>{
           {"keyword:existence", "{}", "did you mean 'keywords:existence'"},
           {"keywords:existence", "{}", "'keywords' is missing"},
           {"keywords:existence", R"({"keywords": []})", "must be a list of texts"},
           {"keywords:frequency", R"({"keyword": "a", "frequency": 1, "relation": "more"})", "\"at least\" or \"less than\""},
           {"length_constraints:number_words", R"({"num_words": null, "relation": "at least"})", "'num_words' is missing"}}) {
    try {
      make_rule(id, arguments);
      FAIL(id);
    } catch (const DataError& e) {
      CHECK_MESSAGE(std::string(e.what()).find(what) != std::string::npos, e.what());
    }
  }
}

TEST_CASE("the reward: strict and loose, shares, bad rows") {
  Prompt p;
  p.columns["instruction_id_list"] = R"(["punctuation:no_comma", "startend:end_checker"])";
  p.columns["kwargs"] = R"([{"num_words": null}, {"end_phrase": "Bye"}])";
  const auto judge = [&](const std::string& options, const std::string& text) {
    SampleGroup group{p, std::vector<Completion>(1)};
    group.completions[0].text = text;
    std::vector<RewardResult> out(1);
    make_reward("instructions", options)->score(group, out);
    return out[0];
  };
  CHECK(judge("{}", "Well then. Bye").verdict == Verdict::kCorrect);
  CHECK(judge("{}", "Well, then. Bye").verdict == Verdict::kWrong);
  CHECK(judge("{}", "Well, then. Bye").columns.at("not_followed") == "punctuation:no_comma");
  CHECK(judge("{pay: fraction}", "Well, then. Bye").value == 0.5f);
  CHECK(judge("{pay: fraction}", "").value == 0.f);
  CHECK(judge("{}", "").verdict == Verdict::kUnparsed);
  CHECK(judge("{}", "<think>ok, so</think>Bye").verdict == Verdict::kCorrect);
  // Loose: without the first line, without asterisks; each rule on its own form.
  CHECK(judge("{}", "Sure, here:\nText. **Bye**").verdict == Verdict::kWrong);
  CHECK(judge("{loose: true}", "Sure, here:\nText. **Bye**").verdict == Verdict::kCorrect);
  CHECK(judge("{loose: true}", "Sure, here:\nText, **Bye**").verdict == Verdict::kWrong);
  CHECK(loose_forms("a\nb*\nc").size() == 8);
  CHECK(loose_forms("only*") == std::vector<std::string>{"only*", "only"});
  p.columns["kwargs"] = "[{}]";
  CHECK(make_reward("instructions")->check_prompt(p).find("2 instructions with 1 kwargs") != std::string::npos);
  CHECK(judge("{}", "x").verdict == Verdict::kAbstain);
}

}  // namespace
}  // namespace r1::instructions
