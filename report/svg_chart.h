// Line charts and stacked bars as inline SVG; colours are the page's CSS variables, so both themes and print work.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/series.h"

namespace r1::report {

struct ChartLine {
  enum class Weight { kNormal, kThin, kMean };  // a run; a seed among several; the mean over them
  std::string label;
  int colour = 0;    // 0..7
  int dash = 0;      // 0 solid, 1 dashed, 2 dotted
  Weight weight = Weight::kNormal;
  Line points;
  Line low, high;    // an interval at the same steps; empty = none
};

struct Chart {
  std::string title;
  std::string unit;        // "" = a plain number, "%" = values are shares 0..1
  std::string note;        // one sentence under the title: what the metric is
  std::vector<ChartLine> lines;
};

// <figure> with title, description (first, last, extremes), SVG, legend and the numbers as a table. Points that are not
// finite are left out; empty if none is left. `id` is unique on the page.
std::string line_chart(const Chart& chart, const std::string& id);

struct StackedBars {
  std::string title, unit, note;                                  // unit "%": shares of 1
  std::vector<std::string> layers;                                // bottom first
  std::vector<int> colours;                                       // of the layers; empty = in their order
  std::vector<std::pair<double, std::vector<double>>> bars;       // step, a value >= 0 a layer
};
std::string stacked_chart(const StackedBars& chart, const std::string& id);

// Rising values that cover [low, high] in steps of 1, 2 or 5 times a power of ten; about `count` of them, at least two.
std::vector<double> nice_ticks(double low, double high, int count);

}  // namespace r1::report
