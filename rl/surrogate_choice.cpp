#include <algorithm>

#include "core/error.h"
#include "rl/surrogates/surrogate.h"

namespace r1 {

const Surrogate& find_surrogate(std::string_view name) {
  std::string known;
  for (const Surrogate* s : surrogates()) {
    if (s->name == name) return *s;
    known += (known.empty() ? "" : ", ") + std::string(s->name);
  }
  throw ConfigError(message("rl.surrogate is \"", name, "\"; it can be ", known));
}

SurrogateChoice::SurrogateChoice(std::string_view name) : entry_(&find_surrogate(name)) {
  for (const SurrogateOption& o : entry_->options) values_.push_back(o.fallback);
}

std::size_t SurrogateChoice::index(std::string_view key) const {
  const auto options = entry_->options;
  const auto found = std::find_if(options.begin(), options.end(), [&](const SurrogateOption& o) { return o.key == key; });
  if (found == options.end()) throw ConfigError(message("rl.", key, " is no option of surrogate ", entry_->name));
  return static_cast<std::size_t>(found - options.begin());
}

double SurrogateChoice::get(std::string_view key) const { return values_[index(key)]; }

SurrogateChoice& SurrogateChoice::set(std::string_view key, double value) {
  const std::size_t i = index(key);
  const SurrogateOption& o = entry_->options[i];
  if (!(value >= o.low && value <= o.high))
    throw ConfigError(message("rl.", key, " is ", value, ", must be within [", o.low, ", ", o.high, "]"));
  values_[i] = value;
  return *this;
}

}  // namespace r1
