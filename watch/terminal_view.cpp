#include "watch/terminal_view.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/format.h"

namespace r1::watch {
namespace {

struct Curve {
  const char *metric, *name;
};
// The first of each row that the run has is drawn.
constexpr std::array<std::array<Curve, 2>, 6> kCurves = {{
    {{{"reward", "reward"}, {"loss", "loss"}}},
    {{{"eval/greedy/accuracy", "accuracy, held out"}, {"eval/loss", "loss, held out"}}},
    {{{"completions/mean_length", "length, tokens"}, {"mean_token_accuracy", "token accuracy"}}},
    {{{"entropy", "entropy, nats"}, {"", ""}}},
    {{{"frac_reward_zero_std", "groups that teach nothing"}, {"learning_rate", "learning rate"}}},
    {{{"kl", "KL to the reference"}, {"grad_norm", "gradient norm"}}},
}};

std::string utf8_braille(unsigned dots) {
  const unsigned code = 0x2800 + dots;
  return {static_cast<char>(0xE0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3F)), static_cast<char>(0x80 | (code & 0x3F))};
}

std::string paint(const std::string& text, const char* code, bool colour) { return colour ? message("\x1b[", code, "m", text, "\x1b[0m") : text; }

std::string padded(std::string text, std::size_t width, bool ascii) {
  text = cut_to_width(text, width, ascii);
  text.append(width - std::min(width, display_width(text)), ' ');
  return text;
}

double latest(const report::RunData& run, const char* metric) {
  const report::Line line = report::line_of(run, metric);
  return line.empty() ? std::nan("") : line.back().value;
}

// "generate ████ 62 %  reward ...": shares of the last update's time.
std::string phases(const report::RunData& run, const ScreenOptions& o) {
  const std::array<std::pair<const char*, const char*>, 3> parts = {{{"timing_s/gen", "generate"}, {"timing_s/reward", "reward"}, {"timing_s/update_actor", "update"}}};
  const double total = latest(run, "step_time");
  if (!(total > 0)) return "";
  std::string out = message("last update ", human_duration(total), ":");
  constexpr std::array kColours = {"36", "33", "32"};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double part = latest(run, parts[i].first);
    if (!std::isfinite(part)) continue;
    std::string bar;
    for (int n = static_cast<int>(std::lround(20 * part / total)); n > 0; --n) bar += o.ascii ? "=" : "█";
    out += message("  ", parts[i].second, " ", paint(bar, kColours[i], o.colour), " ", human_number(100 * part / total, 2), " %");
  }
  const double speed = latest(run, "perf/throughput");
  if (std::isfinite(speed)) out += message("  ", human_count(speed), " tok/s");
  return out;
}

void add_charts(const report::RunData& run, const ScreenOptions& o, std::vector<std::string>& lines) {
  std::vector<std::pair<std::string, report::Line>> found;
  for (const auto& row : kCurves)
    for (const Curve& c : row) {
      report::Line line = *c.metric ? report::line_of(run, c.metric) : report::Line{};
      if (line.empty()) continue;
      found.emplace_back(c.name, std::move(line));
      break;
    }
  const std::size_t across = o.width >= 96 ? 3 : o.width >= 56 ? 2 : 1, width = (o.width + 2) / across - 2;
  const std::size_t rows = (found.size() + across - 1) / across;
  const std::size_t height = std::clamp<std::size_t>(rows == 0 ? 1 : (o.height * 3 / 5) / rows, 3, 7) - 1;
  for (std::size_t begin = 0; begin < found.size(); begin += across) {
    std::vector<std::string> block(height + 1);
    for (std::size_t i = begin; i < std::min(found.size(), begin + across); ++i) {
      const auto& [name, line] = found[i];
      const auto [low, high] = std::minmax_element(line.begin(), line.end(), [](const report::Point& a, const report::Point& b) { return a.value < b.value; });
      const std::string head = message(name, "  ", human_number(line.back().value, 4), "  (", human_number(low->value, 3), " to ", human_number(high->value, 3), ")");
      const auto chart = braille_chart(line, width, height, o.ascii);
      const std::string gap = i == begin ? "" : "  ";
      block[0] += gap + paint(padded(head, width, o.ascii), "1", o.colour);
      for (std::size_t r = 0; r < height; ++r) block[r + 1] += gap + paint(chart[r], "36", o.colour);
    }
    lines.insert(lines.end(), block.begin(), block.end());
  }
}

void add_sample(const RecordedRollout& rollout, const ScreenOptions& o, std::vector<std::string>& lines) {
  std::size_t all = 0;
  for (const RecordedGroup& g : rollout.groups) all += g.scored.scores.size();
  if (all == 0) return;
  std::size_t left = o.sample % all;
  for (const RecordedGroup& g : rollout.groups) {
    if (left >= g.scored.scores.size()) {
      left -= g.scored.scores.size();
      continue;
    }
    const Score& s = g.scored.scores[left];
    const Completion& c = g.scored.group.completions[left];
    const char* code = s.verdict == Verdict::kCorrect ? "32" : "31";
    lines.push_back(message("sample ", o.sample % all, " of ", all, ", update ", rollout.step, ": ", g.scored.group.prompt.id, "  ", paint(to_string(s.verdict), code, o.colour), "  reward ",
                            human_number(s.value), left < g.advantages.size() && g.advantages[left] ? message("  advantage ", human_number(*g.advantages[left], 3)) : "", "  ", c.tokens.size(),
                            " tokens, ", to_string(c.stop)));
    std::string text = g.scored.group.prompt.messages.empty() ? g.scored.group.prompt.text : g.scored.group.prompt.messages.back().content;
    for (std::string part : {"Q: " + text, "A: " + c.text, "gold: " + g.scored.group.prompt.reference}) {
      std::string line;
      std::size_t column = 0;
      for (std::size_t i = 0; i < part.size();) {
        std::size_t n = 1;
        while (i + n < part.size() && (static_cast<unsigned char>(part[i + n]) & 0xC0) == 0x80) ++n;
        const bool control = static_cast<unsigned char>(part[i]) < 0x20 || part[i] == 0x7f;
        if (part[i] == '\n' || ++column > o.width) {
          lines.push_back(line);
          line.clear();
          column = part[i] == '\n' ? 0 : 1;
        }
        if (part[i] != '\n') line += control ? " " : part.substr(i, n);  // a completion must not steer the terminal
        i += n;
      }
      lines.push_back(line);
    }
    return;
  }
}

}  // namespace

std::vector<std::string> braille_chart(const report::Line& line, std::size_t width, std::size_t height, bool ascii) {
  const std::size_t columns = ascii ? width : width * 2, rows = ascii ? height : height * 4;
  std::vector<std::vector<bool>> dots(rows, std::vector<bool>(columns));
  double low = INFINITY, high = -INFINITY;
  for (const report::Point& p : line)
    if (std::isfinite(p.value)) low = std::min(low, p.value), high = std::max(high, p.value);
  if (low <= high) {
    const double first = line.front().step, last = line.back().step;
    const auto x = [&](double step) { return last > first ? static_cast<std::size_t>(std::lround((step - first) / (last - first) * static_cast<double>(columns - 1))) : 0; };
    const auto y = [&](double v) { return high > low ? static_cast<std::size_t>(std::lround((high - v) / (high - low) * static_cast<double>(rows - 1))) : rows / 2; };
    bool drawn = false;
    std::size_t px = 0, py = 0;
    for (const report::Point& p : line) {
      if (!std::isfinite(p.value)) continue;
      const std::size_t qx = x(p.step), qy = y(p.value);
      const std::size_t steps = drawn ? std::max({qx > px ? qx - px : px - qx, qy > py ? qy - py : py - qy, std::size_t{1}}) : 1;
      for (std::size_t i = drawn ? 0 : 1; i <= steps; ++i) {
        const double t = drawn ? static_cast<double>(i) / static_cast<double>(steps) : 1.0;
        const auto at = [&](std::size_t a, std::size_t b) { return static_cast<std::size_t>(std::lround(static_cast<double>(a) + t * (static_cast<double>(b) - static_cast<double>(a)))); };
        dots[at(py, qy)][at(px, qx)] = true;
      }
      px = qx, py = qy, drawn = true;
    }
  }
  std::vector<std::string> out(height);
  constexpr unsigned kBits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
  for (std::size_t r = 0; r < height; ++r)
    for (std::size_t c = 0; c < width; ++c) {
      if (ascii) {
        out[r] += dots[r][c] ? '#' : ' ';
        continue;
      }
      unsigned bits = 0;
      for (std::size_t dy = 0; dy < 4; ++dy)
        for (std::size_t dx = 0; dx < 2; ++dx)
          if (dots[r * 4 + dy][c * 2 + dx]) bits |= kBits[dy][dx];
      out[r] += utf8_braille(bits);
    }
  return out;
}

std::string render_screen(const report::RunData& run, const RecordedRollout* rollout, const ScreenOptions& o) {
  std::vector<std::string> lines;
  const std::int64_t step = run.metrics.empty() ? 0 : run.metrics.back().step;
  std::string steps;
  for (const report::ConfigLine& line : run.config)
    if (line.key == "rl.steps" || line.key == "sft.steps") steps = line.value;
  lines.push_back(paint(message(run.name, "  ", run.kind.empty() ? "run" : run.kind, "  update ", step, steps.empty() || steps == "null" ? "" : " of " + steps, run.finished ? "  finished" : ""), "1", o.colour));
  if (const std::string line = phases(run, o); !line.empty()) lines.push_back(line);
  add_charts(run, o, lines);
  if (lines.size() < 3) lines.push_back("no numbers yet: the first update is not done");
  if (rollout) add_sample(*rollout, o, lines);
  const std::string foot = message("q quit, n and p next and previous sample", o.url.empty() ? "" : ", page: " + o.url);
  if (lines.size() >= o.height) lines.resize(o.height - 1);
  lines.push_back(foot);
  std::string out;
  for (const std::string& line : lines) out += (display_width(line) > o.width ? cut_to_width(line, o.width, o.ascii) + (o.colour ? "\x1b[0m" : "") : line) + "\n";
  return out;
}

}  // namespace r1::watch
