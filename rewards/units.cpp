#include "rewards/units.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

namespace r1 {
namespace {

using Row = std::pair<std::string_view, std::string_view>;

// As written (lower case where longer than two letters, singular) -> canonical.
// clang-format off
constexpr Row kUnits[] = {
    {"mm", "mm"}, {"millimeter", "mm"}, {"millimetre", "mm"}, {"cm", "cm"}, {"centimeter", "cm"},
      {"centimetre", "cm"},
    {"dm", "dm"}, {"decimeter", "dm"}, {"decimetre", "dm"}, {"m", "m"}, {"meter", "m"}, {"metre", "m"},
    {"km", "km"}, {"kilometer", "km"}, {"kilometre", "km"}, {"in", "in"}, {"inch", "in"}, {"inches", "in"},
    {"ft", "ft"}, {"foot", "ft"}, {"feet", "ft"}, {"yd", "yd"}, {"yard", "yd"}, {"mi", "mi"}, {"mile", "mi"},
    {"mg", "mg"}, {"milligram", "mg"}, {"g", "g"}, {"gram", "g"}, {"kg", "kg"}, {"kilogram", "kg"}, {"kilo", "kg"},
    {"t", "t"}, {"ton", "t"}, {"tonne", "t"}, {"oz", "oz"}, {"ounce", "oz"}, {"lb", "lb"}, {"pound", "lb"},
    {"ml", "ml"}, {"mL", "ml"}, {"milliliter", "ml"}, {"millilitre", "ml"}, {"l", "l"}, {"L", "l"},
      {"liter", "l"}, {"litre", "l"},
    {"gallon", "gallon"}, {"quart", "quart"}, {"pint", "pint"}, {"cup", "cup"},
    {"s", "s"}, {"sec", "s"}, {"second", "s"}, {"min", "min"}, {"minute", "min"}, {"h", "h"}, {"hr", "h"},
      {"hour", "h"},
    {"day", "day"}, {"week", "week"}, {"month", "month"}, {"year", "year"}, {"yr", "year"}, {"am", "am"},
      {"a.m", "am"}, {"pm", "pm"}, {"p.m", "pm"},
    {"unit", "unit"},  // agrees with every unit of the same power
    {"mph", "mph"}, {"kmh", "km/h"}, {"kph", "km/h"}, {"km/h", "km/h"}, {"m/s", "m/s"}, {"km/hr", "km/h"},
    {"deg", "deg"}, {"degree", "deg"}, {"rad", "rad"}, {"radian", "rad"},
    {"$", "usd"}, {"dollar", "usd"}, {"usd", "usd"}, {"buck", "usd"}, {"cent", "cent"},
    {"euro", "eur"}, {"eur", "eur"}, {"gbp", "gbp"}, {"yuan", "cny"}, {"rmb", "cny"}, {"rupee", "inr"},
      {"yen", "jpy"},
    {"V", "V"}, {"volt", "V"}, {"W", "W"}, {"watt", "W"}, {"kW", "kW"}, {"A", "A"}, {"N", "N"}, {"newton", "N"},
      {"J", "J"},
    {"joule", "J"}, {"Hz", "Hz"}, {"hertz", "Hz"}, {"K", "K"}, {"kelvin", "K"}, {"Pa", "Pa"}, {"mol", "mol"},
    {"\xE2\x82\xAC", "eur"}, {"\xC2\xA3", "gbp"}, {"\xC2\xA5", "cny"}, {"\xE2\x82\xB9", "inr"},
      {"\xE5\x85\x83", "cny"},
    // ke, qianke, gongjin; mi, qianmi, gongli, limi, haomi
    {"\xE5\x85\x8B", "g"}, {"\xE5\x8D\x83\xE5\x85\x8B", "kg"}, {"\xE5\x85\xAC\xE6\x96\xA4", "kg"},
    {"\xE7\xB1\xB3", "m"}, {"\xE5\x8D\x83\xE7\xB1\xB3", "km"}, {"\xE5\x85\xAC\xE9\x87\x8C", "km"},
    {"\xE5\x8E\x98\xE7\xB1\xB3", "cm"}, {"\xE6\xAF\xAB\xE7\xB1\xB3", "mm"},
};
// clang-format on

constexpr std::pair<std::string_view, double> kMagnitudes[] = {
    {"hundred", 1e2},      {"thousand", 1e3},     {"million", 1e6},      {"billion", 1e9},      {"trillion", 1e12},
    {"\xE7\x99\xBE", 1e2}, {"\xE5\x8D\x83", 1e3}, {"\xE4\xB8\x87", 1e4}, {"\xE4\xBA\xBF", 1e8},  // bai, qian, wan, yi
};

constexpr std::string_view kChanging[] = {
    "or",        "and",     "to",         "plus",     "minus",    "times",
    "over",      "divided", "multiplied", "squared",  "cubed",    "power",
    "factorial", "pi",      "sqrt",       "root",     "roots",    "raised",
    "modulo",    "mod",     "choose",     "not",      "half",     "halves",
    "third",     "thirds",  "quarter",    "quarters", "infinity", "approximately",
    "about",     "nor",     "but",        "than",     "dozen",    "percentile",
    "e",         "i",       "wrong",      "incorrect", "false",
};

std::string lower(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

}  // namespace

std::optional<std::string> canonical_unit(std::string_view word) {
  static const std::unordered_map<std::string_view, std::string_view> table(std::begin(kUnits), std::end(kUnits));
  if (auto it = table.find(word); it != table.end()) return std::string(it->second);
  if (word.size() < 3) return std::nullopt;
  const std::string small = lower(word);
  if (auto it = table.find(small); it != table.end()) return std::string(it->second);
  if (small.ends_with('s')) {
    if (auto it = table.find(std::string_view(small).substr(0, small.size() - 1));
        it != table.end() && it->first.size() > 1) {
      return std::string(it->second);
    }
  }
  return std::nullopt;
}

double magnitude_word(std::string_view word) {
  const std::string small = lower(word);
  for (const auto& [name, factor] : kMagnitudes) {
    if (small == name) return factor;
  }
  return 0;
}

bool units_agree(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty() || a == b) return true;
  const auto power = [](std::string_view u) {
    return u.find('^') == std::string_view::npos ? std::string_view() : u.substr(u.find('^'));
  };
  return (a.starts_with("unit") || b.starts_with("unit")) && power(a) == power(b);
}

bool changes_value(std::string_view word) {
  const std::string small = lower(word);
  return std::find(std::begin(kChanging), std::end(kChanging), small) != std::end(kChanging);
}

}  // namespace r1
