// Which addresses never leave this machine: only those are reached without TLS when something secret travels.
#pragma once

#include <string>

namespace r1 {

// localhost, 127.x.x.x, ::1 (with or without brackets). No look-up: a name that only resolves to one is none.
inline bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

}  // namespace r1
