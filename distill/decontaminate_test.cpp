#include "distill/decontaminate.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

const std::string kItem = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.";

bool hits(const Decontaminator& d, const std::string& question, const std::string& text = "") { return d.find(question, text).has_value(); }

TEST_CASE("decontamination: ten words in a row, whatever case and punctuation; nine are not enough") {
  Decontaminator d({});
  d.add("test", kItem);
  CHECK(hits(d, kItem));
  CHECK(hits(d, "Q: NATALIA sold clips -- to 48 of her friends, in (April)!"));
  CHECK(hits(d, "a new question", "the chain says: to 48 of her friends in April and then she"));
  CHECK(!hits(d, "the chain says: to 48 of her friends in April and then nothing"));  // nine
  CHECK(!hits(d, "Natalia sold pencils to 48 of her foes in April, and then she bought half as many pencils in May."));
  const auto hit = d.find("x", "y. To 48 of her friends in April, and then she sold.");
  REQUIRE(hit);
  CHECK(hit->source == "test");
  CHECK(hit->gram == "To 48 of her friends in April, and then she");
}

TEST_CASE("decontamination: the length of a gram is an option") {
  DecontaminateOptions o;
  o.ngram = 13;
  Decontaminator d(o);
  d.add("test", kItem);
  CHECK(!hits(d, "to 48 of her friends in April and then she sold"));
  CHECK(hits(d, "clips to 48 of her friends in April and then she sold half"));
  o.ngram = 2;
  CHECK_THROWS_AS(Decontaminator{o}, ConfigError);
}

TEST_CASE("decontamination: a short item meets the same question only, not every text that holds it") {
  Decontaminator d({});
  d.add("add", "What is 37 + 45?");
  CHECK(hits(d, "what is 37 + 45"));
  CHECK(!hits(d, "What is 38 + 45?"));
  CHECK(!hits(d, "Explain what is 37 + 45?", "What is 37 + 45? It is 82."));
}

TEST_CASE("decontamination: scripts without spaces by characters") {
  Decontaminator d({});
  d.add("zh", "小明有48个苹果，他给了小红一半，然后又买了12个苹果，请问他现在有多少个苹果？");
  CHECK(hits(d, "问题：他给了小红一半，然后又买了12个苹果，请问"));
  CHECK(!hits(d, "他给了小红一半，然后又卖了30个梨"));
  CHECK(!hits(d, "小红有12个梨，她给了小明一半，然后又买了5个梨，请问她现在有多少个梨？"));
  DecontaminateOptions o;
  o.characters = 6;
  Decontaminator strict(o);
  strict.add("zh", "他给了小红一半，然后又买了12个苹果");
  CHECK(hits(strict, "她给了小红一半"));
}

TEST_CASE("decontamination: questions and worked answers of a file; rows without a question are named") {
  const test::TempDir dir;
  const std::string file = (dir / "eval.jsonl").string();
  write_file_atomic(file, R"({"question": "How many?", "answer": "He bought 5 of them and\nshe bought 6 more of them so 11\n#### 11"}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "one two three four five six seven eight nine ten"}, {"role": "assistant", "content": "x"}]}
)");
  Decontaminator d({});
  d.add_file(file);
  CHECK(d.items() == 2);
  CHECK(hits(d, "q", "bought 5 of them and she bought 6 more of"));
  CHECK(hits(d, "One, two, three, four, five, six, seven, eight, nine, ten."));
  CHECK(hits(d, "how many"));
  write_file_atomic(file, "{\"text\": \"no question\"}\n");
  CHECK_THROWS_WITH_AS(d.add_file(file), doctest::Contains("eval.jsonl:1"), DataError);
}

}  // namespace
}  // namespace r1
