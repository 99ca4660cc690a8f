#include "kd/kd_loss.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

using nlohmann::json;
using Row = std::vector<float>;

json fixture() { return json::parse(std::ifstream(R1_SOURCE_DIR "/tests/golden/trl_preference.json"))["distill"]; }

Row random_row(std::size_t vocab, double size, std::uint64_t seed) {
  StreamRng rng(seed, 3);
  Row row(vocab);
  for (float& z : row) z = static_cast<float>(size * (2 * rng.uniform() - 1));
  return row;
}

KdOptions options(Divergence divergence, double temperature = 1, double beta = 0.5) { return {divergence, beta, temperature}; }

// A teacher's stored row.
struct Stored {
  Stored(const Row& teacher, std::size_t k, double temperature) : ids(k), logprobs(k), tail(top_k_of(teacher, temperature, ids, logprobs)) {}
  TopKRow row() const { return {ids, logprobs, tail}; }
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  float tail;
};

constexpr Divergence kAll[] = {Divergence::kForward, Divergence::kReverse, Divergence::kJsd};

}  // namespace

TEST_CASE("distillation: generalised JSD and its gradient equal TRL's, over beta and temperature") {
  const json f = fixture();
  const auto student = f["student"].get<std::vector<Row>>(), teacher = f["teacher"].get<std::vector<Row>>();
  REQUIRE(f["cases"].size() == 15);
  for (const json& c : f["cases"]) {
    CAPTURE(c["beta"]);
    CAPTURE(c["temperature"]);
    const double t = c["temperature"], n = static_cast<double>(student.size());
    double loss = 0;
    for (std::size_t i = 0; i < student.size(); ++i) {
      Row row = student[i];
      loss += kd_row(row, teacher[i], options(Divergence::kJsd, t, c["beta"]), 1 / n) / n;
      // TRL leaves the temperature's square out.
      for (std::size_t v = 0; v < row.size(); ++v) CHECK(std::abs(row[v] / (t * t) - c["gradient"][i][v].get<double>()) <= 1e-6);
    }
    CHECK(std::abs(loss / (t * t) - c["loss"].get<double>()) <= 2e-6);
  }
}

TEST_CASE("distillation: the top K with a tail bucket equals TRL's") {
  const json f = fixture();
  const auto student = f["student"].get<std::vector<Row>>(), teacher = f["teacher"].get<std::vector<Row>>();
  REQUIRE(f["top_k"].size() == 3);
  for (const json& c : f["top_k"]) {
    CAPTURE(c["beta"]);
    double loss = 0;
    for (std::size_t i = 0; i < student.size(); ++i) {
      Row row = student[i];
      const Stored stored(teacher[i], c["k"], 1);
      loss += kd_row_top_k(row, stored.row(), options(Divergence::kJsd, 1, c["beta"]), 1.0 / 3) / 3;
      for (std::size_t v = 0; v < row.size(); ++v) CHECK(std::abs(row[v] - c["gradient"][i][v].get<double>()) <= 1e-6);
    }
    CHECK(std::abs(loss - c["loss"].get<double>()) <= 2e-6);
  }
}

TEST_CASE("distillation: zero at the teacher, gradients sum to zero and equal finite differences, whole vocabulary as top K") {
  const Row teacher = random_row(37, 3, 1), student = random_row(37, 2, 2);
  for (Divergence d : kAll)
    for (double t : {1.0, 2.5}) {
      CAPTURE(static_cast<int>(d));
      CAPTURE(t);
      const KdOptions o = options(d, t, 0.3);
      Row same = teacher;
      CHECK(std::abs(kd_row(same, teacher, o, 1)) < 1e-6);
      for (float g : same) CHECK(std::abs(g) < 1e-7);

      for (std::size_t k : {37, 36, 5, 1}) {
        CAPTURE(k);
        const Stored stored(teacher, k, t);
        const auto loss = [&](const Row& row) {
          Row copy = row;
          return k == 37 ? kd_row(copy, teacher, o, 1) : kd_row_top_k(copy, stored.row(), o, 1);
        };
        Row gradient = student;
        const double value = k == 37 ? kd_row(gradient, teacher, o, 2) : kd_row_top_k(gradient, stored.row(), o, 2);
        CHECK(value > 0);
        CHECK(value == loss(student));  // the weight is of the gradient alone
        double sum = 0;
        for (float g : gradient) sum += g;
        CHECK(std::abs(sum) < 1e-6);
        for (std::size_t v = 0; v < student.size(); v += 4) {
          Row up = student, down = student;
          up[v] += 1.f / 1024, down[v] -= 1.f / 1024;
          CHECK(gradient[v] / 2 == doctest::Approx((loss(up) - loss(down)) / (static_cast<double>(up[v]) - down[v])).epsilon(1e-4));
        }
        if (k < 37) CHECK(value <= kd_row(gradient = student, teacher, o, 1) + 1e-6);  // joined outcomes tell less
      }
      const Stored all(teacher, 37, t);
      CHECK(all.tail == -std::numeric_limits<float>::infinity());
      Row exact = student, stored = student;
      CHECK(kd_row_top_k(stored, all.row(), o, 1) == doctest::Approx(kd_row(exact, teacher, o, 1)).epsilon(1e-5));
      for (std::size_t v = 0; v < 37; ++v) CHECK(std::abs(stored[v] - exact[v]) < 1e-5);
    }
}

TEST_CASE("distillation: the top K are the most probable, ties to the smaller id; rows far apart stay finite") {
  const Row z = {1, 5, 5, -2, 9, 5};
  std::vector<std::int32_t> ids(3);
  Row logprobs(3);
  const float tail = top_k_of(z, 1, ids, logprobs);
  CHECK(ids == std::vector<std::int32_t>{4, 1, 2});
  CHECK(std::exp(tail) + std::exp(logprobs[0]) + 2 * std::exp(logprobs[1]) == doctest::Approx(1).epsilon(1e-6));
  const Row far = {1000, -1000, 0}, opposite = {-1000, 1000, 0};
  for (Divergence d : kAll) {
    Row student = far;
    CHECK(std::isfinite(kd_row(student, opposite, options(d), 1)));
    for (float g : student) CHECK(std::isfinite(g));
    const Stored stored(opposite, 1, 1);
    Row other = far;
    CHECK(std::isfinite(kd_row_top_k(other, stored.row(), options(d), 1)));
    for (float g : other) CHECK(std::isfinite(g));
  }
  CHECK_THROWS_WITH_AS(parse_divergence("kl"), doctest::Contains("forward_kl, reverse_kl, jsd"), ConfigError);
}

}  // namespace r1
