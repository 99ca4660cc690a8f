#include "hub/digest_check.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <vector>

#include <openssl/evp.h>

#include "core/error.h"

namespace r1 {

namespace {

std::string digest_of(const std::filesystem::path& file, const EVP_MD* kind, const std::string& head) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), kind, nullptr) != 1) throw IoError("OpenSSL makes no digest");
  EVP_DigestUpdate(context.get(), head.data(), head.size());
  std::ifstream in(file, std::ios::binary);
  std::vector<char> piece(1 << 20);
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    EVP_DigestUpdate(context.get(), piece.data(), static_cast<std::size_t>(in.gcount()));
  }
  if (!in.eof()) throw IoError(message("cannot read ", file.string()));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    constexpr char kHex[] = "0123456789abcdef";
    text += kHex[digest[i] >> 4];
    text += kHex[digest[i] & 15];
  }
  return text;
}

}  // namespace

std::string sha256_of_file(const std::filesystem::path& file) { return digest_of(file, EVP_sha256(), ""); }

bool digest_matches(const std::filesystem::path& file, const std::string& etag) {
  const bool hex = std::all_of(etag.begin(), etag.end(), [](unsigned char c) { return std::isxdigit(c); });
  if (!hex || (etag.size() != 64 && etag.size() != 40)) return true;
  const std::string text = etag.size() == 64 ? sha256_of_file(file) : digest_of(file, EVP_sha1(), message("blob ", std::filesystem::file_size(file), '\0'));
  return std::equal(text.begin(), text.end(), etag.begin(), etag.end(), [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

}  // namespace r1
