#include "core/terminal.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

#include "core/format.h"

namespace r1 {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

bool set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {  // the first one that is set decides (POSIX)
    if (!set(name)) continue;
    std::string value = std::getenv(name);
    std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::toupper(c); });
    return value.find("UTF-8") != std::string::npos || value.find("UTF8") != std::string::npos;
  }
  return false;
}

bool dumb() {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) == "dumb";
}

}  // namespace

Terminal::Terminal() : Terminal(Options{}) {}

Terminal::Terminal(const Options& options)
    : options_(options),
      interactive_(options.interactive.value_or(isatty(options.descriptor) == 1 && !dumb()) && !options.quiet),
      colour_(options.colour.value_or(interactive_ && !set("NO_COLOR"))),
      ascii_(options.ascii.value_or(!utf8_locale())) {}

Terminal::~Terminal() { set_status(""); }

void Terminal::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t done = ::write(options_.descriptor, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return;  // the screen went away; the run goes on
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

void Terminal::print(std::string_view lines, bool important) {
  if (options_.quiet && !important) return;
  const std::lock_guard lock(mutex_);
  std::string out;
  if (!status_.empty()) out += kClearLine;
  out += lines;
  if (lines.empty() || lines.back() != '\n') out += '\n';
  out += status_;
  send(out);
}

void Terminal::set_status(std::string_view line) {
  if (!interactive_) return;
  const std::lock_guard lock(mutex_);
  // One column stays free: writing the last one makes some terminals wrap.
  std::string next = cut_to_width(line, static_cast<std::size_t>(std::max(1, width() - 1)), ascii_);
  if (next == status_) return;
  status_ = std::move(next);
  send(std::string(kClearLine) + status_);
}

int Terminal::width() const {
  if (options_.width) return *options_.width;
  winsize size{};
  if (ioctl(options_.descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

std::string Terminal::paint(std::string_view text, std::string_view code) const {
  if (!colour_) return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

}  // namespace r1
