#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace r1 {
namespace {

class Pcre2 final : public Pattern {
 public:
  explicit Pcre2(std::string_view oniguruma) : source_(oniguruma) {
    const std::string pattern = oniguruma_to_pcre2(oniguruma);
    int code = 0;
    std::size_t offset = 0;
    code_ =
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF, &code, &offset, nullptr);
    if (!code_)
      throw DataError(
          message("regex \"", source_, "\": ", text_of(code), " (at offset ", offset, " of its translation)"));
    pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);  // without a JIT the interpreter does the same work
  }
  ~Pcre2() override { pcre2_code_free(code_); }
  Pcre2(const Pcre2&) = delete;
  Pcre2& operator=(const Pcre2&) = delete;

  void find_all(std::string_view text, std::vector<TextRange>& out) const override {
    const Work work(code_);
    const std::size_t* found = pcre2_get_ovector_pointer(work.match);
    std::size_t from = 0, last_end = 0;
    bool any = false;
    while (from <= text.size()) {
      const int rc = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                 PCRE2_NO_UTF_CHECK, work.match, work.context);
      if (rc == PCRE2_ERROR_NOMATCH) return;
      if (rc < 0) {
        throw DataError(message("regex \"", source_, "\" failed on a text of ", text.size(), " bytes: ", text_of(rc),
                                "; the pattern backtracks too much for this text"));
      }
      const TextRange m{found[0], found[1]};
      // An empty match where the last one ended is passed over, as Oniguruma's iterator in Rust does.
      if (m.begin == m.end && any && m.begin == last_end) {
        if (from >= text.size()) return;
        unicode::next_char(text, from);
        continue;
      }
      out.push_back(m);
      any = true;
      from = last_end = m.end;
    }
  }

 private:
  // A match's scratch memory, and a stack for the JIT that grows with the text (its default of 32 KiB is soon full).
  struct Work {
    explicit Work(const pcre2_code* code)
        : match(pcre2_match_data_create_from_pattern(code, nullptr)),
          context(pcre2_match_context_create(nullptr)),
          stack(pcre2_jit_stack_create(std::size_t{64} << 10, std::size_t{256} << 20, nullptr)) {
      pcre2_jit_stack_assign(context, nullptr, stack);
    }
    ~Work() {
      pcre2_match_data_free(match);
      pcre2_match_context_free(context);
      pcre2_jit_stack_free(stack);
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    pcre2_match_data* match;
    pcre2_match_context* context;
    pcre2_jit_stack* stack;
  };

  static std::string text_of(int code) {
    unsigned char buffer[160];
    return pcre2_get_error_message(code, buffer, sizeof buffer) < 0 ? message("PCRE2 error ", code)
                                                                     : reinterpret_cast<const char*>(buffer);
  }

  std::string source_;
  pcre2_code* code_;
};

class Literal final : public Pattern {
 public:
  explicit Literal(std::string text) : text_(std::move(text)) {
    if (text_.empty()) throw DataError("a pattern of type String is empty");
  }
  void find_all(std::string_view text, std::vector<TextRange>& out) const override {
    for (std::size_t at = text.find(text_); at != std::string_view::npos; at = text.find(text_, at + text_.size())) {
      out.push_back({at, at + text_.size()});
    }
  }

 private:
  std::string text_;
};

}  // namespace

std::unique_ptr<Pattern> make_pcre2(std::string_view oniguruma) { return std::make_unique<Pcre2>(oniguruma); }

std::unique_ptr<Pattern> make_literal(std::string literal) { return std::make_unique<Literal>(std::move(literal)); }

std::unique_ptr<Pattern> make_regex(std::string_view oniguruma) {
  if (auto scanner = make_scanner(oniguruma)) return scanner;
  return make_pcre2(oniguruma);
}

}  // namespace r1
