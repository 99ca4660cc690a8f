#include "core/digest.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

TEST_CASE("XXH3-128: known answers, streaming in any pieces, files") {
  // Values of `xxh128sum` 0.8.1.
  CHECK(to_hex(digest_of("")) == "99aa06d3014798d86001c324468d497f");
  CHECK(to_hex(digest_of("abc")) == "06b05ab6733a618578af5f94892f3950");
  std::string bytes;
  for (int i = 0; i < 100000; ++i) bytes += static_cast<char>(i * 31);
  const Digest whole = digest_of(bytes);
  for (const std::size_t piece : {1, 7, 240, 4096}) {
    Hasher hasher;
    for (std::size_t at = 0; at < bytes.size(); at += piece) hasher.update(bytes.substr(at, piece));
    CHECK(hasher.digest() == whole);
  }
  const test::TempDir dir;
  write_file_atomic(dir / "f", bytes);
  CHECK(digest_of_file(dir / "f") == whole);
  CHECK_THROWS_AS(digest_of_file(dir / "absent"), IoError);
  bytes[50000] ^= 1;
  CHECK(digest_of(bytes) != whole);
}

TEST_CASE("fields do not run into each other") {
  Hasher a, b;
  a.update_field("ab");
  a.update_field("c");
  b.update_field("a");
  b.update_field("bc");
  CHECK(a.digest() != b.digest());
}

TEST_CASE("hex and back") {
  const Digest digest = digest_of("x");
  CHECK(digest_from_hex(to_hex(digest)) == digest);
  CHECK_THROWS_AS(digest_from_hex("12"), DataError);
  CHECK_THROWS_AS(digest_from_hex(std::string(31, '0') + "g"), DataError);
}

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST_CASE("crc32c gives the known answers, whole and in parts") {
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  CHECK(crc32c(rising) == 0x46dd794eu);
  CHECK(crc32c(falling) == 0x113fdb5cu);
  for (std::size_t cut = 0; cut <= rising.size(); ++cut) CHECK(crc32c(rising.substr(cut), crc32c(rising.substr(0, cut))) == 0x46dd794eu);
  // The masking of TFRecord: rotate right by 15, add a constant.
  CHECK(masked_crc32c("123456789") == static_cast<std::uint32_t>((0xe3069283u >> 15 | 0xe3069283u << 17) + 0xa282ead8u));
}

}  // namespace
}  // namespace r1
