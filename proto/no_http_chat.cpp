// Built in place of http_chat.cpp where no HTTP library is found.
#include "core/error.h"
#include "proto/http_chat.h"

namespace r1 {

bool http_available() { return false; }
ChatClient make_http_chat(HttpChatOptions) {
  throw ConfigError("this program was built without an HTTP client; install libcpp-httplib-dev and libssl-dev and configure again");
}

}  // namespace r1
