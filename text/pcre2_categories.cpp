#include "text/pcre2_categories.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"
#include "text/unicode.h"

namespace r1 {
namespace {

// Runs of \p{name} in a text of all characters.
CodeSet runs_of(const char* name, const std::string& all, pcre2_match_data* match) {
  const std::string pattern = std::string("\\p{") + name + "}+";
  int code = 0;
  std::size_t offset = 0;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF, &code, &offset, nullptr);
  if (!compiled) throw Error(message("PCRE2 does not know \\p{", name, "}: it is built without Unicode"));
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  const std::size_t* found = pcre2_get_ovector_pointer(match);
  std::vector<CodeSet::Range> ranges;
  for (std::size_t from = 0; from < all.size(); from = found[1]) {
    if (pcre2_match(compiled, reinterpret_cast<PCRE2_SPTR>(all.data()), all.size(), from, PCRE2_NO_UTF_CHECK, match,
                    nullptr) < 0)
      break;
    std::size_t first = found[0], last = unicode::previous_start(all, found[1]);
    ranges.push_back({static_cast<std::uint32_t>(unicode::next_char(all, first)),
                      static_cast<std::uint32_t>(unicode::next_char(all, last))});
  }
  pcre2_code_free(compiled);
  return CodeSet(std::move(ranges));
}

}  // namespace

const std::array<CodeSet, 30>& pcre2_categories() {
  static const std::array<CodeSet, 30> sets = [] {
    std::string all;
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c < 0xD800 || c > 0xDFFF) unicode::append(all, c);
    }
    const auto match = pcre2_match_data_create(2, nullptr);
    std::array<CodeSet, 30> out;
    const char* names[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
                           "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};
    for (std::size_t k = 0; k < std::size(names); ++k) out[k] = runs_of(names[k], all, match);
    pcre2_match_data_free(match);
    return out;
  }();
  return sets;
}

}  // namespace r1
