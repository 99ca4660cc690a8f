#include "rewards/math/options.h"

#include <string>
#include <vector>

#include "rewards/math/proof.h"

namespace r1::math {

CheckOptions read_check_options(ConfigReader& o) {
  using Names = std::vector<std::string>;
  CheckOptions out;
  out.strict_shapes = o.get<bool>("strict", false);
  out.rounding_digits = o.get_in<int>("rounding_digits", out.strict_shapes ? 0 : 3, 0, 100);
  const std::string percent = o.get_choice("percent", "unit", Names{"unit", "fraction", "either"});
  out.percent = percent == "unit"       ? PercentRule::kUnit
                : percent == "fraction" ? PercentRule::kFraction
                                        : PercentRule::kEither;
  const std::string units =
      o.get_choice("units", out.strict_shapes ? "require" : "check", Names{"check", "ignore", "require"});
  out.units = units == "check" ? UnitRule::kCheck : units == "ignore" ? UnitRule::kIgnore : UnitRule::kRequire;
  out.relation_answers = o.get<bool>("relation_answers", false);
  out.bases_by_value = o.get_choice("bases", "written", Names{"written", "value"}) == "value";
  out.prove = o.get<bool>("prove", false);
  if (out.prove && !can_prove())
    o.fail("prove", "this build has no Calcium: install libcalcium-dev and libantic-dev and build again, or leave it out");
  return out;
}

}  // namespace r1::math
