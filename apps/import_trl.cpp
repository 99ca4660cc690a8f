#include "apps/import_trl.h"

#include <cstdio>

#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "recipes/from_trl.h"
#include "text/dataset.h"

namespace r1 {
namespace {

// The rows of the recipe's data set, where it lies here already.
std::optional<std::int64_t> count_rows(const Config& theirs) {
  DatasetOptions options;
  const std::string name = theirs.peek("dataset_name").value_or("");
  const std::string config = theirs.peek("dataset_config").value_or("");
  std::error_code none;
  options.paths = {std::filesystem::exists(name, none) ? name : message("hf://", name, config.empty() ? "" : "/" + config)};
  try {
    RowReader reader(options);
    std::int64_t rows = 0;
    for (Row row; reader.next(row);) ++rows;
    return rows;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::filesystem::path import_trl_file(const ImportRequest& request) {
  std::vector<std::string> theirs_too;  // our override by their name
  for (const std::string& o : request.overrides)
    if (o.starts_with("rl.steps=")) theirs_too.push_back("max_steps=" + o.substr(9));
  const Config theirs = Config::load(request.file, theirs_too);
  const std::string stem = std::filesystem::path(request.file).stem().string();
  TrlOptions options;
  options.processes = request.processes;
  options.chat_template_file = stem + ".chat_template.jinja";
  if (request.rows > 0) options.rows = request.rows;
  else if (!theirs.peek("max_steps")) options.rows = count_rows(theirs);
  const TrlImport imported = import_trl(theirs, options);
  const std::filesystem::path out = stem + ".r1.yaml";
  if (!imported.chat_template.empty()) write_file_atomic(options.chat_template_file, imported.chat_template);
  write_file_atomic(out, imported.yaml);
  if (request.quiet) return out;
  std::printf("mapped\n");
  for (const std::string& line : imported.mapped) std::printf("  %s\n", line.c_str());
  if (!imported.ignored.empty()) std::printf("ignored\n");
  for (const std::string& line : imported.ignored) std::printf("  %s\n", line.c_str());
  std::printf("recipe   %s\n", out.string().c_str());
  std::fflush(stdout);
  return out;
}

}  // namespace r1
