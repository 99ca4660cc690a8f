// Bearer tokens, as HTTP and gRPC servers compare them.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

// `authorization` is the header's value. Takes as long for any wrong token of a length.
inline bool bearer_is(std::string_view authorization, std::string_view token) {
  constexpr std::string_view kScheme = "Bearer ";
  if (!authorization.starts_with(kScheme)) return false;
  const std::string_view given = authorization.substr(kScheme.size());
  unsigned different = given.size() == token.size() ? 0 : 1;
  for (std::size_t i = 0; i < token.size(); ++i)
    different |= static_cast<unsigned char>(i < given.size() ? given[i] : 0) ^ static_cast<unsigned char>(token[i]);
  return different == 0;
}

}  // namespace r1
