// Values of the template language, with Python's semantics where templates can see them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace r1::jinja {

// A template failed while rendering; the renderer adds line and column.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Value;
using List = std::vector<Value>;

struct Undefined {
  std::string name;  // for messages
};
struct None {};

// A mapping in insertion order. Templates' mappings are small: look-up is linear.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
  // Argument `index`, or the one called `name`; null if it was not given.
  const Value* get(std::size_t index, std::string_view name) const;
  // Throws Failure for more positional arguments than `most`, or a name that is not listed.
  void check(const char* function, std::size_t most, std::initializer_list<std::string_view> names = {}) const;
};

struct Function {
  std::string name;
  std::function<Value(const Arguments&)> call;
};

// State of a for loop, read by loop.index and so on.
struct Loop {
  std::shared_ptr<const List> items;
  std::size_t index = 0;
  std::vector<Value> last_changed;
  bool has_changed = false;
};

class Value {
 public:
  struct ListRef {
    std::shared_ptr<List> items;
    bool tuple = false;
  };
  struct NamespaceRef {
    std::shared_ptr<Dict> items;
  };
  Value() : data_(None{}) {}
  Value(Undefined u) : data_(std::move(u)) {}                      // NOLINT: implicit by design, as are those below
  Value(bool b) : data_(b) {}                                      // NOLINT
  Value(std::int64_t i) : data_(i) {}                              // NOLINT
  Value(int i) : data_(std::int64_t{i}) {}                         // NOLINT
  Value(std::size_t i) : data_(static_cast<std::int64_t>(i)) {}    // NOLINT
  Value(double d) : data_(d) {}                                    // NOLINT
  Value(std::string s) : data_(std::move(s)) {}                    // NOLINT
  Value(std::string_view s) : data_(std::string(s)) {}             // NOLINT
  Value(const char* s) : data_(std::string(s)) {}                  // NOLINT
  Value(List items, bool tuple = false) : data_(ListRef{std::make_shared<List>(std::move(items)), tuple}) {}  // NOLINT
  Value(Dict dict) : data_(std::make_shared<Dict>(std::move(dict))) {}                                        // NOLINT
  Value(NamespaceRef n) : data_(std::move(n)) {}                                                              // NOLINT
  Value(Function f) : data_(std::make_shared<Function>(std::move(f))) {}                                      // NOLINT
  Value(std::shared_ptr<Loop> loop) : data_(std::move(loop)) {}                                               // NOLINT

  template <class T>
  const T* as() const { return std::get_if<T>(&data_); }
  bool is_undefined() const { return as<Undefined>(); }
  bool is_none() const { return as<None>(); }
  bool is_string() const { return as<std::string>(); }
  bool is_number() const { return as<bool>() || as<std::int64_t>() || as<double>(); }
  const List* list() const { return as<ListRef>() ? as<ListRef>()->items.get() : nullptr; }
  bool is_tuple() const { return as<ListRef>() && as<ListRef>()->tuple; }
  const Dict* dict() const { return as<std::shared_ptr<Dict>>() ? as<std::shared_ptr<Dict>>()->get() : nullptr; }
  Dict* name_space() const { return as<NamespaceRef>() ? as<NamespaceRef>()->items.get() : nullptr; }
  const Function* function() const {
    return as<std::shared_ptr<Function>>() ? as<std::shared_ptr<Function>>()->get() : nullptr;
  }
  const std::shared_ptr<Loop>* loop() const { return as<std::shared_ptr<Loop>>(); }

  // Each of these throws Failure where Python would raise.
  bool truth() const;
  std::string str() const;
  std::string repr() const;
  const char* type_name() const;
  std::int64_t integer(const char* what) const;  // `what` is named in the message
  double number(const char* what) const;
  const std::string& string(const char* what) const;
  List iterate() const;  // elements, keys, characters; an undefined value has none
  std::size_t length() const;

 private:
  std::variant<None, Undefined, bool, std::int64_t, double, std::string, ListRef, std::shared_ptr<Dict>, NamespaceRef,
               std::shared_ptr<Function>, std::shared_ptr<Loop>>
      data_;
};

bool equal(const Value& a, const Value& b);
int compare(const Value& a, const Value& b);  // order of numbers, strings and lists; else throws
bool contains(const Value& container, const Value& item);
bool same_object(const Value& a, const Value& b);  // the test "sameas"

// Arithmetic of Python: + - * / // % ** on numbers, + and * on strings and lists, % as formatting.
Value arithmetic(std::string_view op, const Value& a, const Value& b);
std::string float_text(double x);  // Python's repr
std::string quoted(std::string_view s);  // Python's repr of a string
std::vector<std::string> characters(std::string_view s);

// json.dumps(ensure_ascii=False); indent < 0 = one line. Separators as Python's defaults if empty.
std::string to_json(const Value& v, int indent = -1, bool sort_keys = false, bool ensure_ascii = false,
                    const std::string& item_separator = "", const std::string& key_separator = ": ");
// Keeps the order of keys. Throws DataError that starts with `what`.
Value from_json(std::string_view text, const char* what);

}  // namespace r1::jinja
