#include "core/log.h"

#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/json_text.h"
#include "core/terminal.h"

namespace r1 {
namespace {

struct Logger {
  std::mutex mutex;
  bool started = false;
  LogOptions options;
  std::optional<File> file;
};

Logger& logger() {
  static Logger instance;
  return instance;
}

// What is printed nowhere should cost nothing: the lowest level anybody wants.
std::atomic<int> lowest{static_cast<int>(LogLevel::kWarning)};

constexpr std::array<const char*, 4> kNames = {"debug", "info", "warning", "error"};
constexpr std::array<const char*, 4> kColours = {"2", "2", "33", "31"};

std::string clock_text(const char* pattern, std::chrono::system_clock::time_point now, bool utc) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  utc ? gmtime_r(&seconds, &parts) : localtime_r(&seconds, &parts);
  std::array<char, 64> buffer;
  return {buffer.data(), std::strftime(buffer.data(), buffer.size(), pattern, &parts)};
}

std::string json_line(LogLevel level, std::string_view event, std::initializer_list<LogField> fields,
                      std::chrono::system_clock::time_point now) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::string fraction = std::to_string(1000 + ms).substr(1);
  std::string line = "{\"time\":\"" + clock_text("%Y-%m-%dT%H:%M:%S.", now, true) + fraction + "Z\",\"level\":\"" +
                     kNames[static_cast<std::size_t>(level)] + "\",\"event\":" + json_quote(event);
  for (const auto& field : fields) {
    const bool taken = field.key == "time" || field.key == "level" || field.key == "event";
    line += ',' + json_quote(taken ? field.key + "_" : field.key) + ':' + field.json;
  }
  return line + "}\n";
}

std::string screen_line(const Terminal& terminal, LogLevel level, std::string_view event, std::initializer_list<LogField> fields,
                        std::chrono::system_clock::time_point now) {
  const auto index = static_cast<std::size_t>(level);
  std::string line = terminal.paint(clock_text("%H:%M:%S", now, false), "2") + ' ';
  if (level >= LogLevel::kWarning) line += terminal.paint(std::string(kNames[index]) + ':', kColours[index]) + ' ';
  line += terminal.paint(event, level >= LogLevel::kWarning ? kColours[index] : "1");
  for (const auto& field : fields) {
    if (field.key == "text") line += "  " + field.plain;
  }
  for (const auto& field : fields) {
    if (field.key == "text") continue;
    const bool spaced = field.plain.empty() || field.plain.find_first_of(" \"\n\t") != std::string::npos;
    line += "  " + terminal.paint(field.key + '=', "2") + (spaced ? json_quote(field.plain) : field.plain);
  }
  return line;
}

}  // namespace

LogField::LogField(std::string_view name, std::string_view text) : key(name), plain(text), json(json_quote(text)) {}
LogField::LogField(std::string_view name, bool value) : key(name), plain(value ? "true" : "false"), json(plain) {}
void LogField::set_number(std::string_view name, double value) {
  key = name;
  plain = human_number(value);
  json = json_number(value);
}

void log_event(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (static_cast<int>(level) < lowest.load(std::memory_order_relaxed)) return;
  const auto now = std::chrono::system_clock::now();
  Logger& log = logger();
  const std::lock_guard lock(log.mutex);
  if (!log.started) {
    Terminal plain;
    plain.print(screen_line(plain, level, event, fields, now));
    return;
  }
  if (Terminal* terminal = log.options.terminal; terminal != nullptr && level >= log.options.terminal_level) {
    terminal->print(screen_line(*terminal, level, event, fields, now), level >= LogLevel::kWarning);
  }
  if (log.file && level >= log.options.file_level) {
    try {
      log.file->write(json_line(level, event, fields, now));
    } catch (const IoError& e) {
      log.file.reset();
      if (log.options.terminal) log.options.terminal->print(message("warning: the log ends here: ", e.what()), true);
    }
  }
}

void start_log(const LogOptions& options) {
  std::optional<File> file;
  if (!options.file.empty()) {
    // A line that a crash cut off must not swallow the next one.
    std::error_code none;
    const bool torn = std::filesystem::exists(options.file, none) && [&] {
      const std::string old = read_file(options.file);
      return !old.empty() && old.back() != '\n';
    }();
    file.emplace(options.file, File::Mode::kAppend);
    if (torn) file->write("\n");
  }
  Logger& log = logger();
  const std::lock_guard lock(log.mutex);
  log.options = options;
  log.file.reset();
  if (file) log.file.emplace(std::move(*file));
  log.started = true;
  const LogLevel screen = options.terminal ? options.terminal_level : LogLevel::kOff;
  lowest = static_cast<int>(log.file ? std::min(screen, options.file_level) : screen);
}

void stop_log() {
  Logger& log = logger();
  const std::lock_guard lock(log.mutex);
  log.options = {};
  log.file.reset();
  log.started = false;
  lowest = static_cast<int>(LogLevel::kWarning);
}

}  // namespace r1
