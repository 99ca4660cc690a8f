#include "core/config.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "core/scalar_text.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Strings = std::vector<std::string>;

const char* kRecipe = R"(schema: 1
kind: grpo
model: {path: some/model, dtype: bfloat16}   # a comment
rollout:
  samples_per_prompt: 16
  temperature: 1.0
rewards:
  - {name: math, weight: 1.0}
  - name: format
    weight: 0.2
rl: {preset: r1_zero, learning_rate: 1.0e-6, steps: 200}
data: {path: [a.jsonl, b.jsonl], prompt: question}
seed: 0
)";

using test::error_of;

Config recipe(const Strings& overrides = {}) { return Config::parse(kRecipe, "r.yaml", overrides); }

TEST_CASE("typed reads, defaults and origins") {
  const Config config = recipe();
  ConfigReader root(config);
  CHECK(root.require<std::string>("kind") == "grpo");
  ConfigReader rl = root.section("rl");
  CHECK(rl.get<double>("learning_rate", 0.0) == 1e-6);
  CHECK(rl.get<int>("steps", 5) == 200);
  CHECK(rl.get<int>("updates_per_rollout", 1) == 1);
  CHECK(rl.get<bool>("shuffle", true));
  CHECK(rl.find<double>("kl") == std::nullopt);
  CHECK(rl.where("steps") == "r.yaml:11");
  CHECK(rl.set_by("steps") == Origin::Kind::kRecipe);
  CHECK(rl.set_by("updates_per_rollout") == Origin::Kind::kDefault);
  CHECK(rl.path("steps") == "rl.steps");
  CHECK(rl.has("steps"));
  CHECK_FALSE(rl.has("kl"));
  ConfigReader data = root.section("data");
  CHECK(data.require<Strings>("path") == Strings{"a.jsonl", "b.jsonl"});
  CHECK(data.require<Strings>("prompt") == Strings{"question"});  // a single value is a list of one
  auto rewards = root.sections("rewards");
  REQUIRE(rewards.size() == 2);
  CHECK(rewards[1].get<std::string>("name", "") == "format");
  CHECK(rewards[1].get<float>("weight", 1.f) == 0.2f);
  CHECK(rewards[1].where("weight") == "r.yaml:10");
  CHECK(root.section("output").get<std::filesystem::path>("dir", "runs/x") == "runs/x");
}

TEST_CASE("numbers in all spellings, and what is no number") {
  const auto read = [](const std::string& text) {
    const Config config = Config::parse("x: " + text + "\n", "n.yaml");
    return ConfigReader(config).get<double>("x", -1);
  };
  CHECK(read("1e-6") == 1e-6);
  CHECK(read("1.0e-6") == 1e-6);
  CHECK(read("1.E+3") == 1000);
  CHECK(read("+.5") == 0.5);
  CHECK(read("3") == 3.0);
  CHECK(read("-0.25") == -0.25);
  CHECK(std::isinf(read(".inf")));
  for (const char* bad : {"1e", "abc", "\"1\"", ".nan", "nan", "inf", "1,5", "0x10", "1e999", "1 2", "--1", "+-1"}) {
    CAPTURE(bad);
    CHECK(error_of([&] { read(bad); }).find("n.yaml:1: 'x' is ") == 0);
  }
  const auto read_int = [](const std::string& text) {
    const Config config = Config::parse("x: " + text + "\n", "n.yaml");
    return ConfigReader(config).get<int>("x", -1);
  };
  CHECK(read_int("1e3") == 1000);
  CHECK(read_int("-7") == -7);
  CHECK(error_of([&] { read_int("1.5"); }) == "n.yaml:1: 'x' is 1.5, expected a whole number from -2147483648 to 2147483647");
  CHECK(error_of([&] { read_int("2147483648"); }) ==
        "n.yaml:1: 'x' is 2147483648, expected a whole number from -2147483648 to 2147483647");
  CHECK(error_of([&] { read_int("many"); }) == "n.yaml:1: 'x' is many, expected a whole number");
  const Config big = Config::parse("x: 18446744073709551615\ny: -1\nb: yes\nf: 1e300\n", "n.yaml");
  ConfigReader reader(big);
  CHECK(reader.get<std::uint64_t>("x", 0) == std::numeric_limits<std::uint64_t>::max());
  CHECK_THROWS_AS(reader.get<std::uint64_t>("y", 0), ConfigError);
  CHECK_THROWS_AS(reader.get<float>("f", 0), ConfigError);
  CHECK(reader.get<bool>("b", false));
  CHECK(error_of([&] { reader.get<bool>("y", false); }) == "n.yaml:2: 'y' is -1, expected true or false");
}

TEST_CASE("unknown keys are refused with the nearest name") {
  const auto finish = [](const std::string& yaml, const Strings& overrides = {}) {
    return error_of([&] {
      const Config config = Config::parse(yaml, "recipes/x.yaml", overrides);
      ConfigReader root(config);
      root.get<int>("seed", 0);
      ConfigReader rl = root.section("rl");
      rl.get<double>("learning_rate", 1e-6);
      rl.get<int>("steps", 1);
      for (auto& reward : root.sections("rewards", "name")) reward.get<std::string>("name", "");
      root.finish();
    });
  };
  CHECK(finish("seed: 1\nrl: {steps: 3}\nrewards: [math]\n") == "no error");
  CHECK(finish("seed: 1\nrl:\n  lerning_rate: 1\n") ==
        "recipes/x.yaml:3: unknown key 'rl.lerning_rate'; did you mean 'rl.learning_rate'?");
  CHECK(finish("learning_rate: 1\n") == "recipes/x.yaml:1: unknown key 'learning_rate'; did you mean 'rl.learning_rate'?");
  CHECK(finish("rl: {seed: 1}\n") == "recipes/x.yaml:1: unknown key 'rl.seed'; did you mean 'seed'?");
  CHECK(finish("zzzzzzzz: {a: 1}\n") == "recipes/x.yaml:1: unknown key 'zzzzzzzz'; known at the top: schema, seed, rl and rewards");
  CHECK(finish("rewards:\n  - name: math\n    nane: x\n") ==
        "recipes/x.yaml:3: unknown key 'rewards.0.nane'; did you mean 'rewards.0.name'?");
  CHECK(finish("seed: 1\n", {"rl.stesp=3"}) == "command line: rl.stesp=3: unknown key 'rl.stesp'; did you mean 'rl.steps'?");
  CHECK(finish("sed: 1\nrl: {step: 3}\n") == "recipes/x.yaml:1: unknown key 'sed'; did you mean 'seed'?\n"
                                            "recipes/x.yaml:2: unknown key 'rl.step'; did you mean 'rl.steps'?");
}

TEST_CASE("overrides: scalars, new sections, list indices, appending, flow values") {
  const Config config = recipe({"rl.steps=3", "rewards.0.weight=0.5", "rewards+={name: length, weight: 0.1}", "rewards.3.name=extra",
                                "output.dir=runs/a b: c", "data.path=[z.jsonl]", "note=", "rollout.stop=\"a\\nb\"", "eq=a=b", "n=null"});
  ConfigReader root(config);
  CHECK(root.section("rl").get<int>("steps", 0) == 3);
  CHECK(root.section("rl").where("steps") == "command line: rl.steps=3");
  auto rewards = root.sections("rewards");
  REQUIRE(rewards.size() == 4);
  CHECK(rewards[0].get<double>("weight", 0) == 0.5);
  CHECK(rewards[2].get<std::string>("name", "") == "length");
  CHECK(rewards[3].get<std::string>("name", "") == "extra");
  CHECK(root.section("output").get<std::string>("dir", "") == "runs/a b: c");
  CHECK(root.section("data").get<Strings>("path", {}) == Strings{"z.jsonl"});
  CHECK(root.get<std::string>("note", "x").empty());
  CHECK(root.section("rollout").get<std::string>("stop", "") == "a\nb");
  CHECK(root.get<std::string>("eq", "") == "a=b");
  CHECK(root.find<std::string>("n") == std::nullopt);
  CHECK(error_of([] { recipe({"rl.steps"}); }) == "'rl.steps' is no override; write key=value, for example rl.steps=100");
  CHECK(error_of([] { recipe({"rewards.5.weight=1"}); }) ==
        "'rewards.5.weight=1': index 5 is out of range, the list has 2 items (set by r.yaml:7); index 2 appends one");
  CHECK(error_of([] { recipe({"rewards.x.weight=1"}); }).find("'x' is no index into a list") != std::string::npos);
  CHECK(error_of([] { recipe({"kind.x=1"}); }) == "'kind.x=1': 'kind' is the single value 'grpo' (r.yaml:2), so nothing can be set below it");
  CHECK(error_of([] { recipe({"kind+=1"}); }).find("only a list can be appended to") != std::string::npos);
  CHECK(error_of([] { recipe({"a..b=1"}); }).find("empty name") != std::string::npos);
  CHECK(error_of([] { recipe({"a=[1"}); }).find("command line: a=[1") == 0);
}

TEST_CASE("presets fill below the recipe") {
  const Config config = recipe({"rl.clip=0.3"}).with_defaults(
      "rl:\n  steps: 8000\n  clip: 0.2\n  epochs: 2\nrewards: [length]\nrollout:\n  top_p: 0.9\n", "preset r1_zero");
  CHECK(config.peek("rl.preset") == "r1_zero");
  CHECK(config.peek("rewards.1.name") == "format");
  CHECK(config.peek("rewards.7.name") == std::nullopt);
  CHECK(config.peek("rl") == std::nullopt);
  ConfigReader root(config);
  ConfigReader rl = root.section("rl");
  CHECK(rl.get<int>("steps", 0) == 200);
  CHECK(rl.get<double>("clip", 0) == 0.3);
  CHECK(rl.get<int>("epochs", 1) == 2);
  CHECK(rl.where("epochs") == "preset r1_zero:4");
  CHECK(root.sections("rewards").size() == 2);
  CHECK(root.section("rollout").get<double>("top_p", 1.0) == 0.9);
  // An empty section takes the preset's values; an explicit null value stays null.
  const Config empty = Config::parse("rl:\neval: ~\n", "e.yaml").with_defaults("rl: {steps: 7}\neval: 3\n", "preset p");
  ConfigReader reader(empty);
  CHECK(reader.section("rl").get<int>("steps", 0) == 7);
  CHECK(reader.find<int>("eval") == std::nullopt);
}

TEST_CASE("ranges, choices, wrong shapes, keys without effect") {
  const Config config = recipe({"t=-1", "mode=gerdy", "empty=null"});
  ConfigReader root(config);
  CHECK(error_of([&] { root.get_in<double>("t", 1.0, 0.0, 100.0); }) == "command line: t=-1: 't' is -1.0, must be between 0.0 and 100.0");
  CHECK(error_of([&] { root.require_in<int>("t", 0, std::numeric_limits<int>::max()); }) == "command line: t=-1: 't' is -1, must be at least 0");
  CHECK(root.get_in<int>("absent", 3, 1, 5) == 3);
  CHECK(error_of([&] { root.get_choice("mode", "greedy", Strings{"greedy", "sample"}); }) ==
        "command line: mode=gerdy: 'mode' is 'gerdy', must be one of greedy and sample; did you mean 'greedy'?");
  CHECK(error_of([&] { root.section("rl").require<std::string>("teacher"); }) == "r.yaml:11: 'rl.teacher' is missing, it needs a text");
  CHECK(error_of([&] { root.require<std::string>("judge"); }) == "r.yaml: 'judge' is missing, it needs a text");
  CHECK(error_of([&] { root.get<int>("empty", 1); }) ==
        "command line: empty=null: 'empty' has no value, expected a whole number; write one or remove the line");
  CHECK(error_of([&] { root.section("kind"); }).find("r.yaml:2: 'kind' is a single value (grpo), expected a section") == 0);
  CHECK(error_of([&] { root.sections("rl"); }).find("r.yaml:11: 'rl' is a section, expected a list") == 0);
  CHECK(error_of([&] { root.get<std::string>("rl", ""); }).find("r.yaml:11: 'rl' is {preset: r1_zero") == 0);
  CHECK(error_of([&] { root.get<Strings>("rl", {}); }).find("expected a list, each item a text") != std::string::npos);
  CHECK(error_of([&] { root.section("rollout").reject("temperature", "greedy sampling draws nothing"); }) ==
        "r.yaml:6: 'rollout.temperature' has no effect here: greedy sampling draws nothing");
  root.section("rollout").reject("top_p", "not set, so fine");
  CHECK(root.get_json("rewards") == R"([{"name":"math","weight":1},{"name":"format","weight":0.2}])");
}

TEST_CASE("files that are no recipes: one clear error each") {
  const test::TempDir dir;
  const std::string folder = dir.path().string();
  const auto load = [&](const std::string& name) { return error_of([&] { Config::load(dir / name); }); };
  write_file_atomic(dir / "zero.yaml", "kind: grpo\n");
  CHECK(load("zero.yaml") == "no error");
  CHECK(load("zreo.yaml") == "no recipe at " + folder + "/zreo.yaml; did you mean " + folder + "/zero.yaml?");
  CHECK(load("no/zero.yaml") == "no recipe at " + folder + "/no/zero.yaml; the folder " + folder + "/no does not exist either");
  CHECK(load("") .find("is a folder; give a recipe file") != std::string::npos);
  const auto with = [&](const std::string& text) {
    write_file_atomic(dir / "bad.yaml", text);
    std::string error = load("bad.yaml");
    return error.rfind(folder + "/bad.yaml", 0) == 0 ? error.substr(folder.size() + 1) : error;
  };
  CHECK(with("") == "bad.yaml is empty; a recipe needs at least 'kind:', see recipes/");
  CHECK(with("# only a comment\n").find("bad.yaml is empty") == 0);
  CHECK(with("- a\n- b\n") == "bad.yaml:1: a recipe is a section of 'key: value' lines, this is a list");
  CHECK(with("just text\n").find("this is a single value") != std::string::npos);
  CHECK(with("a: 1\nb: [1, 2\nc: 3\n").find("not valid YAML: ") != std::string::npos);
  CHECK(with("a: 1\nb: [1, 2\nc: 3\n").rfind("bad.yaml:3:", 0) == 0);
  CHECK(with("a: 1\n b: 2\n").rfind("bad.yaml:2:", 0) == 0);
  CHECK(with("a: 1\nb: 2\na: 3\n") == "bad.yaml:3: key 'a' is set twice, first at " + folder + "/bad.yaml:1");
  CHECK(with("x: {a: 1, a: 2}\n").find("key 'a' is set twice") != std::string::npos);
  CHECK(with("a: 1\n---\nb: 2\n").find("bad.yaml:2: the recipe ends before this; a bracket too many, or a second document") != std::string::npos);
  for (const char* more : {"a: 1\n]\n", "a: [1]]\nb: 2\n", "{a: 1}}\n", "a: 1\n...\nb: 2\n"}) {
    CAPTURE(more);
    CHECK(with(more).rfind("bad.yaml:", 0) == 0);
  }
  CHECK(with("a: &x 1\nb: *x\n") == "no error");
  CHECK(with("a: *x\n").find("not valid YAML") != std::string::npos);
  CHECK(with("schema: 2\n") == "bad.yaml:1: schema 2 is not known; this program reads schema 1: use a newer r1");
  CHECK(with("[a]: 1\n").find("a key must be a plain name") != std::string::npos);
  CHECK(with("x: " + std::string(100, '[') + std::string(100, ']') + "\n").find("levels of nesting") != std::string::npos);
  // Aliases of aliases: 10^6 values from a few lines.
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 6; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int k = 0; k < 9; ++k) bomb += ", " + before;
    bomb += "]\n";
  }
  CHECK(with(bomb).find("more than 200000 values") != std::string::npos);
}

TEST_CASE("damaged recipes are ConfigErrors, never crashes") {
  StreamRng rng(3, 0);
  const std::string alphabet = "{}[]:,-\n \t\"'#&*!|>%@`?~\x00\xff" "a1";
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = kRecipe;
    for (std::uint64_t k = rng.below(6); k > 0; --k) {
      const std::size_t at = rng.below(text.size());
      if (rng.below(3) == 0) text.erase(at, rng.below(40));
      else text.insert(at, 1, alphabet[rng.below(alphabet.size())]);
    }
    try {
      const Config config = Config::parse(text, "bad.yaml");
      CHECK_NOTHROW(parse_yaml(write_yaml(config.root()), "again", Origin::Kind::kRecipe));
    } catch (const ConfigError&) {
      ++refused;
    }
  }
  CHECK(refused > 500);
  CHECK(refused < 3000);
}

ResolvedConfig resolve(const Config& config) {
  ConfigReader root(config);
  root.get<std::string>("kind", "");
  ConfigReader model = root.section("model");
  model.get<std::string>("path", "");
  model.get<std::string>("dtype", "");
  ConfigReader rl = root.section("rl");
  rl.get<std::string>("preset", "");
  rl.get<double>("learning_rate", 0);
  rl.get<int>("steps", 1);
  rl.get<float>("epsilon", 1e-6f);
  rl.find<double>("kl");
  for (auto& reward : root.sections("rewards", "name")) {
    reward.get<std::string>("name", "");
    reward.get<double>("weight", 1.0);
  }
  root.section("data").get<Strings>("path", {});
  root.section("data").get<std::string>("prompt", "");
  root.section("rollout").get<int>("samples_per_prompt", 1);
  root.section("rollout").get<double>("temperature", 1);
  root.section("output").get<std::string>("dir", "runs/x");
  root.get<std::uint64_t>("seed", 0);
  root.finish();
  return root.resolved();
}

TEST_CASE("the resolved configuration reads back as itself") {
  const ResolvedConfig resolved = resolve(recipe({"output.dir=a: \"b\"\n#\\", "data.prompt=\"12\""}));
  const std::string yaml = resolved.to_yaml();
  CHECK(yaml.find("  learning_rate: 1e-06\n") != std::string::npos);
  CHECK(yaml.find("  epsilon: 1e-06\n") != std::string::npos);
  const ResolvedConfig again = resolve(Config::parse(yaml, "again.yaml"));
  CHECK(again.to_yaml() == yaml);
  CHECK(again.digest() == resolved.digest());
  const Config back = Config::parse(yaml, "again.yaml");
  CHECK(back.peek("output.dir") == "a: \"b\"\n#\\");
  CHECK(ConfigReader(back).section("data").get<std::string>("prompt", "") == "12");
  const std::string commented = resolved.to_yaml(true);
  CHECK(commented.find("  steps: 200  # r.yaml:11\n") != std::string::npos);
  CHECK(commented.find("  epsilon: 1e-06  # default\n") != std::string::npos);
  const auto lines = resolved.lines();
  const auto line = std::find_if(lines.begin(), lines.end(), [](const auto& l) { return l.key == "rewards.1.weight"; });
  REQUIRE(line != lines.end());
  CHECK(line->value == "0.2");
  CHECK(line->origin.text == "r.yaml:10");
}

TEST_CASE("strings of every kind survive YAML") {
  for (const char* text : {"", " ", "null", "~", "true", "No", "1", "1e5", "-", "- a", "a: b", "#x", "a #b", "[x]", "{x}", "*x", "&x", "!x",
                           "%x", "@x", "`x", "'", "\"", "a\tb", "a\nb\n", "\x01\x7f", "é√", "\\", "?", "? a", "---", "...", ":", "a:", "=",
                           "<<", ".inf", ".nan", "0x1f", "1_000", "12:30", "2024-01-01", "+1", "a'b", "trailing ", " leading", "|", ">"}) {
    CAPTURE(text);
    ConfigValue map = ConfigValue::map({});
    map.entries.emplace_back(text, ConfigValue::scalar(text, true, {}));
    ConfigValue list = ConfigValue::list({});
    list.items = {ConfigValue::scalar(text, true, {}), map};
    map.entries.emplace_back("list", list);
    const ConfigValue back = parse_yaml(write_yaml(map), "x", Origin::Kind::kRecipe);
    REQUIRE(back.entries.size() == 2);
    CHECK(back.entries[0].first == text);
    CHECK(back.entries[0].second.kind == ConfigValue::Kind::kScalar);
    CHECK(back.entries[0].second.text == text);
    if (parse_bool(text) || parse_double(text)) CHECK(back.entries[0].second.quoted);  // it stays a text
    REQUIRE(back.entries[1].second.items.size() == 2);
    CHECK(back.entries[1].second.items[0].text == text);
    CHECK(back.entries[1].second.items[1].entries[0].second.text == text);
  }
}

TEST_CASE("the digest sees meaning, not spelling") {
  const ResolvedConfig base = resolve(recipe());
  CHECK(resolve(Config::parse("kind: grpo\nseed: 0\nrl: {steps: 2e2, preset: r1_zero, learning_rate: 0.000001}\n"
                              "rollout: {temperature: 1, samples_per_prompt: 16}\nmodel: {dtype: bfloat16, path: \"some/model\"}\n"
                              "data: {prompt: question, path: [a.jsonl, b.jsonl]}\noutput: {dir: runs/x}\n"
                              "rewards: [math, {weight: 0.20, name: format}]\n", "other.yaml")).digest() == base.digest());
  const ResolvedConfig longer = resolve(recipe({"rl.steps=300", "output.dir=runs/y"}));
  CHECK(longer.digest() != base.digest());
  CHECK(longer.digest(Strings{"rl.steps", "output"}) == base.digest(Strings{"rl.steps", "output"}));
  CHECK(base.differences(longer) == Strings{"output.dir: runs/x -> runs/y", "rl.steps: 200 -> 300"});
  CHECK(base.differences(longer, Strings{"output"}) == Strings{"rl.steps: 200 -> 300"});
  CHECK(base.differences(base).empty());
  CHECK(longer.digest(Strings{"rl.step", "out"}) == longer.digest());  // a key's beginning is not the key
}

}  // namespace
}  // namespace r1
