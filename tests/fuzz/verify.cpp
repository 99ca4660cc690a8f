#include "rewards/verify/verifier.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/code/checker_json.h"
#include "rewards/code/code_json.h"
#include "rewards/code/test_formats.h"
#include "rewards/code/toolchain.h"
#include "tests/fuzz/targets.h"

namespace r1::fuzz {
namespace {

void reply_of(const Verifier& verifier, std::string_view line) {
  const Verifier::Reply r = verifier.reply(line, 1);
  R1_FUZZ_CHECK(r.text.find('\n') == r.text.npos);
  const auto reply = nlohmann::json::parse(r.text, nullptr, false);
  R1_FUZZ_CHECK(reply.is_object());
  R1_FUZZ_CHECK(r.error == reply.contains("error"));
  R1_FUZZ_CHECK(!r.error || !reply.contains("correct"));
  const auto request = nlohmann::json::parse(line, nullptr, false);
  if (!r.error && request.contains("id")) R1_FUZZ_CHECK(reply["id"] == request["id"]);
}

// Programs are never run: what is read of requests and of data columns.
void read_code(std::string_view text) {
  const std::string json(text);
  try {
    const code::CodeRequest r = code::request_from_json(json);
    R1_FUZZ_CHECK(!r.submission.tests.empty() && !r.submission.language.empty());
  } catch (const DataError&) {
  }
  try {
    R1_FUZZ_CHECK(!code::tests_from_json(json).empty());
  } catch (const DataError&) {
  }
  try {
    (void)code::tests_from_row(json);
  } catch (const DataError&) {
  }
  try {
    const code::Checker checker = code::checker_from_json(json);
    R1_FUZZ_CHECK(!checker.program.empty() && code::find_language(checker.language) != nullptr);
    for (const code::BoxFile& f : checker.files) R1_FUZZ_CHECK(!f.name.empty() && f.name.find('/') == f.name.npos);
  } catch (const DataError&) {
  }
}

}  // namespace

void verify(std::string_view bytes) {
  if (bytes.empty()) return;
  static const Verifier math(VerifyKind::kMath), format(VerifyKind::kFormat), language(VerifyKind::kLanguage);
  const std::string_view line = bytes.substr(1);
  switch (static_cast<unsigned char>(bytes[0]) % 4) {
    case 0: return reply_of(math, line);
    case 1: return reply_of(format, line);
    case 2: return reply_of(language, line);
    default: return read_code(line);
  }
}

}  // namespace r1::fuzz
