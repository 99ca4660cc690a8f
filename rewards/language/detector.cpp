#include "rewards/language/detector.h"

#include <algorithm>

#ifdef R1_HAVE_CLD2
#include <cld2/public/compact_lang_det.h>
#include <cld2/public/encodings.h>
#endif

namespace r1 {

#ifdef R1_HAVE_CLD2

bool detector_built_in() { return true; }
std::string_view detector_name() { return "cld2"; }

std::string detect_language(std::string_view text) {
  // Much more than a decision takes; the length is an int there.
  constexpr std::size_t kEnough = 1 << 20;
  text = text.substr(0, kEnough);
  const CLD2::CLDHints no_hints = {nullptr, nullptr, CLD2::UNKNOWN_ENCODING, CLD2::UNKNOWN_LANGUAGE};
  CLD2::Language top[3];
  int percent[3], bytes = 0, valid = 0;
  double likeness[3];
  bool reliable = false;
  CLD2::ExtDetectLanguageSummaryCheckUTF8(text.data(), static_cast<int>(text.size()), true, &no_hints, 0, top, percent,
                                          likeness, nullptr, &bytes, &reliable, &valid);
  if (!reliable || top[0] == CLD2::UNKNOWN_LANGUAGE) return {};
  std::string code = CLD2::LanguageCode(top[0]);
  if (code == "iw") code = "he";  // the names of before 1989
  if (code == "nb") code = "no";
  return code.substr(0, code.find('-'));
}

#else

bool detector_built_in() { return false; }
std::string_view detector_name() { return "none"; }
std::string detect_language(std::string_view) { return {}; }

#endif

}  // namespace r1
