#include "hub/digest_check.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <vector>

#include <openssl/evp.h>

#include "core/error.h"

namespace r1 {

bool digest_matches(const std::filesystem::path& file, const std::string& etag) {
  const bool hex = std::all_of(etag.begin(), etag.end(), [](unsigned char c) { return std::isxdigit(c); });
  if (!hex || (etag.size() != 64 && etag.size() != 40)) return true;
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), etag.size() == 64 ? EVP_sha256() : EVP_sha1(), nullptr) != 1) throw IoError("OpenSSL makes no digest");
  if (etag.size() == 40) {
    const std::string head = message("blob ", std::filesystem::file_size(file), '\0');
    EVP_DigestUpdate(context.get(), head.data(), head.size());
  }
  std::ifstream in(file, std::ios::binary);
  std::vector<char> piece(1 << 20);
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    EVP_DigestUpdate(context.get(), piece.data(), static_cast<std::size_t>(in.gcount()));
  }
  if (in.bad()) throw IoError(message("cannot read ", file.string()));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    constexpr char kHex[] = "0123456789abcdef";
    text += kHex[digest[i] >> 4];
    text += kHex[digest[i] & 15];
  }
  return std::equal(text.begin(), text.end(), etag.begin(), etag.end(), [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

}  // namespace r1
