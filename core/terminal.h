// The screen: whole lines, and below them one status line that is redrawn. Where the output is no terminal there is no
// status line and no colour. Thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace r1 {

class Terminal {
 public:
  struct Options {
    int descriptor = 2;                // stderr
    bool quiet = false;                // lines and status are dropped, except those printed as important
    std::optional<bool> interactive;   // none = is the descriptor a terminal (and TERM not "dumb")
    std::optional<bool> colour;        // none = interactive and NO_COLOR unset or empty
    std::optional<bool> ascii;         // none = the locale is not UTF-8
    std::optional<int> width;          // columns; none = ask the terminal each time, 80 if it does not say
  };
  Terminal();
  explicit Terminal(const Options& options);
  ~Terminal();  // clears the status line
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Prints lines above the status line. A missing final '\n' is added. `important` lines are printed also when quiet.
  void print(std::string_view lines, bool important = false);
  // Replaces the status line (cut to the width); empty = none. No effect unless interactive.
  void set_status(std::string_view line);

  bool interactive() const { return interactive_; }
  bool colour() const { return colour_; }
  bool ascii() const { return ascii_; }
  bool quiet() const { return options_.quiet; }
  int width() const;
  // The text in a colour ("31" = red, "1" = bold, "2" = dim), or as it is where there is no colour.
  std::string paint(std::string_view text, std::string_view code) const;

 private:
  void send(std::string_view bytes) const;
  Options options_;
  bool interactive_, colour_, ascii_;
  std::mutex mutex_;
  std::string status_;
};

}  // namespace r1
