// Parquet in and out, and files read as streams.
#include "text/parquet.h"

#include <doctest/doctest.h>

#include <fstream>

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <zlib.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/support.h"
#include "text/dataset.h"
#include "text/json_pieces.h"
#include "text/parquet_test_support.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

// A line of /proc/self/status, in KiB.
long status_kb(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":")) return std::stol(line.substr(key.size() + 1));
  return 0;
}
// The peak of resident memory from here on is counted anew.
void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

struct Fixture {
  test::TempDir dir;
  std::string write(const std::string& name, const std::string& text) {
    write_file_atomic(dir / name, text);
    return (dir / name).string();
  }
  std::string parquet(const std::string& lines, const std::string& name = "a.parquet") {
    json_lines_to_parquet(write("rows.jsonl", lines), (dir / name).string());
    return (dir / name).string();
  }
};

TEST_CASE_FIXTURE(Fixture, "JSON pieces: lines and elements with their places, one at a time") {
  const auto pieces = [&](const std::string& text) {
    JsonPieces p(write("p", text));
    std::string out;
    for (JsonPieces::Piece piece; p.next(piece);)
      out += std::to_string(piece.number) + "@" + std::to_string(piece.line) + "=" + std::string(piece.text) + "|";
    return out;
  };
  CHECK(pieces("{\"a\":1}\n\n {}\r\n{\"b\"") == "1@1={\"a\":1}|3@3= {}\r|4@4={\"b\"|");
  CHECK(pieces(" \n[ {\"a\": \"],{\\\"\"} ,\n[1,2]\n]\n") == "1@2={\"a\": \"],{\\\"\"} |2@3=[1,2]\n|");
  CHECK(pieces("[]") == "");
  CHECK(pieces("") == "");
  for (const char* bad : {"[{}", "[", "[{},", "[] x", "[{}] {}"}) CHECK_THROWS_AS(pieces(bad), DataError);
  // Pieces longer than what is read at once, and such that end where a read ends.
  std::string lines, array = "[";
  for (int i = 0; i < 40; ++i) {
    const std::string value = "{\"v\":\"" + std::string(static_cast<std::size_t>((1 << 14) + i * 1000), 'x') + "\"}";
    lines += value + "\n";
    array += (i ? ",\n" : "") + value;
  }
  lines += "{\"v\":\"" + std::string(1 << 20, 'y') + "\"}\n";
  const auto sizes = [&](const std::string& text) {
    JsonPieces p(write("p", text));
    std::vector<std::size_t> out;
    for (JsonPieces::Piece piece; p.next(piece);) out.push_back(Json::parse(piece.text).at("v").get<std::string>().size());
    return out;
  };
  const auto a = sizes(lines), b = sizes(array + "]");
  REQUIRE(a.size() == 41);
  REQUIRE(b.size() == 40);
  for (std::size_t i = 0; i < 40; ++i) CHECK((a[i] == (1 << 14) + i * 1000 && b[i] == a[i]));
}

TEST_CASE_FIXTURE(Fixture, "a build without Parquet says so") {
  if (parquet_available()) return;
  const std::string lines = write("rows.jsonl", "{\"a\": 1}\n");
  CHECK_THROWS_WITH_AS(json_lines_to_parquet(lines, (dir / "a.parquet").string()), doctest::Contains("this build has no Parquet"), ConfigError);
  CHECK_THROWS_WITH_AS(test::rows_of<Json>(write("b.parquet", "PAR1....PAR1")), doctest::Contains("this build has no Parquet; run scripts/deps.sh"), DataError);
}

TEST_CASE_FIXTURE(Fixture, "Parquet: every kind of value comes back; missing fields are null; columns keep their order") {
  if (!parquet_available()) return;
  const std::string lines =
      R"({"t": "ä\n\"", "i": -3, "d": 0.1, "b": true, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "o": {"x": {"y": [1, 2]}, "z": null}, "n": null, "e": {}, "l": []}
{"t": "", "i": 9007199254740993, "d": 2, "b": null, "messages": [], "o": null, "late": "here"}
)";
  const auto rows = test::rows_of<Json>(parquet(lines));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["t"] == "ä\n\"");
  CHECK(rows[0]["i"] == -3);
  CHECK(rows[0]["d"] == 0.1);
  CHECK(rows[0]["b"] == true);
  CHECK(rows[0]["messages"] == Json::parse(R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])"));
  CHECK(rows[0]["o"] == Json::parse(R"({"x": {"y": [1, 2]}, "z": null})"));
  CHECK(rows[0]["n"].is_null());
  CHECK(rows[0]["late"].is_null());
  CHECK(rows[0]["l"] == Json::array());
  CHECK(!rows[0].contains("e"));  // Parquet has no object without fields
  CHECK(rows[1]["i"] == 9007199254740993);
  CHECK(rows[1]["d"] == 2.0);
  CHECK(rows[1]["messages"] == Json::array());
  CHECK(rows[1]["o"].is_null());
  CHECK(rows[1]["late"] == "here");
}

TEST_CASE_FIXTURE(Fixture, "Parquet: mixed types are named with line and column; nothing is left behind") {
  if (!parquet_available()) return;
  CHECK_THROWS_WITH_AS(parquet("{\"a\": {\"b\": 1}}\n{\"a\": {\"b\": \"x\"}}\n"),
                       doctest::Contains("rows.jsonl:2: column \"a.b\" is a text here and a whole number in earlier rows"), DataError);
  CHECK_THROWS_WITH_AS(parquet("{\"a\": [1, \"x\"]}\n"), doctest::Contains("\"a[]\""), DataError);
  CHECK_THROWS_WITH_AS(parquet("{\"a\": 18446744073709551615}\n"), doctest::Contains("64-bit"), DataError);
  CHECK_THROWS_AS(parquet("{\"a\": 1}\n[1]\n"), DataError);
  CHECK(!std::filesystem::exists(dir / "a.parquet"));
  CHECK_THROWS_AS(json_lines_to_parquet(write("one.jsonl", "{\"a\": 1}\n"), (dir / "no" / "folder.parquet").string()), IoError);
}

TEST_CASE_FIXTURE(Fixture, "Parquet as prompts: the usual columns, limits, bad rows, files without rows, damaged files") {
  if (!parquet_available()) return;
  DatasetOptions o;
  o.paths = {
      parquet("{\"problem\": \"P?\", \"solution\": \"4\", \"answer\": null}\n{\"problem\": \"Q?\", \"solution\": null, \"answer\": "
              "\"5\"}\n{\"problem\": null, \"solution\": \"6\"}\n")};
  const PromptMaker maker(o, nullptr);
  RowReader reader(o);
  Row row;
  REQUIRE(reader.next(row));
  CHECK(maker.make_prompt(row, 1).reference == "4");
  REQUIRE(reader.next(row));
  CHECK(maker.make_prompt(row, 2).reference == "5");
  CHECK(row.line == 2);
  REQUIRE(reader.next(row));
  CHECK_THROWS_WITH_AS(maker.make_prompt(row, 3), doctest::Contains("a.parquet:3: no prompt column was found"), DataError);
  CHECK(!reader.next(row));
  o.limit = 1;
  CHECK(read_rows(o).size() == 1);
  o.limit = 0;
  o.skip_bad_rows = true;
  CHECK(load_prompts(o, nullptr).prompts.size() == 2);
  CHECK_THROWS_WITH_AS(test::rows_of<Json>(parquet("", "empty.parquet")), doctest::Contains("holds no rows"), DataError);
  const std::string good = read_file(dir / "a.parquet");
  for (const std::string& text : {good.substr(0, good.size() / 2), good.substr(0, good.size() - 4) + "XXXX", std::string("PAR1")})
    CHECK_THROWS_WITH_AS(test::rows_of<Json>(write("bad.parquet", text)), doctest::Contains("bad.parquet: the Parquet file cannot be read"), DataError);
}

TEST_CASE_FIXTURE(Fixture, "prompts without a tokenizer are messages alone") {
  DatasetOptions o;
  o.system_prompt = "S";
  o.prompt_suffix = "!";
  const Prompt p = PromptMaker(o, nullptr).make_prompt(std::string("Q"));
  CHECK(p.tokens.empty());
  REQUIRE(p.messages.size() == 2);
  CHECK(p.messages[0].content == "S");
  CHECK(p.messages[1].content == "Q!");
  CHECK(p.text == "Q!");
  o.prompt_template = "r1_zero";
  CHECK_THROWS_WITH_AS(PromptMaker(o, nullptr), doctest::Contains("asked in messages"), ConfigError);
  o.prompt_template = "chat";
  o.max_prompt_tokens = 5;
  CHECK_THROWS_AS(PromptMaker(o, nullptr), ConfigError);
}

// Writes about `bytes` of JSON lines, and the same as .gz.
void write_big(const std::string& path, std::int64_t bytes, const std::string& gz) {
  std::ofstream out(path, std::ios::binary);
  gzFile packed = gzopen(gz.c_str(), "wb1");
  std::string filler;
  for (int i = 0; i < 150; ++i) filler += "word" + std::to_string(i * 7919 % 1000) + " ";
  for (std::int64_t i = 0, at = 0; at < bytes; ++i) {
    const std::string line = message("{\"id\": ", i, ", \"messages\": [{\"role\": \"user\", \"content\": \"", i, " ", filler,
                                     "\"}, {\"role\": \"assistant\", \"content\": \"", filler, filler, "\"}], \"x\": ", i, ".5}\n");
    out << line;
    gzwrite(packed, line.data(), static_cast<unsigned>(line.size()));
    at += static_cast<std::int64_t>(line.size());
  }
  gzclose(packed);
}

void stream_big(std::int64_t bytes) {
  const test::TempDir dir;
  const std::string lines = (dir / "big.jsonl").string(), gz = (dir / "big.jsonl.gz").string(), columns = (dir / "big.parquet").string();
  write_big(lines, bytes, gz);
  // What reading may add to resident memory, whatever the file's size. A row group of what we write is 32 MiB of JSON.
  constexpr long kReadKb = 24 << 10, kWriteKb = 220 << 10, kColumnsKb = 110 << 10;
  // In a process of its own: memory that earlier work left to the allocators would hide what this takes.
  const auto measured = [&](auto&& work) {
    int pipe_ends[2] = {};
    REQUIRE(::pipe(pipe_ends) == 0);
    const ::pid_t child = ::fork();
    if (child == 0) {
      malloc_trim(0);
      const long before = status_kb("VmRSS");
      reset_peak();
      long peak = -1;
      try {
        work();
        peak = status_kb("VmHWM") - before;
      } catch (const std::exception&) {
      }
      ::_exit(::write(pipe_ends[1], &peak, sizeof peak) == sizeof peak ? 0 : 1);
    }
    ::close(pipe_ends[1]);
    long peak = -1;
    REQUIRE(::read(pipe_ends[0], &peak, sizeof peak) == sizeof peak);
    ::close(pipe_ends[0]);
    ::waitpid(child, nullptr, 0);
    REQUIRE(peak >= 0);
    return peak;
  };
  const auto read_all = [&](const std::string& path) {
    DatasetOptions o;
    o.paths = {path};
    RowReader reader(o);
    std::int64_t rows = 0;
    for (Row row; reader.next(row); ++rows)
      if (row.columns.at("id") != std::to_string(rows)) throw DataError(message("row ", rows, " is ", row.columns.at("id")));
    if (rows < bytes / 4000) throw DataError(message("only ", rows, " rows"));
  };
  const long plain = measured([&] { read_all(lines); }), packed = measured([&] { read_all(gz); });
  CHECK(plain < kReadKb);
  CHECK(packed < kReadKb);
  long written = 0, read = 0;
  if (parquet_available()) {
    written = measured([&] { json_lines_to_parquet(lines, columns); });
    read = measured([&] { read_all(columns); });
    CHECK(written < kWriteKb);
    CHECK(read < kColumnsKb);
  }
  MESSAGE("a file of ", bytes >> 20, " MiB adds at most: JSON lines ", plain >> 10, " MiB, .gz ", packed >> 10, " MiB, writing Parquet ",
          written >> 10, " MiB, reading it ", read >> 10, " MiB");
}

TEST_CASE("a file of 50 MB is read, and written as Parquet, in bounded memory") { stream_big(std::int64_t{50} << 20); }

// Label slow; ctest names it.
TEST_CASE("a file of 1 GB" * doctest::skip()) { stream_big(std::int64_t{1} << 30); }

}  // namespace
}  // namespace r1
