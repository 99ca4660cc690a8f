#include "distill/write_set.h"

#include <functional>

#include "core/error.h"
#include "core/files.h"
#include "text/parquet.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kExamples = 3;

}  // namespace

SetPaths set_paths(const fs::path& out, const std::string& format) {
  if (out.empty()) throw ConfigError("output.path is empty; name a folder, or a file that ends in .jsonl or .parquet");
  const std::string ending = out.extension().string();
  SetPaths p;
  const bool file = ending == ".jsonl" || ending == ".parquet";
  if (file && fs::is_directory(out)) throw ConfigError(message(out.string(), " is a folder whose name ends like a file's; name another"));
  p.parquet = format.empty() ? ending == ".parquet" : format == "parquet";
  if (!format.empty() && format != "jsonl" && format != "parquet")
    throw ConfigError(message("output.format is ", format, "; it can be jsonl or parquet"));
  if (file && p.parquet != (ending == ".parquet")) throw ConfigError(message("output.format is ", format, ", but the file is ", out.string()));
  if (p.parquet && !parquet_available())
    throw ConfigError(
        message(out.string(), ": this build has no Parquet; run scripts/deps.sh and build again, or write JSON lines (output.format: jsonl)"));
  if (file) {
    p.data = out;
    p.card = fs::path(out).replace_extension(".card.md");
    p.raw = fs::path(out).replace_extension(".samples.jsonl");
  } else {
    if (!ending.empty() && !fs::is_directory(out))
      throw ConfigError(message(out.string(), ": a file must end in .jsonl or .parquet, a folder's name has no ending"));
    p.data = out / (p.parquet ? "data.parquet" : "data.jsonl");
    p.card = out / "README.md";
    p.raw = out / "raw" / "samples.jsonl";
  }
  return p;
}

void write_lines(const SetPaths& paths, const std::function<bool(std::string&)>& line) {
  const fs::path rows = paths.parquet ? fs::path(paths.data.string() + ".tmp-rows") : paths.data;
  {
    AtomicFile file(rows);
    for (std::string text; line(text);) file.write(text + "\n");
    file.commit();
  }
  if (!paths.parquet) return;
  json_lines_to_parquet(rows.string(), paths.data.string());
  fs::remove(rows);
}

SetStats write_set(const RawFile& file, const std::vector<Kept>& kept, const CurateOptions& curated, const RewriterInfo* rewriter,
                   const SetPaths& paths, const SetOptions& options) {
  SetStats stats;
  const std::string id = rewriter ? rewriter->id() : "";
  std::size_t next = 0;
  write_lines(paths, [&](std::string& line) {
    for (; next < kept.size(); ++next) {
      const Kept& k = kept[next];
      std::optional<RawRewrite> rewrite;
      if (rewriter) {
        rewrite = file.rewrite(k.teacher, k.prompt, k.sample, id);
        R1_CHECK(rewrite, "sample ", k.sample, " of prompt ", k.prompt, " was not given to the rewriter");
        if (!rewrite->kept) {
          ++stats.not_rewritten[rewrite->why];
          continue;
        }
      }
      const auto sample = file.sample(k.teacher, k.prompt, k.sample);
      const std::vector<Score> scores = file.scores(k.teacher, k.prompt);
      const Score* score = static_cast<std::size_t>(k.sample) < scores.size() ? &scores[static_cast<std::size_t>(k.sample)] : nullptr;
      const int samples = samples_of(file, curated, k.teacher);
      line = make_record(file.header(), file.prompt(k.prompt), *sample, score, k.pass_rate, samples, options.labels, rewriter,
                         rewrite ? &*rewrite : nullptr, options.columns);
      if (stats.examples.size() < kExamples) stats.examples.push_back(line);
      ++stats.records;
      if (sample->drawn.num_tokens >= 0) stats.tokens += sample->drawn.num_tokens;
      else ++stats.unknown_tokens;
      ++next;
      return true;
    }
    return false;
  });
  return stats;
}

}  // namespace r1
