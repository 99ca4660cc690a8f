#include "report/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/format.h"
#include "core/json_text.h"
#include "report/chart_frame.h"
#include "report/html.h"

namespace r1::report {
namespace {

constexpr std::size_t kDrawnPoints = 600, kTableRows = 24;

Line finite(const Line& line) {
  Line kept;
  std::copy_if(line.begin(), line.end(), std::back_inserter(kept), [](const Point& p) { return std::isfinite(p.value); });
  return kept;
}

std::string path_of(const Frame& f, const Line& line) {
  std::string d;
  for (std::size_t i : spread_indices(line.size(), kDrawnPoints))
    d += message(d.empty() ? "M" : "L", coordinate(f.x(line[i].step)), " ", coordinate(f.y(line[i].value)));
  return d;
}

std::string band(const Frame& f, const ChartLine& line) {
  if (line.low.size() < 2 || line.low.size() != line.high.size()) return {};
  Line back(line.low.rbegin(), line.low.rend());
  std::string d = path_of(f, line.high), low = path_of(f, back);
  low[0] = 'L';
  return message("<path class=\"band c", line.colour, "\" d=\"", d, low, "Z\"/>");
}

std::string whiskers(const Frame& f, const ChartLine& line) {
  std::string out;
  for (std::size_t i = 0; i < line.low.size() && line.low.size() == line.high.size() && line.low.size() <= 40; ++i)
    out += message("<path class=\"whisker c", line.colour, "\" d=\"M", coordinate(f.x(line.low[i].step)), " ", coordinate(f.y(line.low[i].value)),
        "V",
                   coordinate(f.y(line.high[i].value)), "\"/>");
  return out;
}

std::string drawn(const Frame& f, const ChartLine& line) {
  const char* weight = line.weight == ChartLine::Weight::kThin ? " thin" : line.weight == ChartLine::Weight::kMean ? " mean" : "";
  std::string out = message("<path class=\"line c", line.colour, " d", line.dash, weight, "\" d=\"", path_of(f, line.points), "\"/>");
  if (line.points.size() <= 25)
    for (const Point& p : line.points)
      out += message("<circle class=\"c", line.colour, weight, "\" cx=\"", coordinate(f.x(p.step)), "\" cy=\"", coordinate(f.y(p.value)), "\" r=\"",
                     line.weight == ChartLine::Weight::kThin ? "1.3" : "2.3", "\"/>");
  return out;
}

std::string description(const Chart& chart) {
  std::string out;
  for (const ChartLine& line : chart.lines) {
    const auto [low, high] = std::minmax_element(line.points.begin(), line.points.end(), [](const Point& a,
        const Point& b) { return a.value < b.value; });
    out += message(out.empty() ? "" : " ", line.label, ": ", number_with_unit(line.points.front().value, chart.unit), " at step ",
                   human_number(line.points.front().step, 9), ", ", number_with_unit(line.points.back().value, chart.unit), " at step ",
                   human_number(line.points.back().step, 9), "; lowest ", number_with_unit(low->value, chart.unit), ", highest ",
                   number_with_unit(high->value, chart.unit), ".");
  }
  return out;
}

std::string legend(const Chart& chart) {
  if (chart.lines.size() < 2) return {};
  std::string out = "<ul class=\"legend\">";
  bool thin = false;
  for (const ChartLine& line : chart.lines) {
    if (line.weight == ChartLine::Weight::kThin) {
      thin = true;  // a seed: its mean is named, its numbers are in the table
      continue;
    }
    out += message("<li><svg viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"line c", line.colour, " d", line.dash,
                   line.weight == ChartLine::Weight::kMean ? " mean" : "", "\" d=\"M1 4H25\"/></svg>",
                   escape(line.label), "</li>");
  }
  return out + (thin ? "<li class=\"note\">thin: single seeds</li></ul>\n" : "</ul>\n");
}

std::string numbers(const Chart& chart) {
  std::vector<std::string> header = {"step"};
  std::map<double, std::vector<std::string>> rows;
  for (std::size_t k = 0; k < chart.lines.size(); ++k) {
    const ChartLine& line = chart.lines[k];
    header.push_back(escape(line.label));
    for (std::size_t i = 0; i < line.points.size(); ++i) {
      auto& row = rows[line.points[i].step];
      row.resize(chart.lines.size());
      row[k] = number_with_unit(line.points[i].value, chart.unit);
      if (line.low.size() == line.points.size() && line.high.size() == line.points.size())
        row[k] += message(" [", number_with_unit(line.low[i].value, chart.unit), ", ", number_with_unit(line.high[i].value, chart.unit), "]");
    }
  }
  HtmlTable table(chart.title + ", numbers", header);
  std::vector<double> steps;
  for (const auto& [step, row] : rows) steps.push_back(step);
  for (std::size_t i : spread_indices(steps.size(), kTableRows)) {
    std::vector<std::string> cells = {human_number(steps[i], 9)};
    cells.insert(cells.end(), rows[steps[i]].begin(), rows[steps[i]].end());
    table.add_row(std::move(cells));
  }
  return fold(steps.size() > kTableRows ? message("Numbers (", kTableRows, " of ", steps.size(), " steps)") : "Numbers", table.str());
}

// What the page's script needs to read values off under the pointer or by the arrow keys.
std::string data_attribute(const Chart& chart, const Frame& f) {
  std::string json = message("{\"first\":", json_number(f.first), ",\"last\":", json_number(f.last), ",\"unit\":", json_quote(chart.unit),
      ",\"lines\":[");
  for (std::size_t k = 0; k < chart.lines.size(); ++k) {
    json += message(k ? "," : "", "{\"label\":", json_quote(chart.lines[k].label), ",\"points\":[");
    const Line& points = chart.lines[k].points;
    bool comma = false;
    for (std::size_t i : spread_indices(points.size(), kDrawnPoints)) {
      json += message(comma ? "," : "", "[", json_number(points[i].step), ",", json_number(static_cast<float>(points[i].value)), "]");
      comma = true;
    }
    json += "]}";
  }
  return escape(json + "]}");
}

std::string caption(const std::string& title, const std::string& note) {
  return message("<figcaption><strong>", escape(title), "</strong>", note.empty() ? "" : message(" <span class=\"note\">", escape(note), "</span>"),
      "</figcaption>\n");
}

}  // namespace

std::string line_chart(const Chart& given, const std::string& id) {
  Chart chart = given;
  for (ChartLine& line : chart.lines) {
    const std::size_t before = line.points.size();
    line.points = finite(line.points);
    if (line.points.size() != before || line.low.size() != before || line.high.size() != before) line.low.clear(), line.high.clear();
  }
  std::erase_if(chart.lines, [](const ChartLine& line) { return line.points.empty(); });
  if (chart.lines.empty()) return {};
  double first = 1e300, last = -1e300, low = 1e300, high = -1e300;
  for (const ChartLine& line : chart.lines) {
    first = std::min(first, line.points.front().step), last = std::max(last, line.points.back().step);
    for (const Line* part : {&line.points, &line.low, &line.high})
      for (const Point& p : *part)
        if (std::isfinite(p.value)) low = std::min(low, p.value), high = std::max(high, p.value);
  }
  const Frame f = make_frame(first, last, low, high, chart.unit);
  std::string out = message("<figure class=\"chart\" tabindex=\"0\" data-chart=\"", data_attribute(chart, f), "\">", caption(chart.title, chart.note),
                            open_svg(id, chart.title, description(chart)), axes(f, chart.unit));
  for (const ChartLine& line : chart.lines) out += line.low.size() <= 40 && !line.low.empty() ? whiskers(f, line) : std::string();
  for (const ChartLine& line : chart.lines) out += band(f, line);
  for (const ChartLine& line : chart.lines) out += drawn(f, line);
  return out + "</svg>\n<output class=\"readout\" aria-live=\"polite\"></output>\n" + legend(chart) + numbers(chart) + "</figure>\n";
}

std::string stacked_chart(const StackedBars& chart, const std::string& id) {
  if (chart.bars.empty()) return {};
  double high = 0;
  std::vector<double> totals(chart.layers.size());
  for (const auto& [step, values] : chart.bars) {
    double sum = 0;
    for (std::size_t k = 0; k < values.size(); ++k) sum += values[k], totals[k] += values[k];
    high = std::max(high, sum);
  }
  const bool shares = chart.unit == "%";
  const double first = chart.bars.front().first, last = chart.bars.back().first, half = 0.5;
  const Frame f = make_frame(first - half, last + half, 0, shares ? 1 : high, chart.unit);
  const auto colour = [&](std::size_t k) { return chart.colours.empty() ? static_cast<int>(k % 8) : chart.colours[k]; };
  std::string text = shares ? "Means over the steps: " : "Sums over the run: ", legend = "<ul class=\"legend\">";
  for (std::size_t k = 0; k < chart.layers.size(); ++k) {
    text += message(k ? ", " : "", chart.layers[k], " ", number_with_unit(shares ? totals[k] / static_cast<double>(chart.bars.size()) : totals[k],
        chart.unit));
    legend += message("<li><span class=\"swatch c", colour(k), "\"></span>", escape(chart.layers[k]), "</li>");
  }
  std::string out = message("<figure class=\"chart\">", caption(chart.title, chart.note), open_svg(id, chart.title, text + "."), axes(f, chart.unit));
  const double width = std::max(0.6, (f.x(first + 1) - f.x(first)) * 0.86);
  for (std::size_t i : spread_indices(chart.bars.size(), 300)) {
    const auto& [step, values] = chart.bars[i];
    double below = 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      const double top = f.y(below + values[k]), bottom = f.y(below);
      if (bottom - top > 0.05)
        out += message("<rect class=\"bar c", colour(k), "\" x=\"", coordinate(f.x(step) - width / 2), "\" y=\"", coordinate(top), "\" width=\"",
            coordinate(width),
                       "\" height=\"", coordinate(bottom - top), "\"/>");
      below += values[k];
    }
  }
  HtmlTable table(chart.title + ", numbers", [&] {
    std::vector<std::string> header = {"step"};
    for (const std::string& layer : chart.layers) header.push_back(escape(layer));
    return header;
  }());
  for (std::size_t i : spread_indices(chart.bars.size(), kTableRows)) {
    std::vector<std::string> cells = {human_number(chart.bars[i].first, 9)};
    for (double v : chart.bars[i].second) cells.push_back(number_with_unit(v, chart.unit));
    table.add_row(std::move(cells));
  }
  return out + "</svg>\n" + legend + "</ul>\n" + fold("Numbers", table.str()) + "</figure>\n";
}

}  // namespace r1::report
