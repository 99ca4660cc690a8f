#include "distill/mixture.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/rng.h"
#include "distill/raw_json.h"
#include "text/dataset.h"

namespace r1 {
namespace {

using raw::Json;

std::string set_name(const std::string& path) {
  const std::filesystem::path p = path;
  return p.stem() == "data" && p.has_parent_path() ? p.parent_path().filename().string() : p.stem().string();
}

Json as_messages(const Json& value, const char* role, const std::string& at) {
  if (value.is_string()) return Json::array({{{"role", role}, {"content", value}}});
  if (value.is_array()) return value;
  throw DataError(message(at, ": a ", role, "'s part must be a text or a list of messages, it is ", value.type_name()));
}

// The row as it goes out.
Json mixed_row(const Row& row, const std::string& source) {
  const std::string at = message(row.file, ":", row.line);
  Json out = Json::object(), rest = Json::object();
  for (const auto& [name, text] : row.columns) rest[name] = Json::parse(text);
  if (const auto m = rest.find("messages"); m != rest.end() && m->is_array()) {
    out["messages"] = *m;
  } else if (rest.contains("prompt") && rest.contains("completion")) {
    out["messages"] = as_messages(rest["prompt"], "user", at);
    for (const Json& one : as_messages(rest["completion"], "assistant", at)) out["messages"].push_back(one);
    rest.erase("prompt");
    rest.erase("completion");
  } else {
    std::string names;
    for (const auto& [name, text] : row.columns) names += (names.empty() ? "" : ", ") + name;
    throw DataError(message(at, ": a row to mix needs a column messages, or prompt and completion; its columns are: ", names));
  }
  rest.erase("messages");
  for (const Json& m : out["messages"])
    if (!m.is_object() || !m.contains("role") || !m.contains("content"))
      throw DataError(message(at, ": a message is no {role, content}: ", m.dump().substr(0, 80)));
  if (out["messages"].empty()) throw DataError(message(at, ": messages is empty"));
  out["source"] = source;
  for (const auto& [name, value] : rest.items())
    if (name != "source") out[name] = value;
  return out;
}

std::string text_of(const Json& messages, bool assistant) {
  std::string out;
  for (const Json& m : messages)
    if ((m["role"] == "assistant") == assistant && m["content"].is_string()) out += (out.empty() ? "" : "\n") + m["content"].get<std::string>();
  return out;
}

DatasetOptions reading(const MixSource& source) {
  DatasetOptions o;
  o.paths = {source.path};
  return o;
}

// Which rows of each set are fit to be taken: the first reading.
std::vector<std::vector<bool>> fit_rows(const MixOptions& o, MixStats& stats) {
  std::optional<Decontaminator> decontaminator;
  if (!o.against.empty()) {
    decontaminator.emplace(o.decontaminate);
    for (const std::string& path : o.against) decontaminator->add_file(path);
  }
  std::set<Digest> seen;
  std::optional<NearIndex> index;
  if (o.near) index.emplace(*o.near);
  std::vector<std::vector<bool>> fit(o.sources.size());
  for (std::size_t s = 0; s < o.sources.size(); ++s) {
    MixStats::Source& count = stats.sources[s];
    RowReader reader(reading(o.sources[s]));
    for (Row row; reader.next(row);) {
      const Json messages = mixed_row(row, "").at("messages");
      const std::string question = text_of(messages, false), answer = text_of(messages, true);
      ++count.rows;
      const auto verdict = [&] {
        if (decontaminator && decontaminator->find(question, answer)) return ++count.contaminated, false;
        const Digest digest = digest_of(messages.dump());
        if (o.exact && seen.count(digest)) return ++count.exact, false;
        if (index) {
          MinHash hash = min_hash(question + "\n" + answer, *o.near);
          if (index->find(hash)) return ++count.near, false;
          index->add(std::move(hash));
        }
        if (o.exact) seen.insert(digest);
        return true;
      };
      fit[s].push_back(verdict());
    }
  }
  return fit;
}

// How many rows of each set.
std::vector<std::int64_t> shares(const MixOptions& o, const std::vector<std::int64_t>& fit) {
  double sum = 0;
  for (const MixSource& s : o.sources) sum += s.weight;
  if (sum == 0 && o.rows == 0) return fit;
  std::vector<double> weight;
  for (std::size_t s = 0; s < fit.size(); ++s)
    weight.push_back(sum > 0 ? o.sources[s].weight / sum
                             : static_cast<double>(fit[s]) /
                                   static_cast<double>(std::max<std::int64_t>(1, std::accumulate(fit.begin(), fit.end(), std::int64_t{0}))));
  double total = static_cast<double>(o.rows);
  if (o.rows == 0) {
    total = 1e18;
    for (std::size_t s = 0; s < fit.size(); ++s)
      if (weight[s] > 0) total = std::min(total, static_cast<double>(fit[s]) / weight[s]);
    total = std::floor(total + 1e-9);
  }
  std::vector<std::int64_t> out;
  for (std::size_t s = 0; s < fit.size(); ++s) {
    out.push_back(static_cast<std::int64_t>(std::floor(total * weight[s] + 0.5)));
    if (out.back() > fit[s] && o.rows == 0) out.back() = fit[s];  // the rounding
    if (out.back() > fit[s])
      throw ConfigError(message("mix.rows = ", o.rows, " needs ", out.back(), " rows of ", o.sources[s].path, ", which has ", fit[s],
                                " that are fit; lower rows or its weight"));
  }
  return out;
}

// Of the fit rows, the `count` whose hash is smallest; the set's order stays.
void choose(std::vector<bool>& fit, std::int64_t count, std::uint64_t seed, std::uint64_t set) {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < fit.size(); ++i)
    if (fit[i]) order.emplace_back(draw_bits({seed, set, i, 0}, 0), i);
  std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end());
  fit.assign(fit.size(), false);
  for (std::int64_t k = 0; k < count; ++k) fit[order[static_cast<std::size_t>(k)].second] = true;
}

}  // namespace

MixStats mix_sets(const MixOptions& o, const SetPaths& paths) {
  if (o.sources.empty()) throw ConfigError("nothing to mix: name at least one set");
  MixStats stats;
  stats.sources.resize(o.sources.size());
  std::vector<std::vector<bool>> take = fit_rows(o, stats);
  std::vector<std::int64_t> fit;
  for (const auto& rows : take) fit.push_back(std::count(rows.begin(), rows.end(), true));
  const std::vector<std::int64_t> wanted = shares(o, fit);
  for (std::size_t s = 0; s < take.size(); ++s)
    if (wanted[s] < fit[s]) choose(take[s], wanted[s], o.seed, s);

  struct Open {
    std::unique_ptr<RowReader> reader;
    std::size_t at = 0;
    std::string name;
  };
  std::vector<Open> open;
  for (const MixSource& source : o.sources) open.push_back({std::make_unique<RowReader>(reading(source)), 0, set_name(source.path)});
  write_lines(paths, [&](std::string& line) {
    // The set that is furthest behind its share is next.
    std::size_t next = open.size();
    double behind = 2;
    for (std::size_t s = 0; s < open.size(); ++s) {
      if (stats.sources[s].taken == wanted[s]) continue;
      const double done = (static_cast<double>(stats.sources[s].taken) + 0.5) / static_cast<double>(wanted[s]);
      if (done < behind) behind = done, next = s;
    }
    if (next == open.size()) return false;
    Open& from = open[next];
    Row row;
    do {
      if (!from.reader->next(row)) throw DataError(message(o.sources[next].path, " has become shorter while it was read"));
    } while (!take[next][from.at++]);
    line = raw::to_line(mixed_row(row, from.name));
    ++stats.sources[next].taken;
    ++stats.records;
    return true;
  });
  return stats;
}

std::string mix_card(const MixOptions& o, const MixStats& stats, const SetPaths& paths, const SetOptions& set) {
  std::string out = card_head(paths, set, stats.records);
  out += message(with_commas(stats.records), " records, mixed from ", o.sources.size(), " sets (`r1 generate --mix`, seed ", o.seed,
                 ").\n\n| set | weight | rows | contaminated | exact duplicates | near duplicates | taken |\n|---|---|---|---|---|---|---|\n");
  for (std::size_t s = 0; s < o.sources.size(); ++s) {
    const MixStats::Source& c = stats.sources[s];
    out += message("| ", set_name(o.sources[s].path), " | ", o.sources[s].weight > 0 ? message(o.sources[s].weight) : "as it is", " | ",
                   with_commas(c.rows), " | ", with_commas(c.contaminated), " | ", with_commas(c.exact), " | ", with_commas(c.near), " | ",
                   with_commas(c.taken), " |\n");
  }
  out += "\n## Licences\n\n";
  if (set.license.empty() && set.license_notes.empty()) out += "None was stated by whoever made this set; those of the sets above hold.\n";
  if (!set.license.empty()) out += "- this set: " + set.license + "\n";
  for (const std::string& note : set.license_notes) out += "- " + note + "\n";
  return out;
}

}  // namespace r1
