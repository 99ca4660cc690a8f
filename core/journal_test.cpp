#include "core/journal.h"

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/serialize.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

ScoredGroup example() {
  ScoredGroup scored;
  Prompt& prompt = scored.group.prompt;
  prompt.id = "train/17";
  prompt.task = "math";
  prompt.tokens = {1, 2, 151643, -1};
  prompt.text = "What is 37 + 45?\n";
  prompt.reference = std::string("82\0x", 4);
  prompt.messages = {{"system", ""}, {"user", "é"}};
  prompt.columns = {{"answer", "\"82\""}, {"level", "3"}};
  for (int g = 0; g < 3; ++g) {
    Completion completion;
    completion.tokens = {5, 6, 7};
    completion.logprobs = {-0.1f, std::bit_cast<float>(0x00000001u), -std::numeric_limits<float>::infinity()};
    if (g == 1) completion.entropies = {std::bit_cast<float>(0x7fc12345u), 0.f, -0.f};
    if (g == 2) completion.sampled = {1, 0, 1};
    completion.text = "answer";
    completion.stop = static_cast<StopReason>(g);
    completion.version_runs = {{0, 3, {1, 2, 3}}, {2, 4, {0xff}}};
    scored.group.completions.push_back(completion);
    Score score;
    score.value = 0.1f * static_cast<float>(g);
    score.parts = {{"math", 1.f}, {"format", 1.f / 3.f}};
    score.verdict = static_cast<Verdict>(g);
    score.detail = "no_box";
    score.columns = {{"gold_parsed", "82"}};
    if (g == 1) score.steps = {{2, 0.5f}, {0, -1.f}};
    scored.scores.push_back(score);
  }
  return scored;
}

TEST_CASE("scored groups of an older form are refused, not misread") {
  std::string bytes = to_bytes(example());
  bytes[0] = 0x01;
  CHECK_THROWS_WITH_AS((void)scored_group_from_bytes(bytes), doctest::Contains("another kind or version"), DataError);
}

TEST_CASE("groups come back bit for bit") {
  const ScoredGroup before = example();
  const std::string bytes = to_bytes(before);
  const ScoredGroup after = scored_group_from_bytes(bytes);
  CHECK(to_bytes(after) == bytes);
  CHECK(after.group.prompt.id == "train/17");
  REQUIRE(after.scores[1].steps.size() == 2);
  CHECK(after.scores[1].steps[1].value == -1.f);
  CHECK(after.group.prompt.tokens == before.group.prompt.tokens);
  CHECK(after.group.prompt.reference == before.group.prompt.reference);
  CHECK(after.group.prompt.messages[1].content == "é");
  CHECK(after.group.prompt.columns == before.group.prompt.columns);
  REQUIRE(after.group.completions.size() == 3);
  const Completion& c = after.group.completions[1];
  CHECK(std::bit_cast<std::uint32_t>(c.entropies[0]) == 0x7fc12345u);  // the very NaN
  CHECK(std::signbit(c.entropies[2]));
  CHECK(std::bit_cast<std::uint32_t>(c.logprobs[1]) == 1u);
  CHECK(after.group.completions[2].sampled == std::vector<std::uint8_t>{1, 0, 1});
  CHECK(c.stop == StopReason::kStop);
  CHECK(c.version_runs[1].start == 2);
  CHECK(c.version_runs[1].version == 4);
  CHECK(c.version_runs[1].digest[0] == 0xff);
  CHECK(after.scores[2].verdict == Verdict::kUnparsed);
  CHECK(after.scores[1].parts == before.scores[1].parts);
  CHECK(after.scores[1].columns.at("gold_parsed") == "82");
  CHECK(to_bytes(sample_group_from_bytes(to_bytes(before.group))) == to_bytes(before.group));
}

TEST_CASE("damaged bytes are errors, never crashes or huge allocations") {
  const std::string bytes = to_bytes(example());
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) CHECK_THROWS_AS(scored_group_from_bytes(bytes.substr(0, cut)), DataError);
  CHECK_THROWS_AS(scored_group_from_bytes(bytes + "x"), DataError);
  CHECK_THROWS_AS(scored_group_from_bytes(to_bytes(example().group)), DataError);
  StreamRng rng(1, 0);
  for (int i = 0; i < 3000; ++i) {
    std::string bad = bytes;
    for (int k = 0; k < 3; ++k) bad[rng.below(bad.size())] = static_cast<char>(rng.next());
    try {
      scored_group_from_bytes(bad);
    } catch (const DataError&) {
    }
  }
}

const Digest kRun = digest_of("run");

// Thousands of syncs would take most of the test's time.
void put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::vector<JournalRecord> write_example(const fs::path& dir) {
  Journal journal(dir);
  CHECK(journal.open(12, kRun).empty());
  const std::vector<JournalRecord> records = {{0, 5, "first"}, {1, 0, ""}, {0, ~std::uint64_t{0}, std::string("\0bin\xff", 5)}};
  for (const auto& r : records) journal.append(r.kind, r.key, r.payload);
  return records;
}

TEST_CASE("records come back in order and more can be appended") {
  const test::TempDir dir;
  auto records = write_example(dir.path());
  {
    Journal journal(dir.path());
    CHECK(journal.open(12, kRun) == records);
    journal.append(7, 8, "more");
  }
  records.push_back({7, 8, "more"});
  Journal journal(dir.path());
  CHECK(journal.open(12, kRun) == records);
}

TEST_CASE("cut at every byte: only whole records come back, and the journal goes on from there") {
  const test::TempDir dir;
  const LogScope log({nullptr, LogLevel::kInfo, dir / "log.jsonl", LogLevel::kDebug});
  const auto records = write_example(dir.path());
  const fs::path file = dir / "rollout_000012.journal";
  const std::string bytes = read_file(file);
  std::size_t most = 0;
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    put(file, bytes.substr(0, cut));
    std::vector<JournalRecord> got;
    {
      Journal journal(dir.path());
      got = journal.open(12, kRun);
      journal.append(9, 9, "after the cut");
    }
    REQUIRE(got.size() <= records.size());
    CHECK(std::equal(got.begin(), got.end(), records.begin()));
    CHECK(got.size() >= most);  // more bytes never give fewer records
    most = got.size();
    Journal again(dir.path());
    const auto all = again.open(12, kRun);
    REQUIRE(all.size() == got.size() + 1);
    CHECK(all.back().payload == "after the cut");
  }
  CHECK(most == records.size());
  CHECK(read_file(dir / "log.jsonl").find("\"event\":\"journal.torn\"") != std::string::npos);
}

TEST_CASE("a flipped bit anywhere never yields a wrong record") {
  const test::TempDir dir;
  const LogScope silent({nullptr, LogLevel::kInfo, {}, LogLevel::kDebug});
  const auto records = write_example(dir.path());
  const fs::path file = dir / "rollout_000012.journal";
  const std::string bytes = read_file(file);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string bad = bytes;
    bad[at] ^= 0x10;
    put(file, bad);
    Journal journal(dir.path());
    const auto got = journal.open(12, kRun);
    CHECK(got.size() < records.size());
    CHECK(std::equal(got.begin(), got.end(), records.begin()));
  }
}

TEST_CASE("another rollout or another fingerprint starts anew") {
  const test::TempDir dir;
  const LogScope log({nullptr, LogLevel::kInfo, dir / "log.jsonl", LogLevel::kDebug});
  write_example(dir.path());
  {
    Journal journal(dir.path());
    CHECK(journal.open(12, digest_of("other weights")).empty());
  }
  CHECK(read_file(dir / "log.jsonl").find("journal.foreign") != std::string::npos);
  write_example(dir.path() / "b");
  Journal journal(dir.path() / "b");
  CHECK(journal.open(13, kRun).empty());
  CHECK_FALSE(fs::exists(dir / "b/rollout_000012.journal"));
}

TEST_CASE("a failed write is an error, and leaves whole records only") {
  const test::TempDir dir;
  auto records = write_example(dir.path());
  {
    Journal journal(dir.path());
    journal.open(12, kRun);
    set_file_fault_hook([](FileOp op, const fs::path&) { return op == FileOp::kWrite ? ENOSPC : 0; });
    CHECK_THROWS_AS(journal.append(0, 1, "lost"), IoError);
    set_file_fault_hook({});
    journal.append(0, 2, "kept");
  }
  records.push_back({0, 2, "kept"});
  Journal journal(dir.path());
  CHECK(journal.open(12, kRun) == records);
}

TEST_CASE("interval 0 syncs each record; a long interval does not") {
  const test::TempDir dir;
  for (const int ms : {0, 100000}) {
    Journal journal(dir.path() / std::to_string(ms), Journal::Options{std::chrono::milliseconds(ms)});
    journal.open(0, kRun);
    int syncs = 0;
    set_file_fault_hook([&](FileOp op, const fs::path&) { return syncs += op == FileOp::kSync, 0; });
    for (int i = 0; i < 3; ++i) journal.append(0, 0, "x");
    set_file_fault_hook({});
    CHECK(syncs == (ms == 0 ? 3 : 0));
  }
}

TEST_CASE("threads may append at once") {
  const test::TempDir dir;
  Journal journal(dir.path());
  journal.open(1, kRun);
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 50; ++i) journal.append(0, t * 50 + i, std::string(i, 'x'));
    });
  }
  for (auto& thread : threads) thread.join();
  Journal reader(dir.path());
  CHECK(reader.open(1, kRun).size() == 200);
}

}  // namespace
}  // namespace r1
