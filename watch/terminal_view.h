// The screen of `r1 watch` in a terminal: curves, phases, a sample. Drawing is a pure function of what was read.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "replay/recorded_run.h"
#include "report/run_data.h"
#include "report/series.h"

namespace r1::watch {

struct ScreenOptions {
  std::size_t width = 80, height = 24;
  bool colour = false, ascii = false;
  std::size_t sample = 0;       // of the last rollout's; counted round
  std::string url;              // of the page; empty = none is served
};

// `height` rows of `width` columns of a line, as Braille dots (2 x 4 a character), or as # where ascii. The line is spread over the
// width; values that are not finite are left out.
std::vector<std::string> braille_chart(const report::Line& line, std::size_t width, std::size_t height, bool ascii);

// At most `height` lines, each cut to `width`. `rollout` may be null.
std::string render_screen(const report::RunData& run, const RecordedRollout* rollout, const ScreenOptions& options);

}  // namespace r1::watch
