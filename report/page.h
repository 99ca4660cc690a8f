// The report: one HTML file that loads nothing, of runs side by side or of a pipeline's stages.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "report/run_data.h"

namespace r1::report {

struct PageInput {
  std::vector<RunData> runs;
  bool pipeline = false;      // the runs are stages of one pipeline, in their order
  std::string title;          // empty = from the runs
  std::string made;           // time and program, for the foot; empty = none
};

// Reads each folder: a run, or a pipeline's, whose stages are taken in their order. Folders that hold nothing to show are
// named in the page. Throws ConfigError if none holds anything.
PageInput load_page(std::span<const std::filesystem::path> folders);

std::string render_page(const PageInput& input);

}  // namespace r1::report
