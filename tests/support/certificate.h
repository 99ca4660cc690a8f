// A certificate for tests of TLS.
#pragma once

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace r1::test {

// Of localhost, signed by itself. False where this machine has no openssl program.
inline bool make_certificate(const std::string& key, const std::string& certificate) {
  return std::system(message("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout ", key,
                             " -out ", certificate, " 2>/dev/null")
                         .c_str()) == 0;
}

}  // namespace r1::test
