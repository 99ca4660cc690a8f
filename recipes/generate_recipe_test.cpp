#include "recipes/generate_recipe.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/support.h"
#include "text/parquet.h"

namespace r1 {
namespace {

struct Fixture {
  test::TempDir dir;
  std::string base;
  std::vector<std::string> asked;  // models that a client was made for

  Fixture() {
    write_file_atomic(dir / "train.jsonl", "{\"question\": \"q\", \"answer\": \"1\"}\n");
    base = "kind: generate\ndata: {path: " + (dir / "train.jsonl").string() + "}\noutput: {path: " + (dir / "set").string() + "}\n";
  }
  RewardContext context() {
    RewardContext c;
    c.chat_client = [this](ConfigReader& r) {
      asked.push_back(r.require<std::string>("model"));
      r.get<std::string>("url", "");
      r.get_json("extra");
      return ChatClient{[](const ChatRequest&) { return ChatReply(); }, "test"};
    };
    return c;
  }
  GenerateRecipe load(const std::string& more, const std::vector<std::string>& overrides = {}) {
    return load_generate_recipe(Config::parse(base + more, "test.yaml", overrides), context());
  }
  void refused(const std::string& more, const char* words) { CHECK_THROWS_WITH_AS(load(more), doctest::Contains(words), ConfigError); }
};

TEST_CASE_FIXTURE(Fixture, "generate recipe: one model, defaults") {
  const GenerateRecipe r = load("model: {path: M}\n");
  REQUIRE(r.engines.size() == 1);
  CHECK(r.engines[0].model == "M");
  CHECK(r.engines[0].samples == 4);
  CHECK(r.engines[0].sampling.temperature == 1.f);
  CHECK(!r.rubric);
  CHECK(r.rewards_json.empty());
  CHECK(FilterChain(r.curate.filters).names().empty());
  CHECK(!r.curate.exact);
  CHECK(r.paths.data == dir / "set" / "data.jsonl");
  CHECK(!r.mix);
  CHECK(!r.rewrite);
}

TEST_CASE_FIXTURE(Fixture, "generate recipe: everything set arrives") {
  const GenerateRecipe r = load(R"(
seed: 9
engines:
  - {model: local, samples: 2, dtype: float32, device: cpu}
  - {url: "http://a/v1", model: big, parallel: 3}
  - {url: "http://b/v1", model: big}
rollout: {samples_per_prompt: 8, temperature: 0.6, top_p: 0.95, max_new_tokens: 100, stop: ["</answer>"]}
rewards: [{name: math, weight: 1}, {name: format, as: form}]
filters: {preset: r1, correct: false, format: {answer_tag: true}, repetition: {ngram: 5, max_count: 7, max_share: 0.5}, max_paragraph: 300, code_tasks: [code, sql], length: {max_tokens: 50}}
dedup: {exact: true, near: 0.7, shingle: 4, hashes: 64, scope: prompt}
decontaminate: {against: [x.jsonl, y.jsonl], ngram: 13, characters: 20}
difficulty: {min_pass_rate: 0.1, max_pass_rate: 0.9}
select: {by: best, column: form, per_prompt: 2}
rewrite: {model: writer, temperature: 0.3, max_new_tokens: 700, parallel: 2}
)",
                                {"output.license=mit", "output.license_notes=[a, b]", "output.columns=true"});
  REQUIRE(r.engines.size() == 3);
  CHECK(r.engines[0].samples == 2);
  CHECK(r.engines[0].dtype == DType::kF32);
  CHECK(r.engines[1].samples == 8);
  CHECK(r.engines[1].parallel == 3);
  CHECK(r.engines[2].url == "http://b/v1");
  CHECK(r.engines[2].sampling.stop_strings == std::vector<std::string>{"</answer>"});
  CHECK(asked == std::vector<std::string>{"big", "big", "writer"});
  CHECK(r.set.labels == std::vector<std::string>{"math", "form"});
  const FilterOptions& f = r.curate.filters;
  CHECK(FilterChain(f).names() == std::vector<std::string_view>{"finished", "format", "language", "repetition", "paragraphs", "code", "length"});
  CHECK(f.format->answer_tag);
  CHECK(f.repetition->ngram == 5);
  CHECK(f.repetition->max_count == 7);
  CHECK(f.max_paragraph == 300);
  CHECK(f.code_tasks == std::vector<std::string>{"code", "sql"});
  CHECK(f.length->max_tokens == 50);
  CHECK(r.curate.near->threshold == 0.7);
  CHECK(r.curate.near->hashes == 64);
  CHECK(r.curate.within_prompt);
  CHECK(r.curate.against.size() == 2);
  CHECK(r.curate.decontaminate.characters == 20);
  CHECK(r.curate.min_pass_rate == 0.1);
  CHECK(r.curate.best == "form");
  CHECK(r.curate.per_prompt == 2);
  REQUIRE(r.rewrite);
  CHECK(r.rewrite->info.name == "writer");
  CHECK(r.rewrite->info.local);
  CHECK(r.rewrite->info.seed == 9);
  CHECK(r.rewrite->info.max_new_tokens == 700);
  CHECK(r.set.license == "mit");
  CHECK(r.set.license_notes.size() == 2);
  CHECK(r.set.columns);
  // The rewards of a set can be made again from what its records keep.
  CHECK(rubric_from_json(r.rewards_json, {})->entries().size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "generate recipe: the one that users start from") {
  const std::vector<std::string> overrides = {"data.path=" + (dir / "train.jsonl").string(), "output.path=" + (dir / "set").string()};
  const GenerateRecipe r = load_generate_recipe(Config::load(std::string(R1_SOURCE_DIR) + "/recipes/rejection_sampling.yaml", overrides), context());
  CHECK(FilterChain(r.curate.filters).names() ==
        std::vector<std::string_view>{"finished", "correct", "language", "repetition", "paragraphs", "code"});
  CHECK(r.curate.prefer == CurateOptions::Prefer::kShortest);
}

TEST_CASE_FIXTURE(Fixture, "generate recipe: mixing and filtering anew take nothing else") {
  base = "output: {path: " + (dir / "mix.jsonl").string() + "}\n";
  const GenerateRecipe mix = load("mix: {sets: [{path: a.jsonl, weight: 2}, {path: b.jsonl, weight: 1}], rows: 30}\ndedup: {exact: false}\n");
  REQUIRE(mix.mix);
  CHECK(mix.mix->sources[0].weight == 2);
  CHECK(mix.mix->rows == 30);
  CHECK(!mix.mix->exact);
  CHECK(load("mix: {sets: [a.jsonl, b.jsonl]}\n").mix->sources[1].path == "b.jsonl");
  refused("mix: {sets: [{path: a.jsonl, weight: 2}, b.jsonl]}\n", "weight");
  refused("mix: {sets: [a.jsonl]}\nfilters: {finished: true}\n", "filters");
  refused("mix: {sets: []}\n", "names no set");
  const GenerateRecipe from = load("from: raw.jsonl\nfilters: {finished: true}\n");
  CHECK(from.from == "raw.jsonl");
  CHECK(from.curate.filters.finished);
  refused("from: raw.jsonl\nmodel: {path: M}\n", "model");
  refused("from: raw.jsonl\nrewards: [math]\n", "rewards");
}

TEST_CASE_FIXTURE(Fixture, "generate recipe: what cannot be is refused before any work") {
  refused("", "model");
  refused("model: {path: M}\nengines: [{model: N}]\n", "one of them");
  refused("engines: [{model: M}, {model: M}]\n", "named twice");
  refused("engines: [{url: u, model: M}, {url: v, model: M, temperature: 0.5}]\n", "other settings");
  refused("engines: [{url: u, model: M, dtype: float32}]\n", "dtype");
  refused("engines: [{model: M, parallel: 3}]\n", "parallel");
  refused("engines: [{url: u, model: M}]\nrollout: {top_k: 5}\n", "top_k");
  refused("model: {path: M}\nrollout: {temperature: 0}\n", "would be the same");
  refused("model: {path: M}\nfilter: {finished: true}\n", "did you mean 'filters'");
  refused("model: {path: M}\nfilters: {finishd: true}\n", "did you mean 'filters.finished'");
  refused("model: {path: M}\nfilters: {language_code: en}\n", "language is off");
  refused("model: {path: M}\ndedup: {hashes: 64}\n", "dedup.near is off");
  refused("model: {path: M}\ndedup: {scope: prompt}\n", "dedup is off");
  refused("model: {path: M}\ndecontaminate: {ngram: 8}\n", "names no evaluation set");
  refused("model: {path: M}\ndifficulty: {min_pass_rate: 0.9, max_pass_rate: 0.1}\n", "nothing would be left");
  refused("model: {path: M}\nselect: {column: math}\n", "select.by: best");
  refused("model: {path: M}\nselect: {by: longest}\n", "longest");
  refused("model: {path: M}\nfilters: {preset: r1}\n", "filters.correct needs rewards");
  refused("model: {path: M}\ndifficulty: {max_pass_rate: 0.9}\n", "difficulty needs rewards");
  refused("model: {path: M}\nselect: {by: best}\n", "select.by: best needs rewards");
  refused("model: {path: M}\ndata: {path: none.jsonl}\n", "");
  base = "data: {path: " + (dir / "train.jsonl").string() + "}\n";
  refused("model: {path: M}\n", "output");
  refused("model: {path: M}\noutput: {path: a.csv}\n", "a.csv");
  if (!parquet_available()) refused("model: {path: M}\noutput: {path: a.parquet}\n", "no Parquet");
}

}  // namespace
}  // namespace r1
