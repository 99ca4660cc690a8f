#include "report/chart_frame.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/format.h"
#include "report/html.h"
#include "report/svg_chart.h"

namespace r1::report {

std::vector<double> nice_ticks(double low, double high, int count) {
  if (!(high > low)) high = low + (low == 0 ? 1 : std::abs(low) * 0.1);
  const double rough = (high - low) / std::max(1, count - 1), power = std::pow(10, std::floor(std::log10(rough)));
  const double part = rough / power;
  const double step = power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
  std::vector<double> ticks;
  const double begin = std::floor(low / step + 1e-9), end = std::ceil(high / step - 1e-9);
  for (double i = begin; i <= end; ++i) ticks.push_back(i == 0 ? 0 : i * step);
  return ticks;
}

Frame make_frame(double first, double last, double low, double high, const std::string& unit) {
  if (!(last > first)) last = first + 1;
  if (unit == "%" && low >= 0 && high <= 1) {
    const double top = high <= 0.25 ? std::max(nice_ticks(0, std::max(high, 0.01), 5).back(), 0.01) : 1;
    return {first, last, 0, top};
  }
  const auto ticks = nice_ticks(low, high, 5);
  return {first, last, ticks.front(), ticks.back()};
}

std::string coordinate(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", v);
  return text;
}

std::string number_with_unit(double value, const std::string& unit) {
  if (unit == "%") return percent(value);
  const std::string number = std::abs(value) >= 1e5 && std::abs(value) < 1e15 ? human_count(value) : human_number(value);
  return unit.empty() ? number : number + " " + unit;
}

std::string tick_label(double tick, double step) {
  const double size = std::abs(tick);
  if (tick != 0 && (size >= 1e5 || size < 1e-4)) return number_with_unit(tick, "");
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9), tick);
  return text;
}

std::string axes(const Frame& frame, const std::string& unit) {
  std::string out = "<g class=\"axes\">";
  const auto ticks = nice_ticks(frame.low, frame.high, 5);
  for (double tick : ticks) {
    if (tick < frame.low - 1e-12 || tick > frame.high + 1e-12 * std::abs(frame.high)) continue;
    const std::string y = coordinate(frame.y(tick));
    const std::string label = unit == "%" ? human_number(100 * tick, 3) + " %" : tick_label(tick, ticks[1] - ticks[0]);
    out += message("<line x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", y, "\" y2=\"", y, "\"/><text x=\"", kLeft - 6, "\" y=\"", y,
                   "\" dy=\"0.32em\" text-anchor=\"end\">", label, "</text>");
  }
  double previous = -1e300;
  for (double tick : nice_ticks(frame.first, frame.last, 6)) {
    const double step = std::round(tick);
    if (step < frame.first || step > frame.last || step == previous) continue;
    previous = step;
    out += message("<text x=\"", coordinate(frame.x(step)), "\" y=\"", kHeight - kBottom + 16, "\" text-anchor=\"middle\">", human_number(step, 7),
        "</text>");
  }
  return out + "</g>";
}

std::string open_svg(const std::string& id, const std::string& title, const std::string& description) {
  return message("<svg viewBox=\"0 0 ", kWidth, " ", kHeight, "\" role=\"img\" aria-labelledby=\"", id, "-t ", id, "-d\"><title id=\"", id, "-t\">",
      escape(title),
                 "</title><desc id=\"", id, "-d\">", escape(description), "</desc>\n");
}

}  // namespace r1::report
