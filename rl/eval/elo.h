// An Elo rating of a model from results against opponents of known rating, on the scale of Codeforces.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "rl/statistics.h"

namespace r1 {

// One encounter: a contestant of that rating (the model did better: 1, as well: 0.5, worse: 0), or a problem of that
// rating (solved: 1).
struct EloGame {
  double opponent = 0;
  double score = 0;
  std::size_t contest = 0;  // games of one contest hang together: they are resampled together
};

// Chance that a player rated `rating` does better than one rated `opponent`: 1 / (1 + 10^((opponent - rating) / 400)).
double elo_expected(double rating, double opponent);

struct EloRating {
  double rating = 0;          // the maximum of the likelihood of all games; -inf or +inf if all were lost or won
  double standard_error = 0;  // from the Fisher information: takes games as independent, so it is too small
  Interval interval;          // 95 % bootstrap over contests; NaN with fewer than two contests
  std::int64_t games = 0, contests = 0;
};

// The rating r with sum over games of (score - expected(r)) = 0, which is the maximum of sum(score log E + (1 - score)
// log(1 - E)): concave in r, so found by bisection. For a single contest it is the rating whose expected place,
// 1 + sum of (1 - E), is the place reached: Codeforces' own definition of a performance. Throws DataError without games
// or for a score outside [0, 1].
EloRating elo_rating(std::span<const EloGame> games, std::uint64_t seed);

// Contest results, JSON lines (docs/evaluation.md), each row one of
//   {"contest", "ratings": [of the others], "rank": the model's place, from 1, "tied": others at that place (0)}
//   {"contest", "standings": [{"rating", "points", "penalty"}], "points", "penalty": the model's}
//   {"contest" (or none), "problem_rating", "solved": true | false | share of the samples that solved it}
// In the second form more points are better, then less penalty. Throws DataError naming file, line and field.
std::vector<EloGame> read_contests(const std::filesystem::path& file);

}  // namespace r1
