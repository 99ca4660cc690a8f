// Random strings: our ids and texts against those of the Python package `tokenizers`, made on the spot by
// tests/golden/tokenizer_random.py. R1_GOLDEN_PYTHON names a Python that has the package; R1_GOLDEN_COUNT the strings
// per tokenizer (20000), R1_GOLDEN_SEED their seed (1).
#include <doctest/doctest.h>

#include <sys/wait.h>

#include "text/shared_tokenizers.h"
#include "text/tokenizer.h"

using Json = nlohmann::json;
using r1::TokenId;

TEST_CASE("random strings give the ids of the Python package") {
  const char* python = std::getenv("R1_GOLDEN_PYTHON");
  const auto shared = r1::test::shared_dir();
  if (!python) return r1::test::skip("R1_GOLDEN_PYTHON is not set");
  if (shared.empty()) return r1::test::skip("no shared data folder (R1_SHARED_DIR)");
  const char *count = std::getenv("R1_GOLDEN_COUNT"), *seed = std::getenv("R1_GOLDEN_SEED");
  const r1::test::TempDir temp;
  for (const auto& [name, file] : r1::test::shared_tokenizers(shared, temp.path())) {
    const auto out = temp / (name + ".jsonl");
    const std::string command = std::string(python) + " '" R1_SOURCE_DIR "/tests/golden/tokenizer_random.py' '" +
                                file.string() + "' --count " + (count ? count : "20000") + " --seed " +
                                (seed ? seed : "1") + " --out '" + out.string() + "'";
    const int status = std::system(command.c_str());
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
      return r1::test::skip("R1_GOLDEN_PYTHON lacks the package tokenizers");
    REQUIRE(status == 0);
    const auto tokenizer = r1::Tokenizer::load(file);
    std::ifstream in(out);
    int rows = 0, wrong = 0;
    std::string version;
    for (std::string line; std::getline(in, line);) {
      const Json row = Json::parse(line);
      if (row.contains("version")) {
        version = row["version"];
        continue;
      }
      ++rows;
      const std::string text = row["text"], decoded = row["decoded"];
      const auto ids = row["ids"].get<std::vector<TokenId>>();
      r1::IncrementalDecoder stream(tokenizer, false);
      std::string streamed;
      for (TokenId id : ids) streamed += stream.push(id);
      streamed += stream.finish();
      const auto got = tokenizer->encode(text);
      if (got == ids && tokenizer->decode(ids, false) == decoded && streamed == decoded) continue;
      if (++wrong > 5) continue;
      CAPTURE(name);
      CAPTURE(row.dump(-1, ' ', true));
      CHECK(Json(got).dump() == row["ids"].dump());
      CHECK(tokenizer->decode(ids, false) == decoded);
      CHECK(streamed == decoded);
    }
    std::printf("%s: %d of %d random strings equal tokenizers %s\n", name.c_str(), rows - wrong, rows, version.c_str());
    CHECK(rows == std::stoi(count ? count : "20000"));
    CHECK(wrong == 0);
  }
}
