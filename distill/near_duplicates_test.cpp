#include "distill/near_duplicates.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

std::string words(StreamRng& rng, int n, int vocabulary = 3000) {
  std::string out;
  for (int i = 0; i < n; ++i) out += "w" + std::to_string(rng.below(static_cast<std::uint64_t>(vocabulary))) + " ";
  return out;
}

// The text with a share of its words replaced.
std::string changed(const std::string& text, double share, StreamRng& rng) {
  std::string out;
  for (std::size_t begin = 0, end; (end = text.find(' ', begin)) != std::string::npos; begin = end + 1)
    out += (rng.uniform() < share ? "x" + std::to_string(rng.next() % 100000) : text.substr(begin, end - begin)) + " ";
  return out;
}

std::set<std::string> shingles(const std::string& text, int n) {
  std::vector<std::string> all;
  for (std::size_t begin = 0, end; (end = text.find(' ', begin)) != std::string::npos; begin = end + 1)
    all.push_back(text.substr(begin, end - begin));
  std::set<std::string> out;
  for (std::size_t i = 0; i + static_cast<std::size_t>(n) <= all.size(); ++i) {
    std::string s;
    for (int k = 0; k < n; ++k) s += all[i + static_cast<std::size_t>(k)] + " ";
    out.insert(s);
  }
  return out;
}

double jaccard(const std::string& a, const std::string& b) {
  const auto x = shingles(a, 5), y = shingles(b, 5);
  std::size_t common = 0;
  for (const std::string& s : x) common += y.count(s);
  return static_cast<double>(common) / static_cast<double>(x.size() + y.size() - common);
}

TEST_CASE("MinHash: equal texts are 1, letter case and white space do not count, other texts are near 0") {
  const NearOptions o;
  StreamRng rng(1, 1);
  const std::string a = words(rng, 200);
  CHECK(similarity(min_hash(a, o), min_hash(a, o)) == 1.0);
  CHECK(similarity(min_hash("One two  THREE\nfour five six", o), min_hash("one two three four five six", o)) == 1.0);
  CHECK(similarity(min_hash(a, o), min_hash(words(rng, 200), o)) < 0.05);
  CHECK(similarity(min_hash("", o), min_hash("", o)) == 1.0);
  CHECK(similarity(min_hash("only three words", o), min_hash("only three words", o)) == 1.0);  // shorter than a shingle
  CHECK(similarity(min_hash("only three words", o), min_hash("only three birds", o)) < 0.1);
}

TEST_CASE("MinHash: the estimate is within four standard errors of the true share") {
  const NearOptions o;
  StreamRng rng(2, 1);
  for (const double share : {0.002, 0.01, 0.03, 0.1}) {
    const std::string a = words(rng, 400), b = changed(a, share, rng);
    const double truth = jaccard(a, b), estimate = similarity(min_hash(a, o), min_hash(b, o));
    CHECK(std::abs(estimate - truth) <= 4 * std::sqrt(truth * (1 - truth) / o.hashes) + 1e-9);
  }
}

TEST_CASE("near duplicates: recall and precision on a made corpus, by exact Jaccard similarity") {
  const NearOptions o;  // threshold 0.8
  NearIndex index(o);
  StreamRng rng(3, 1);
  std::vector<std::string> corpus;
  for (int i = 0; i < 300; ++i) {
    corpus.push_back(words(rng, 60 + static_cast<int>(rng.below(120))));
    index.add(min_hash(corpus.back(), o));
  }
  int clear_pairs = 0, found = 0, others = 0, wrong = 0, edge = 0, edge_right = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::size_t of = rng.below(corpus.size());
    const std::string copy = changed(corpus[of], 0.001 * static_cast<double>(rng.below(90)), rng);
    const double j = jaccard(corpus[of], copy);
    const auto hit = index.find(min_hash(copy, o));
    if (hit) CHECK(*hit == of);
    if (j >= 0.9) ++clear_pairs, found += hit.has_value();
    else if (j < 0.7) ++others, wrong += hit.has_value();
    else ++edge, edge_right += hit.has_value() == (j >= 0.8);
  }
  for (int i = 0; i < 300; ++i) ++others, wrong += index.find(min_hash(words(rng, 100), o)).has_value();
  MESSAGE("similarity from 0.9: ", found, " of ", clear_pairs, " found; below 0.7: ", wrong, " of ", others, " wrong; between: ", edge_right, " of ",
          edge, " on the right side of 0.8");
  REQUIRE(clear_pairs > 150);
  REQUIRE(others > 500);
  REQUIRE(edge > 150);
  CHECK(found >= 0.99 * clear_pairs);  // recall
  CHECK(wrong <= 0.005 * others);      // precision
  CHECK(edge_right >= 0.8 * edge);
}

TEST_CASE("near duplicates: bands follow the threshold; the first of several is named; bad options") {
  for (const double threshold : {0.5, 0.8, 0.95}) {
    NearOptions o;
    o.threshold = threshold;
    const NearIndex index(o);
    CHECK(index.bands() * index.rows() <= o.hashes);
    CHECK(1 - std::pow(1 - std::pow(threshold, index.rows()), index.bands()) >= 0.99);
  }
  NearIndex index({});
  const std::string text = "a b c d e f g h";
  index.add(min_hash("something else than that is here now", {}));
  index.add(min_hash(text, {}));
  index.add(min_hash(text, {}));
  CHECK(index.find(min_hash(text, {})) == 1);
  CHECK(index.find(min_hash("nothing like it was ever seen before", {})) == std::nullopt);
  NearOptions bad;
  bad.threshold = 0;
  CHECK_THROWS_AS(NearIndex{bad}, ConfigError);
  bad = {};
  bad.hashes = 8;
  CHECK_THROWS_AS(NearIndex{bad}, ConfigError);
}

TEST_CASE("MinHash: the same numbers on every machine") {
  NearOptions o;
  o.hashes = 16;
  const MinHash h = min_hash("What is 37 + 45? 37 + 45 = 82", o);
  const MinHash known = {411569780, 1873364981, 38028077,  2183142259, 780852860, 502477801, 528983179, 165973219,
                         404307534, 866334572,  23259436, 1322182734, 1159101779, 556008413, 258556100, 19351258};
  CHECK(h == known);
}

}  // namespace
}  // namespace r1
