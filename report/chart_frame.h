// What all charts share: the plot's place, scales, axes. Internal to the report.
#pragma once

#include <string>
#include <vector>

namespace r1::report {

// Units of the SVG's view box; the page scales it to the column.
inline constexpr double kWidth = 460, kHeight = 230, kLeft = 56, kRight = 12, kTop = 10, kBottom = 30;

struct Frame {
  double first, last;   // steps at the left and right edge, first < last
  double low, high;     // values at the bottom and top edge, low < high
  double x(double step) const { return kLeft + (step - first) / (last - first) * (kWidth - kLeft - kRight); }
  double y(double value) const { return kHeight - kBottom - (value - low) / (high - low) * (kHeight - kTop - kBottom); }
};

// A frame around the values with nice ticks at both ends; shares ("%") stay within 0 and 1.
Frame make_frame(double first, double last, double low, double high, const std::string& unit);
std::string axes(const Frame& frame, const std::string& unit);
// With the decimals that tell neighbours `step` apart.
std::string tick_label(double tick, double step);
std::string number_with_unit(double value, const std::string& unit);
std::string coordinate(double v);   // one decimal
std::string open_svg(const std::string& id, const std::string& title, const std::string& description);

}  // namespace r1::report
