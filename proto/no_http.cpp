// Built in place of http_json.cpp where no HTTP library is found.
#include "core/error.h"
#include "proto/http_json.h"

namespace r1 {

struct HttpJson::Impl {};
HttpJson::HttpJson(HttpJsonOptions, const std::string&) {
  throw ConfigError("this program was built without an HTTP client; install libcpp-httplib-dev and libssl-dev and configure again");
}
HttpJson::~HttpJson() = default;
HttpReply HttpJson::post(const std::string&) { return {}; }

}  // namespace r1
