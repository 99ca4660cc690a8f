#include "core/format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/json_text.h"

namespace r1 {
namespace {

template <class... Args>
std::string print(const char* pattern, Args... args) {
  std::array<char, 64> buffer;
  const int size = std::snprintf(buffer.data(), buffer.size(), pattern, args...);
  return {buffer.data(), static_cast<std::size_t>(std::clamp(size, 0, static_cast<int>(buffer.size()) - 1))};
}

// Three digits: 1.23, 12.3, 123.
std::string three_digits(double value) {
  return print(value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value);
}

std::size_t colour_length(std::string_view text) {
  if (text.size() < 2 || text[0] != '\x1b' || text[1] != '[') return 0;
  const auto end = text.find('m');
  return end == std::string_view::npos ? 0 : end + 1;
}

bool is_numeric(const std::string& cell) {
  return !cell.empty() && cell.find_first_of("0123456789") != std::string::npos &&
         cell.find_first_not_of("0123456789.,+-e%kMBGx± ") == std::string::npos;
}

}  // namespace

std::string human_count(double n) {
  const double size = std::abs(n);
  if (!std::isfinite(n)) return human_number(n);
  if (size < 999.5) return print(size == std::floor(size) ? "%.0f" : "%.1f", n);
  const char* sign = n < 0 ? "-" : "";
  if (size < 999.5e3) return sign + three_digits(size / 1e3) + "k";
  if (size < 999.5e6) return sign + three_digits(size / 1e6) + "M";
  return sign + three_digits(size / 1e9) + "B";
}

std::string with_commas(std::int64_t n) {
  std::string digits = std::to_string(n);
  const std::ptrdiff_t first = n < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3) digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return print("%.0f B", static_cast<double>(bytes));
  constexpr std::array<const char*, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1023.5 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return print(value < 9.95 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
}

std::string human_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 0.0995) return print("%.0f ms", seconds * 1e3);
  if (seconds < 9.95) return print("%.1f s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return print("%d s", static_cast<int>(whole));
  if (whole < 3600) return print("%d min %02d s", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
  if (whole < 86400) return print("%d h %02d min", static_cast<int>(whole / 3600), static_cast<int>(whole % 3600 / 60));
  return print("%lld d %02d h", static_cast<long long>(whole / 86400), static_cast<int>(whole % 86400 / 3600));
}

std::string human_number(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return print("%.*g", digits, value);
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const std::size_t colour = colour_length(text);
    text.remove_prefix(colour > 0 ? colour : static_cast<std::size_t>(std::max(1, utf8_length(text))));
    width += colour > 0 ? 0 : 1;
  }
  return width;
}

std::string cut_to_width(std::string_view text, std::size_t width, bool ascii) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::string out;
  bool coloured = false;
  for (std::size_t shown = 0; shown + 1 < width;) {
    const std::size_t colour = colour_length(text);
    const std::size_t bytes = colour > 0 ? colour : static_cast<std::size_t>(std::max(1, utf8_length(text)));
    out += text.substr(0, bytes);
    text.remove_prefix(bytes);
    coloured |= colour > 0;
    shown += colour > 0 ? 0 : 1;
  }
  return out + (coloured ? "\x1b[0m" : "") + (ascii ? "~" : "…");
}

std::string shell_word(std::string_view text) {
  // Letters beyond ASCII are ordinary ones to a shell.
  const auto plain = [](unsigned char c) { return c >= 0x80 || std::isalnum(c) || std::strchr("%+,-./:=@_", c) != nullptr; };
  if (!text.empty() && text.front() != '=' && std::all_of(text.begin(), text.end(), [&](char c) { return c != '\0' && plain(static_cast<unsigned char>(c)); })) return std::string(text);
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

Table::Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

void Table::add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

std::string Table::str() const {
  std::size_t columns = 0;
  for (const auto& row : rows_) columns = std::max(columns, row.size());
  std::vector<std::size_t> widths(columns);
  std::vector<bool> numeric(columns, rows_.size() > 1);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    for (std::size_t c = 0; c < rows_[r].size(); ++c) {
      widths[c] = std::max(widths[c], display_width(rows_[r][c]));
      if (r > 0 && !rows_[r][c].empty() && !is_numeric(rows_[r][c])) numeric[c] = false;
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      const std::string cell = c < row.size() ? row[c] : "";
      const std::string gap(widths[c] - display_width(cell), ' ');
      line += (c > 0 ? "  " : "") + (numeric[c] ? gap + cell : cell + gap);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

}  // namespace r1
