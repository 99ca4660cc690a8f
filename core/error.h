// Errors that the caller of a run must repair. Messages name the value, the limit and the remedy.
// What is normal in RL (an unparsable answer, a timed-out test) is data, never thrown.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace r1 {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class ConfigError : public Error { public: using Error::Error; };      // recipe or command line: exit code 2
class DataError : public Error { public: using Error::Error; };        // a data row or file: exit code 2
class CheckpointError : public Error { public: using Error::Error; };  // model or checkpoint files
class DeviceError : public Error { public: using Error::Error; };      // CPU or GPU facilities
class NumericError : public Error { public: using Error::Error; };     // NaN or Inf, with the tensor and sample
class IoError : public Error { public: using Error::Error; };          // disk full, no permission
class Interrupted : public Error { public: using Error::Error; };      // Ctrl-C after saving: exit code 130

// Joins anything streamable into one message.
template <class... Parts>
std::string message(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

namespace detail {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& text);
}

// Runs `body`; an Error that leaves it keeps its class and gets "what: " in front of its message.
template <class F>
auto with_context(const std::string& what, F&& body) -> decltype(body()) {
  try {
    return std::forward<F>(body)();
  } catch (const ConfigError& e) { throw ConfigError(what + ": " + e.what());
  } catch (const DataError& e) { throw DataError(what + ": " + e.what());
  } catch (const CheckpointError& e) { throw CheckpointError(what + ": " + e.what());
  } catch (const DeviceError& e) { throw DeviceError(what + ": " + e.what());
  } catch (const NumericError& e) { throw NumericError(what + ": " + e.what());
  } catch (const IoError& e) { throw IoError(what + ": " + e.what());
  } catch (const Interrupted&) { throw;
  } catch (const Error& e) { throw Error(what + ": " + e.what());
  }
}

}  // namespace r1

// A promise between parts of the program; a failure is a bug of ours. Builds its message only on failure.
#define R1_CHECK(condition, ...)                                                                     \
  do {                                                                                               \
    if (!(condition)) [[unlikely]]                                                                   \
      ::r1::detail::check_failed(__FILE__, __LINE__, #condition, ::r1::message(__VA_ARGS__));        \
  } while (false)
