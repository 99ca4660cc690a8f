// The template language against jinja2 as transformers sets it up (tests/golden/make_jinja_cases.py), and its errors.
#include <doctest/doctest.h>

#include <fstream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/chat_template.h"

using Json = nlohmann::ordered_json;
using r1::ChatTemplate;

namespace {

std::string rendered(const std::string& source, const std::string& variables = "") {
  ChatTemplate::Options options;
  options.variables_json = variables;
  return ChatTemplate(source).render_json(R"([{"role": "user", "content": "hi"}])", options);
}

std::string error_of(const std::string& source) {
  try {
    return "no error, but: " + rendered(source);
  } catch (const r1::DataError& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("templates render as jinja2 renders them") {
  std::ifstream in(R1_SOURCE_DIR "/tests/golden/jinja_cases.jsonl");
  std::string line;
  REQUIRE(std::getline(in, line));
  const Json variables = Json::parse(line)["variables"];
  int count = 0;
  for (; std::getline(in, line); ++count) {
    const Json row = Json::parse(line);
    const std::string source = row["template"];
    CAPTURE(source);
    ChatTemplate::Options options;
    options.variables_json = variables.dump();
    const auto render = [&] { return ChatTemplate(source).render_json(variables["messages"].dump(), options); };
    if (row.contains("error")) {
      CHECK_THROWS_AS(render(), r1::DataError);
      continue;
    }
    std::string got;
    try {
      got = render();
    } catch (const r1::DataError& e) {
      got = std::string("error: ") + e.what();
    }
    CHECK(got == row["expected"].get<std::string>());
  }
  CHECK(count > 450);
}

TEST_CASE("blanks before a block stay where it begins with a plus sign") {
  CHECK(rendered("a\n  {% if true %}b{% endif %}") == "a\nb");
  CHECK(rendered("a\n  {%+ if true %}b{% endif %}") == "a\n  b");
}

TEST_CASE("messages as structs, generation prompt, tokens") {
  const ChatTemplate chat(
      "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}{{ tools is none }}");
  ChatTemplate::Options options;
  options.bos_token = "[";
  options.eos_token = "]";
  CHECK(chat.render({{"user", "a"}, {"assistant", "b"}}, options) == "[<user>a]\n<assistant>b]\n<assistant>True");
  options.add_generation_prompt = false;
  options.tools_json = R"([{"type": "function"}])";
  CHECK(chat.render({{"user", "ü"}}, options) == "[<user>ü]\nFalse");
}

TEST_CASE("errors name line and column") {
  CHECK(error_of("a\n{{ b c }}").find("line 2, column 6") != std::string::npos);
  CHECK(error_of("é{{ 1 | what }}").find("line 1, column 9: the filter \"what\" is not implemented") !=
        std::string::npos);
  CHECK(error_of("\n\n  {% block x %}").find("line 3, column 6: the tag \"block\"") != std::string::npos);
  CHECK(error_of("x\n{{ raise_exception('no tools') }}")
            .find("line 2, column 19: the template refuses these messages: no tools") != std::string::npos);
  CHECK(error_of("{{ messages[0].tool.name }}").find("column 20: 'dict object has no attribute 'tool'' is undefined") !=
        std::string::npos);
  CHECK(error_of("{% for x in [1] %}\n{{ x + 'a' }}{% endfor %}").find("line 2, column 6") != std::string::npos);
}

TEST_CASE("hostile templates end in an error") {
  CHECK(error_of("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}").find("nested too deeply") !=
        std::string::npos);
  CHECK(error_of("{{ " + std::string(5000, '[') + " }}").find("line 1, column 5005") != std::string::npos);
  CHECK(error_of("{{ " + std::string(100000, '-') + "1 }}").find("nested too deeply") != std::string::npos);
  CHECK(error_of("{{ not " + std::string(3000, ' ') + " }}").find("line 1") != std::string::npos);
  std::string blocks;
  for (int i = 0; i < 5000; ++i) blocks += "{% if 1 %}";
  CHECK(error_of(blocks).find("nested too deeply") != std::string::npos);
  CHECK(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("nested too deeply") != std::string::npos);
  CHECK(error_of("{{ 'x' * 1000000000 }}").find("too long") != std::string::npos);
  CHECK(error_of("{{ range(1000000000) | list }}").find("too long") != std::string::npos);
  CHECK(error_of("{{ 9223372036854775807 + 1 }}").find("64 bits") != std::string::npos);
  CHECK(error_of("{{ 99999999999999999999 }}").find("64 bits") != std::string::npos);
  CHECK(error_of("\xFF{{ 1 }}").find("UTF-8") != std::string::npos);
  CHECK_THROWS_AS(ChatTemplate("x").render_json("{}", {}), r1::DataError);
  CHECK_THROWS_AS(ChatTemplate("x").render_json("[", {}), r1::DataError);
}

TEST_CASE("the R1-Zero template") {
  const std::string text = r1::kR1ZeroTemplate;
  CHECK(text.find("{question}") != std::string::npos);
  CHECK(text.find("{question}") == text.rfind("{question}"));
  CHECK(text.ends_with("User: {question}. Assistant:"));
  for (const char* tag : {"<think>", "</think>", "<answer>", "</answer>"}) CHECK(text.find(tag) != std::string::npos);
}
