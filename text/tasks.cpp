#include "text/tasks.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

constexpr std::uint64_t fnv1a64(std::string_view text) {
  std::uint64_t h = 0xCBF29CE484222325ull;
  for (char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return h;
}

// SplitMix64, seeded by the item's name.
class Draw {
 public:
  explicit Draw(std::string_view name) : state_(fnv1a64(name)) {}
  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ull;
    return mix64(state_);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  std::int64_t between(std::int64_t a, std::int64_t b) {
    return a + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(b - a + 1)));
  }
  template <class T>
  const T& pick(const std::vector<T>& list) { return list[below(list.size())]; }
  char pick(std::string_view letters) { return letters[below(letters.size())]; }
  std::int64_t digits(std::int64_t n) {
    std::int64_t low = 1;
    for (std::int64_t i = 1; i < n; ++i) low *= 10;
    return between(low, low * 10 - 1);
  }

 private:
  std::uint64_t state_;
};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    out.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

// The lists' order is part of the generator: a change would alter every item.
const std::vector<std::string>& words() {
  static const auto list = words_of(
      "strawberry banana apple orange letter committee pepper summer balloon coffee garden window yellow rabbit "
      "happiness tomorrow kitchen bottle elephant pumpkin cheese berry island mountain river school teacher pencil "
      "paper winter spring autumn market doctor engine planet silver golden copper simple little middle puzzle "
      "button cotton kitten mitten rocket pocket ticket basket blanket cabinet dinner hammer ladder mirror needle "
      "oven pillow quilt ribbon saddle tunnel umbrella velvet whistle zipper arrow bridge candle dragon eagle feather "
      "grape honey insect jungle kettle lemon magnet napkin ocean parrot queen rooster spider turtle uncle violin "
      "walnut yogurt zebra anchor beaver cactus dolphin ember falcon goblet harbor iguana jigsaw koala lantern");
  return list;
}
const std::vector<std::string>& topics() {
  static const auto list = words_of(
      "dogs rain music school winter bread trains coffee gardens football books rivers mountains friends birds "
      "dreams cities snow maps tea cats clouds ships horses trees stars bridges flowers bees winds");
  return list;
}

std::string joined(const std::vector<std::int64_t>& numbers, const char* separator) {
  std::string out;
  for (std::int64_t n : numbers) out += (out.empty() ? "" : separator) + std::to_string(n);
  return out;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

struct Item {
  std::string prompt;
  std::string answer;  // as text; `rest` replaces it where a rule decides
  std::string rest;    // further fields, JSON: ", \"limit\": 7"
  bool has_answer = true;
  std::string worked = {};  // the way to the answer, in words; "" = this task has none
  std::function<std::string(Draw&)> slipped = {};  // the same with one wrong step; likewise
};

// One number of a worked answer that is wrong by `by`; what follows is computed from it. step < 0: none.
struct Slip {
  int step = -1;
  std::int64_t by = 0;
};

// Column addition and subtraction, lowest digit first, each digit written where it is known: "7 + 5 = 12, write 2, carry 1. ..."
std::string worked_columns(std::int64_t a, std::int64_t b, char op, Slip slip) {
  std::string out;
  std::int64_t carry = 0, x = a, y = b, value = 0, place = 1;
  for (int i = 0; i == 0 || x > 0 || y > 0; ++i, x /= 10, y /= 10, place *= 10) {
    const std::int64_t p = x % 10, q = y % 10, sum = (op == '+' ? p + q + carry : p - q - carry) + (i == slip.step ? slip.by : 0);
    out += message(p, " ", op, " ", q);
    if (carry > 0) out += message(" ", op, " ", carry);
    if (op == '+') {
      out += message(" = ", sum);
      carry = sum / 10;
      if (carry > 0) out += message(", write ", sum % 10, ", carry ", carry);
      value += sum % 10 * place;
    } else {
      if (sum < 0) out += message(" + 10");
      carry = sum < 0 ? 1 : 0;
      out += message(" = ", sum + 10 * carry);
      if (carry > 0) out += ", borrow 1";
      value += (sum + 10 * carry) * place;
    }
    out += ". ";
  }
  if (op == '+') value += carry * place;
  return out + message("So ", a, " ", op, " ", b, " = ", value, ".");
}

// A worked answer of `steps` steps with one wrong step, as long as the right one where that can be had: length is not to tell. A last step's
// slip may leave nothing but the result wrong. Empty if none is found.
std::string with_a_slip(Draw& r, const std::string& right, std::int64_t steps, const std::function<std::string(Slip)>& worked) {
  std::string other;
  for (int tries = 0; tries < 200; ++tries) {
    const int step = static_cast<int>(r.below(static_cast<std::uint64_t>(steps)));
    constexpr std::array<std::int64_t, 4> kBy = {-2, -1, 1, 2};
    const std::string text = worked({step, kBy[r.below(kBy.size())]});
    if (text == right || text.find("= -") != std::string::npos) continue;  // no answer of these tasks goes below zero
    if (text.size() == right.size()) return text;
    other = text;
  }
  return other;
}

Item sum_of_two(Draw& r, std::int64_t d, char op) {
  std::int64_t a = r.digits(d), b = r.digits(d);
  if (op == '-' && a < b) std::swap(a, b);
  const std::int64_t value = op == '+' ? a + b : op == '-' ? a - b : a * b;
  Item item{message("What is ", a, " ", op, " ", b, "?"), std::to_string(value), ""};
  if (op == '*') return item;
  item.worked = worked_columns(a, b, op, {});
  item.slipped = [=, right = item.worked](Draw& draw) {
    return with_a_slip(draw, right, static_cast<std::int64_t>(std::to_string(a).size()), [&](Slip slip) { return worked_columns(a, b, op, slip); });
  };
  return item;
}

struct Term { char op; std::int64_t k; };
std::string worked_chain(std::int64_t value, const std::vector<Term>& terms, Slip slip) {
  std::string out;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const auto [op, k] = terms[i];
    const std::int64_t next = (op == '+' ? value + k : value - k) + (static_cast<int>(i) == slip.step ? slip.by : 0);
    out += message(value, " ", op, " ", k, " = ", next, ". ");
    value = next;
  }
  return out + message("The answer is ", value, ".");
}

Item chain(Draw& r, std::int64_t n) {  // one-digit terms, never below zero on the way
  const std::int64_t first = r.between(1, 9);
  std::int64_t value = first;
  std::string text = std::to_string(value);
  std::vector<Term> terms;
  for (std::int64_t i = 0; i < n; ++i) {
    char op = r.pick("+-");
    const std::int64_t k = r.between(1, 9);
    if (op == '-' && k > value) op = '+';
    value += op == '+' ? k : -k;
    terms.push_back({op, k});
    text += message(" ", op, " ", k);
  }
  Item item{"Compute " + text + ".", std::to_string(value), "", true, worked_chain(first, terms, {})};
  item.slipped = [=, right = item.worked](Draw& draw) {
    return with_a_slip(draw, right, n, [&](Slip slip) { return worked_chain(first, terms, slip); });
  };
  return item;
}

Item largest(Draw& r, std::int64_t n) {
  std::vector<std::int64_t> x;
  while (static_cast<std::int64_t>(x.size()) < n) {
    const std::int64_t v = r.between(1, 99);
    if (std::find(x.begin(), x.end(), v) == x.end()) x.push_back(v);
  }
  const std::string answer = std::to_string(*std::max_element(x.begin(), x.end()));
  if (n == 2)
    return {message("Which number is larger, ", x[0], " or ", x[1], "? Answer with the number only."), answer, ""};
  return {message("Which of these numbers is the largest: ", joined(x, ", "), "? Answer with the number only."), answer,
          ""};
}

Item sorted(Draw& r, std::int64_t n) {
  std::vector<std::int64_t> x;
  for (std::int64_t i = 0; i < n; ++i) x.push_back(r.between(1, 99));
  std::string prompt = "Sort these numbers from smallest to largest: " + joined(x, " ");
  std::sort(x.begin(), x.end());
  return {std::move(prompt), joined(x, " "), ""};
}

Item first_letter(Draw& r, std::int64_t) {
  const std::string& w = r.pick(words());
  return {message("What is the first letter of \"", w, "\"? Answer with one letter."), w.substr(0, 1), ""};
}

Item letter_count(Draw& r, std::int64_t) {
  const std::string& w = r.pick(words());
  const std::set<char> letters(w.begin(), w.end());
  const char c = r.pick(std::vector<char>(letters.begin(), letters.end()));
  return {message("How many times does the letter \"", c, "\" appear in \"", w, "\"? Answer with a number."),
          std::to_string(std::count(w.begin(), w.end(), c)), ""};
}

Item repeat(Draw& r, std::int64_t n) {
  const std::string& w = r.pick(words());
  std::string answer = w;
  for (std::int64_t i = 1; i < n; ++i) answer += " " + w;
  return {message("Write the word \"", w, "\" exactly ", n, " times, separated by spaces."), std::move(answer), ""};
}

Item reverse(Draw& r, std::int64_t n) {
  std::string forward, backward;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::string letter(1, r.pick("abcdefghijklmnopqrstuvwxyz"));
    forward += (i > 0 ? " " : "") + letter;
    backward = letter + (i > 0 ? " " : "") + backward;
  }
  return {"Reverse these letters: " + forward, std::move(backward), ""};
}

Item words_below(Draw& r, std::int64_t n) {
  const std::string& topic = r.pick(topics());
  const std::int64_t k = r.between(n, n + 4);
  return {message("Write one sentence about ", topic, " with fewer than ", k, " words."), "",
          message(", \"limit\": ", k), false};
}

Item countdown(Draw& r, std::int64_t n) {  // solvable by construction; division only where it is exact
  while (true) {
    std::vector<std::int64_t> x;
    for (std::int64_t i = 0; i < n; ++i) x.push_back(r.between(1, n < 3 ? 9 : 25));
    std::int64_t value = x[0];
    std::string expression = std::to_string(value);
    for (std::size_t i = 1; i < x.size(); ++i) {
      char op = r.pick(n > 2 ? std::string_view("+-*/") : std::string_view("+-"));
      if (op == '/' && value % x[i] != 0) op = '+';
      value = op == '+' ? value + x[i] : op == '-' ? value - x[i] : op == '*' ? value * x[i] : value / x[i];
      expression = message("(", expression, " ", op, " ", x[i], ")");
    }
    if (value < 1 || value > 100) continue;
    for (std::size_t i = x.size() - 1; i > 0; --i) std::swap(x[i], x[r.below(i + 1)]);
    return {message("Using the numbers ", joined(x, ", "), ", write an arithmetic expression that equals ", value,
                    ". Use each number exactly once and only + - * / and parentheses."),
            "",
            message(", \"numbers\": [", joined(x, ", "), "], \"target\": ", value, ", \"solution\": ",
                    quoted(expression.substr(1, expression.size() - 2))),
            false};
  }
}

struct Task {
  const char* name;
  Item (*make)(Draw&, std::int64_t level);
  std::int64_t low, high;  // of the level
  const char* level;
};

const std::vector<Task>& tasks() {
  static const std::vector<Task> list = {
      {"add", [](Draw& r, std::int64_t d) { return sum_of_two(r, d, '+'); }, 1, 17, "digits of each number"},
      {"sub", [](Draw& r, std::int64_t d) { return sum_of_two(r, d, '-'); }, 1, 17, "digits of each number"},
      {"mul", [](Draw& r, std::int64_t d) { return sum_of_two(r, d, '*'); }, 1, 9, "digits of each number"},
      {"chain", chain, 1, 1000, "operations"},
      {"max", largest, 1, 99, "numbers"},
      {"sort", sorted, 1, 1000, "numbers"},
      {"first_letter", first_letter, 1, 1000, "no meaning"},
      {"letter_count", letter_count, 1, 1000, "no meaning"},
      {"repeat", repeat, 1, 1000, "repetitions"},
      {"reverse", reverse, 1, 1000, "letters"},
      {"words_below", words_below, 1, 1000, "smallest limit of words"},
      {"countdown", countdown, 2, 8, "numbers"},
  };
  return list;
}

const Task& find_task(const std::string& name) {
  for (const Task& t : tasks()) {
    if (name == t.name) return t;
  }
  std::string known;
  for (const Task& t : tasks()) known += (known.empty() ? "" : ", ") + std::string(t.name);
  throw ConfigError(message("there is no task \"", name, "\"; the tasks are ", known));
}

}  // namespace

std::vector<std::string> task_names() {
  std::vector<std::string> out;
  for (const Task& t : tasks()) out.emplace_back(t.name);
  return out;
}

std::string task_help(const std::string& task) {
  const Task& t = find_task(task);
  return message(t.name, ": level = ", t.level, " (", t.low, " to ", t.high, ")");
}

std::string make_task_line(const TaskOptions& options, std::int64_t index) {
  const Task& task = find_task(options.task);
  if (options.split != "train" && options.split != "test")
    throw ConfigError(message("split \"", options.split, "\" is unknown; use train or test"));
  if (options.level < task.low || options.level > task.high) {
    throw ConfigError(message("task ", task.name, " has no level ", options.level, "; ", task_help(options.task)));
  }
  Draw r(message(task.name, ":", options.level, ":", options.split, ":", options.seed, ":", index));
  // A drawn prompt belongs to "test" when its hash is a multiple of 10; one of the wrong split is drawn again.
  for (int tries = 0; tries < 1'000'000; ++tries) {
    const Item item = task.make(r, options.level);
    if ((fnv1a64(item.prompt) % 10 == 0) != (options.split == "test")) continue;
    if ((options.worked || options.pairs) && item.worked.empty())
      throw ConfigError(message("task ", task.name, " has no worked form; add, sub and chain have one"));
    std::string more = options.worked ? ", \"completion\": " + quoted(item.worked) : "";
    if (options.pairs) {
      const std::string wrong = item.slipped(r);
      if (wrong.empty()) continue;
      more += ", \"chosen\": " + quoted(item.worked) + ", \"rejected\": " + quoted(wrong);
    }
    return message("{\"id\": \"", task.name, options.level, "-", options.split, "-", options.seed, "-", index,
                   "\", \"task\": \"", task.name, "\", \"level\": ", options.level,
                   ", \"prompt\": ", quoted(item.prompt),
                   ", \"answer\": ", item.has_answer ? quoted(item.answer) : "null", item.rest, more, "}");
  }
  throw ConfigError(
      message("task ", task.name, " level ", options.level, " has no prompt in the split ", options.split));
}

}  // namespace r1
