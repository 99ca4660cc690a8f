// An error as OpenAI's API words it: {"error": {"message", "type", "param", "code"}} with an HTTP status.
#pragma once

#include <string>
#include <utility>

#include "core/error.h"

namespace r1 {

class ApiError : public Error {
 public:
  // `param`: the field that is wrong, "" = none; `code`: "" = none.
  ApiError(int status, const std::string& text, std::string type = "invalid_request_error", std::string param = "", std::string code = "")
      : Error(text), status(status), type(std::move(type)), param(std::move(param)), code(std::move(code)) {}
  int status;
  std::string type, param, code;
};

std::string to_json(const ApiError& error);

}  // namespace r1
