#include "rl/eval/elo.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "text/data_files.h"
#include "text/dataset.h"

namespace r1 {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::uint64_t kStream = 0x656c6f21ull;  // "elo!"
constexpr int kResamples = 1000;

// The root of the score equation, to within `precision`. `weight[c]` is how often contest c counts.
double solve(std::span<const EloGame> games, std::span<const int> weight, double precision) {
  double won = 0, total = 0, low = kInfinity, high = -kInfinity;
  std::vector<std::pair<double, double>> strengths;  // weight, 10^(opponent / 400)
  for (const EloGame& g : games) {
    const double w = weight[g.contest];
    if (w == 0) continue;
    won += w * g.score;
    total += w;
    low = std::min(low, g.opponent);
    high = std::max(high, g.opponent);
    strengths.emplace_back(w, std::pow(10.0, g.opponent / 400));
  }
  if (won <= 0) return -kInfinity;
  if (won >= total) return kInfinity;
  // A share of won/total against one opponent moves the rating by 400 log10(odds) from it.
  const double reach = 400 * std::log10(std::max(total / won, total / (total - won))) + 1;
  low -= reach, high += reach;
  while (high - low > precision) {
    const double r = (low + high) / 2, own = std::pow(10.0, r / 400);
    double expected = 0;
    for (const auto& [w, q] : strengths) expected += w * own / (own + q);
    (expected < won ? low : high) = r;
  }
  return (low + high) / 2;
}

using Json = nlohmann::json;

double number_in(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) throw DataError(message("'", key, "' must be a number"));
  return it->get<double>();
}

void place_games(const Json& row, std::size_t contest, std::vector<EloGame>& games) {
  const Json& list = row["ratings"];
  if (!list.is_array() || list.empty()) throw DataError("'ratings' must be a list of the other contestants' ratings");
  const double rank = number_in(row, "rank"), tied = row.contains("tied") ? number_in(row, "tied") : 0;
  const auto others = static_cast<double>(list.size());
  if (rank < 1 || rank != std::floor(rank) || tied < 0 || rank + tied > others + 1)
    throw DataError(message("rank ", rank, " with ", tied, " others at it does not fit ", list.size(), " other contestants"));
  // Which of the others were ahead is not known and does not matter: the sum of scores alone enters the equation.
  const double score = (others - (rank - 1) - tied / 2) / others;
  for (const Json& r : list) {
    if (!r.is_number()) throw DataError("'ratings' must be a list of numbers");
    games.push_back({r.get<double>(), score, contest});
  }
}

void standings_games(const Json& row, std::size_t contest, std::vector<EloGame>& games) {
  const auto penalty_of = [](const Json& o) { return o.contains("penalty") ? number_in(o, "penalty") : 0; };
  const double points = number_in(row, "points"), penalty = penalty_of(row);
  if (!row["standings"].is_array() || row["standings"].empty()) throw DataError("'standings' must be a list of the other contestants");
  for (const Json& other : row["standings"]) {
    if (!other.is_object()) throw DataError("'standings' must be a list of {rating, points, penalty}");
    const double p = number_in(other, "points"), q = penalty_of(other);
    const double score = points != p ? points > p : penalty != q ? penalty < q : 0.5;
    games.push_back({number_in(other, "rating"), score, contest});
  }
}

}  // namespace

double elo_expected(double rating, double opponent) { return 1 / (1 + std::pow(10.0, (opponent - rating) / 400)); }

EloRating elo_rating(std::span<const EloGame> games, std::uint64_t seed) {
  if (games.empty()) throw DataError("a rating needs at least one contest or problem");
  std::size_t contests = 0;
  for (const EloGame& g : games) {
    if (!(g.score >= 0 && g.score <= 1)) throw DataError(message("the score of a game is ", g.score, "; it must be from 0 to 1"));
    contests = std::max(contests, g.contest + 1);
  }
  EloRating out;
  out.games = static_cast<std::int64_t>(games.size());
  out.contests = static_cast<std::int64_t>(contests);
  std::vector<int> weight(contests, 1);
  out.rating = solve(games, weight, 1e-8);
  out.interval = {kNaN, kNaN};
  out.standard_error = kNaN;
  if (!std::isfinite(out.rating)) return out;
  double information = 0;
  for (const EloGame& g : games) {
    const double e = elo_expected(out.rating, g.opponent);
    information += e * (1 - e);
  }
  out.standard_error = 400 / std::log(10.0) / std::sqrt(information);
  if (contests < 2) return out;
  StreamRng rng(seed, kStream);
  std::vector<double> ratings;
  for (int r = 0; r < kResamples; ++r) {
    std::fill(weight.begin(), weight.end(), 0);
    for (std::size_t c = 0; c < contests; ++c) ++weight[rng.below(contests)];
    ratings.push_back(solve(games, weight, 0.01));
  }
  std::sort(ratings.begin(), ratings.end());
  out.interval = {ratings[static_cast<std::size_t>(0.025 * kResamples)], ratings[static_cast<std::size_t>(0.975 * kResamples) - 1]};
  return out;
}

std::vector<EloGame> read_contests(const std::filesystem::path& file) {
  DatasetOptions options;
  options.paths = {file.string()};
  std::vector<EloGame> games;
  std::map<std::string, std::size_t> contests;
  for (const Row& source : read_rows(options)) {
    Json row = Json::object();
    for (const auto& [name, text] : source.columns) row[name] = Json::parse(text);
    const std::string name = row.contains("contest") ? row["contest"].dump() : message("line ", source.line);
    const std::size_t contest = contests.try_emplace(name, contests.size()).first->second;
    with_context(message(source.file, ":", source.line), [&] {
      if (row.contains("ratings")) return place_games(row, contest, games);
      if (row.contains("standings")) return standings_games(row, contest, games);
      if (!row.contains("problem_rating"))
        throw DataError("a row needs 'ratings' and 'rank', 'standings' and 'points', or 'problem_rating' and 'solved'");
      const Json solved = row.value("solved", Json());
      if (!solved.is_boolean() && !solved.is_number()) throw DataError("'solved' must be true, false or a share from 0 to 1");
      const double score = solved.is_boolean() ? solved.get<bool>() : solved.get<double>();
      if (!(score >= 0 && score <= 1)) throw DataError(message("'solved' is ", score, "; it must be from 0 to 1"));
      games.push_back({number_in(row, "problem_rating"), score, contest});
    });
  }
  return games;
}

}  // namespace r1
