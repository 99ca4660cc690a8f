// The finished set on disk: JSON lines or Parquet, and a data set card beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "distill/curate.h"
#include "distill/record.h"

namespace r1 {

// Where things go: a folder (DIR/data.jsonl or .parquet, DIR/README.md, DIR/raw/samples.jsonl), or a file FILE.jsonl or
// FILE.parquet (with FILE.card.md and FILE.samples.jsonl beside it: a folder's README.md may be somebody else's).
struct SetPaths {
  std::filesystem::path data, card, raw;
  bool parquet = false;
};
// `format`: jsonl, parquet, or "" = by the file's ending, jsonl in a folder. Throws ConfigError where ending and format differ,
// and for Parquet in a build without it.
SetPaths set_paths(const std::filesystem::path& out, const std::string& format);

struct SetOptions {
  std::string title, license;              // license: an SPDX id for the card's head
  std::vector<std::string> license_notes;  // of model and data, in the user's words
  bool columns = false;                    // keep the data rows' own columns
  std::vector<std::string> labels;         // of the rewards
};

struct SetStats {
  std::int64_t records = 0, tokens = 0, unknown_tokens = 0;
  std::map<std::string, std::int64_t> not_rewritten;  // why -> samples that the second model did not bring into form
  std::vector<std::string> examples;                  // the first records
};

// Writes the records of `kept`; with a rewriter, of those that it brought into form. Complete or not there.
SetStats write_set(const RawFile& file, const std::vector<Kept>& kept, const CurateOptions& curated, const RewriterInfo* rewriter,
                   const SetPaths& paths, const SetOptions& options);
// Lines that are records already -> JSON lines or Parquet at `paths.data`; `line` returns false at the end.
void write_lines(const SetPaths& paths, const std::function<bool(std::string&)>& line);

// The card: what the set is, how it was made, what was left out, licences as given, examples. A function of its arguments.
std::string set_card(const RawFile& file, const CurateOptions& curated, const CurateStats& stats, const RewriterInfo* rewriter, const SetPaths& paths,
                     const SetOptions& options, const SetStats& set);
// The head that hubs read.
std::string card_head(const SetPaths& paths, const SetOptions& options, std::int64_t records);
// The table of steps and how many samples each took, for card and terminal.
std::vector<std::pair<std::string, std::int64_t>> step_counts(const CurateOptions& curated, const CurateStats& stats, const SetStats& set);

}  // namespace r1
