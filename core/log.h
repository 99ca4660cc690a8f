// Events with fields: log_info("rollout.done", {{"prompts", n}, {"tok_per_s", rate}}). One readable line on the
// terminal, one JSON line in the run folder. Thread-safe. Not for per-token loops. The one process-wide object of the
// program; main() sets it at the start.
#pragma once

#include <concepts>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>

namespace r1 {

class Terminal;

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// A name and a number, bool or text. The field "text" is a sentence: it stands first on the terminal, without its name.
struct LogField {
  std::string key;
  std::string plain;  // for the terminal
  std::string json;

  LogField(std::string_view name, std::string_view text);
  LogField(std::string_view name, const std::string& text) : LogField(name, std::string_view(text)) {}
  LogField(std::string_view name, const char* text) : LogField(name, std::string_view(text)) {}
  LogField(std::string_view name, const std::filesystem::path& path) : LogField(name, std::string_view(path.native())) {}
  LogField(std::string_view name, bool value);
  template <std::floating_point T> LogField(std::string_view name, T value) { set_number(name, value); }
  template <std::integral T> LogField(std::string_view name, T value) : key(name), plain(std::to_string(value)), json(plain) {}

 private:
  void set_number(std::string_view name, double value);
};

void log_event(LogLevel level, std::string_view event, std::initializer_list<LogField> fields);
inline void log_debug(std::string_view event, std::initializer_list<LogField> fields = {}) { log_event(LogLevel::kDebug, event, fields); }
inline void log_info(std::string_view event, std::initializer_list<LogField> fields = {}) { log_event(LogLevel::kInfo, event, fields); }
inline void log_warning(std::string_view event, std::initializer_list<LogField> fields = {}) { log_event(LogLevel::kWarning, event, fields); }
inline void log_error(std::string_view event, std::initializer_list<LogField> fields = {}) { log_event(LogLevel::kError, event, fields); }

struct LogOptions {
  Terminal* terminal = nullptr;                // must outlive the log; null = nothing on a screen
  LogLevel terminal_level = LogLevel::kInfo;   // warnings and errors appear also on a quiet terminal
  std::filesystem::path file;                  // JSON lines are appended; empty = none
  LogLevel file_level = LogLevel::kDebug;
};

// Before the first start, warnings and errors go to stderr and the rest nowhere. Throws IoError if the file cannot be
// opened. A later failure to write it (disk full) is reported once on the terminal and ends the writing, not the run.
void start_log(const LogOptions& options);
// Back to the state before start_log(); call it before the terminal goes away.
void stop_log();

// start_log() for the length of a scope.
class LogScope {
 public:
  explicit LogScope(const LogOptions& options) { start_log(options); }
  ~LogScope() { stop_log(); }
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;
};

}  // namespace r1
