// Finished sets mixed into one, by weights, without what they have in common.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "distill/decontaminate.h"
#include "distill/near_duplicates.h"
#include "distill/write_set.h"

namespace r1 {

struct MixSource {
  std::string path;    // JSON lines, also .gz and .zst, or Parquet; a pattern
  double weight = 0;   // share of the rows, of the sum of all weights; 0 for all sets: each as it is
};

struct MixOptions {
  std::vector<MixSource> sources;
  std::int64_t rows = 0;  // 0 = as many as the weights allow without taking a row twice
  std::uint64_t seed = 0;  // which rows
  bool exact = true;
  std::optional<NearOptions> near;
  DecontaminateOptions decontaminate;
  std::vector<std::string> against;
};

struct MixStats {
  struct Source {
    std::int64_t rows = 0, exact = 0, near = 0, contaminated = 0, taken = 0;
  };
  std::vector<Source> sources;
  std::int64_t records = 0;
};

// Rows have `messages`, or `prompt` and `completion` (then messages are made of them), and keep their other columns; `source`
// names the set (its file's name without ending, or its folder's where that is "data"). Duplicates of an earlier row and rows that share text with
// evaluation sets are left out. Sets are interleaved evenly, each in its own order. Files are read twice; memory holds a few bytes a row. Throws
// DataError naming file and line, ConfigError for more rows than there are.
MixStats mix_sets(const MixOptions& options, const SetPaths& paths);
std::string mix_card(const MixOptions& options, const MixStats& stats, const SetPaths& paths, const SetOptions& set);

}  // namespace r1
