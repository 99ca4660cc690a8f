#include "text/jinja_render.h"

#include <algorithm>
#include <deque>
#include <map>

#include "core/error.h"
#include "text/jinja_functions.h"
#include "text/jinja_lexer.h"

namespace r1::jinja {
namespace {

using EKind = Expression::Kind;
using SKind = Statement::Kind;

constexpr std::size_t kLongestOutput = std::size_t{256} << 20;

// Names of one level; a loop's turn, a macro's call, a with block make a new one.
struct Scope {
  Scope* parent;
  std::map<std::string, Value, std::less<>> names;
  const Value* find(std::string_view name) const {
    for (const Scope* s = this; s; s = s->parent) {
      if (const auto it = s->names.find(name); it != s->names.end()) return &it->second;
    }
    return nullptr;
  }
};

class Renderer {
 public:
  explicit Renderer(std::string_view source) : source_(source) {}

  std::string run(const Body& body, const Dict& variables, Spans* generated) {
    Scope& globals = scope(nullptr);
    for (const auto& [name, value] : variables.items) globals.names[name.str()] = value;
    std::string out;
    output_ = &out, generated_ = generated;
    execute(body, scope(&globals), out);
    return out;
  }

 private:
  enum class Flow { kNext, kBreak, kContinue };

  // Scopes live as long as the rendering: a macro keeps the scope it was written in.
  Scope& scope(Scope* parent) { return scopes_.emplace_back(Scope{parent, {}}); }

  [[noreturn]] void fail(std::size_t offset, const std::string& why) const {
    throw DataError(message("chat template, ", position(source_, offset), ": ", why));
  }
  template <class F>
  auto located(std::size_t offset, F&& work) -> decltype(work()) {
    try {
      return work();
    } catch (const Failure& e) {
      fail(offset, e.what());
    }
  }

  Flow execute(const Body& body, Scope& names, std::string& out) {
    for (const auto& s : body) {
      if (out.size() > kLongestOutput) fail(s->offset, "the text grows beyond 256 MiB");
      if (const Flow flow = execute(*s, names, out); flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  Flow execute(const Statement& s, Scope& names, std::string& out) {
    switch (s.kind) {
      case SKind::kText: out += s.text; return Flow::kNext;
      case SKind::kOutput:
        out += located(s.offset, [&] { return evaluate(*s.expressions[0], names).str(); });
        return Flow::kNext;
      case SKind::kIf:
        for (std::size_t i = 0; i < s.bodies.size(); ++i) {
          if (i >= s.expressions.size() || evaluate(*s.expressions[i], names).truth())
            return execute(s.bodies[i], names, out);
        }
        return Flow::kNext;
      case SKind::kFor: return for_loop(s, names, out);
      case SKind::kSet: assign(s, names); return Flow::kNext;
      case SKind::kSetBlock: {
        std::string text;
        execute(s.bodies[0], scope(&names), text);
        names.names[s.names[0]] =
            s.expressions[0] ? filtered(*s.expressions[0], names, std::move(text)) : Value(std::move(text));
        return Flow::kNext;
      }
      case SKind::kMacro: names.names[s.text] = macro(s, 0, names); return Flow::kNext;
      case SKind::kCallBlock: out += call_block(s, names).str(); return Flow::kNext;
      case SKind::kWith: {
        Scope& inner = scope(&names);
        for (std::size_t i = 0; i < s.names.size(); ++i) inner.names[s.names[i]] = evaluate(*s.expressions[i], names);
        return execute(s.bodies[0], inner, out);
      }
      case SKind::kFilterBlock: {
        std::string text;
        const Flow flow = execute(s.bodies[0], scope(&names), text);
        out += filtered(*s.expressions[0], names, std::move(text)).str();
        return flow;
      }
      case SKind::kGroup: {
        const std::size_t begin = out.size();
        const Flow flow = execute(s.bodies[0], names, out);
        if (generated_ && &out == output_) generated_->emplace_back(begin, out.size());
        return flow;
      }
      case SKind::kBreak: return Flow::kBreak;
      case SKind::kContinue: return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void unpack(const std::vector<std::string>& targets, const Value& value, std::size_t offset, Scope& names) {
    if (targets.size() == 1) {
      names.names[targets[0]] = value;
      return;
    }
    const List parts = located(offset, [&] { return value.iterate(); });
    if (parts.size() != targets.size())
      fail(offset, message("expected ", targets.size(), " values to unpack, got ", parts.size()));
    for (std::size_t i = 0; i < targets.size(); ++i) names.names[targets[i]] = parts[i];
  }

  void assign(const Statement& s, Scope& names) {
    const Value value = evaluate(*s.expressions[0], names);
    if (s.text.empty()) return unpack(s.names, value, s.offset, names);
    const Value* target = names.find(s.names[0]);
    Dict* space = target ? target->name_space() : nullptr;
    if (!space) fail(s.offset, message("\"", s.names[0], "\" is no namespace: its attributes cannot be set"));
    space->set(s.text, value);
  }

  Flow for_loop(const Statement& s, Scope& names, std::string& out) {
    List items = located(s.expressions[0]->offset, [&] { return evaluate(*s.expressions[0], names).iterate(); });
    if (s.expressions[1]) {
      List kept;
      for (Value& item : items) {
        Scope& inner = scope(&names);
        unpack(s.names, item, s.offset, inner);
        if (evaluate(*s.expressions[1], inner).truth()) kept.push_back(std::move(item));
      }
      items = std::move(kept);
    }
    if (items.empty()) return execute(s.bodies[1], scope(&names), out);
    auto loop = std::make_shared<Loop>();
    loop->items = std::make_shared<const List>(std::move(items));
    for (; loop->index < loop->items->size(); ++loop->index) {
      Scope& inner = scope(&names);
      inner.names["loop"] = loop;
      unpack(s.names, (*loop->items)[loop->index], s.offset, inner);
      if (execute(s.bodies[0], inner, out) == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  // A macro, or the caller() of a call block; its parameters start at expressions[first].
  Value macro(const Statement& s, std::size_t first, Scope& defined) {
    const std::string name = s.text.empty() ? "caller" : s.text;
    return Function{name, [this, &s, first, &defined, name](const Arguments& given) {
      if (++calls_ > 100) throw Failure(message("calls of ", name, "() are nested too deeply"));
      Scope& inner = scope(&defined);
      if (given.positional.size() > s.names.size())
        throw Failure(message(name, "() takes at most ", s.names.size(), " arguments"));
      for (std::size_t i = 0; i < s.names.size(); ++i) {
        const Value* value = given.get(i, s.names[i]);
        const auto& otherwise = s.expressions[first + i];
        inner.names[s.names[i]] = value       ? *value
                                  : otherwise ? evaluate(*otherwise, inner)
                                              : Value(Undefined{s.names[i]});
      }
      for (const auto& [key, value] : given.named) {
        if (key == "caller") inner.names[key] = value;
        else if (!inner.names.contains(key)) throw Failure(message(name, "() has no argument \"", key, "\""));
      }
      std::string out;
      execute(s.bodies[0], inner, out);
      --calls_;
      return Value(std::move(out));
    }};
  }

  Value call_block(const Statement& s, Scope& names) {
    const Expression& call = *s.expressions[0];
    const Value function = evaluate(*call.parts[0], names);
    Arguments arguments = evaluate(call.arguments, names);
    arguments.named.emplace_back("caller", macro(s, 1, names));
    return invoke(function, arguments, s.offset);
  }

  Value invoke(const Value& function, const Arguments& arguments, std::size_t offset) {
    if (function.is_undefined()) fail(offset, message("'", function.as<Undefined>()->name, "' is undefined"));
    if (!function.function()) fail(offset, message("a value of type ", function.type_name(), " cannot be called"));
    return located(offset, [&] { return function.function()->call(arguments); });
  }

  Arguments evaluate(const CallArguments& call, Scope& names) {
    Arguments out;
    for (const auto& e : call.positional) out.positional.push_back(evaluate(*e, names));
    for (const auto& [name, e] : call.named) out.named.emplace_back(name, evaluate(*e, names));
    return out;
  }

  // The innermost filter of a chain without input gets `text`.
  Value filtered(const Expression& e, Scope& names, Value text) {
    const Expression* inner = e.parts[0].get();
    const Value input = !inner                          ? std::move(text)
                        : inner->kind == EKind::kFilter ? filtered(*inner, names, std::move(text))
                                                        : evaluate(*inner, names);
    const Arguments arguments = evaluate(e.arguments, names);
    return located(e.offset, [&] { return apply_filter(e.text, input, arguments); });
  }

  Value evaluate(const Expression& e, Scope& names) {
    const auto part = [&](std::size_t i) { return evaluate(*e.parts[i], names); };
    switch (e.kind) {
      case EKind::kLiteral: return e.value;
      case EKind::kName: {
        if (const Value* v = names.find(e.text)) return *v;
        if (auto g = find_global(e.text)) return *g;
        return Undefined{e.text};
      }
      case EKind::kAttribute: return located(e.offset, [&] { return get_attribute(part(0), e.text); });
      case EKind::kSubscript: return located(e.offset, [&] { return get_item(part(0), part(1)); });
      case EKind::kSlice: return located(e.offset, [&] { return slice(e, names); });
      case EKind::kCall: {
        const Value function = part(0);
        return invoke(function, evaluate(e.arguments, names), e.offset);
      }
      case EKind::kFilter: return filtered(e, names, Value());
      case EKind::kTest: {
        const Value input = part(0);
        const Arguments arguments = evaluate(e.arguments, names);
        return located(e.offset, [&] { return apply_test(e.text, input, arguments); });
      }
      case EKind::kNot: return !part(0).truth();
      case EKind::kNegative: return located(e.offset, [&] { return arithmetic("*", Value(-1), numeric(part(0))); });
      case EKind::kPositive: return located(e.offset, [&] { return numeric(part(0)); });
      case EKind::kAnd: {
        Value left = part(0);
        return left.truth() ? part(1) : left;
      }
      case EKind::kOr: {
        Value left = part(0);
        return left.truth() ? left : part(1);
      }
      case EKind::kBinary: {
        const Value left = part(0), right = part(1);
        return located(e.offset, [&] { return arithmetic(e.text, left, right); });
      }
      case EKind::kConcat: {
        std::string out;
        for (const auto& p : e.parts) out += located(p->offset, [&] { return evaluate(*p, names).str(); });
        return out;
      }
      case EKind::kCompare: return comparison(e, names);
      case EKind::kConditional:
        if (part(1).truth()) return part(0);
        return e.parts[2] ? part(2) : Value(Undefined{"the inline if without else"});
      case EKind::kList:
      case EKind::kTuple: {
        List items;
        for (const auto& p : e.parts) items.push_back(evaluate(*p, names));
        return Value(std::move(items), e.kind == EKind::kTuple);
      }
      case EKind::kDict: {
        Dict dict;
        for (std::size_t i = 0; i < e.parts.size(); i += 2) dict.set(part(i), part(i + 1));
        return dict;
      }
    }
    return Value();
  }

  static Value numeric(Value v) {
    v.number("the operand of a sign");
    return v;
  }

  Value comparison(const Expression& e, Scope& names) {
    Value left = evaluate(*e.parts[0], names);
    for (std::size_t i = 0; i < e.operators.size(); ++i) {
      Value right = evaluate(*e.parts[i + 1], names);
      const std::string& op = e.operators[i];
      const bool holds = located(e.offset, [&] {
        if (op == "==") return equal(left, right);
        if (op == "!=") return !equal(left, right);
        if (op == "in") return contains(right, left);
        if (op == "not in") return !contains(right, left);
        const int c = compare(left, right);
        return op == "<" ? c < 0 : op == "<=" ? c <= 0 : op == ">" ? c > 0 : c >= 0;
      });
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }

  // Python's slices, on lists and on the characters of a string.
  Value slice(const Expression& e, Scope& names) {
    const Value object = evaluate(*e.parts[0], names);
    if (!object.is_string() && !object.list())
      throw Failure(message("a value of type ", object.type_name(), " cannot be sliced"));
    const List items = object.iterate();
    const auto n = static_cast<std::int64_t>(items.size());
    const auto bound = [&](std::size_t i) { return e.parts[i] ? evaluate(*e.parts[i], names) : Value(); };
    const Value from = bound(1), to = bound(2), by = bound(3);
    const std::int64_t step = by.is_none() ? 1 : by.integer("the step of a slice");
    if (step == 0) throw Failure("the step of a slice is zero");
    const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    const auto place = [&](const Value& v, std::int64_t otherwise) {
      if (v.is_none()) return otherwise;
      const std::int64_t i = v.integer("the bound of a slice");
      return std::clamp(i < 0 ? i + n : i, low, high);
    };
    const std::int64_t begin = place(from, step > 0 ? 0 : n - 1), end = place(to, step > 0 ? n : -1);
    List out;
    for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
      out.push_back(items[static_cast<std::size_t>(i)]);
      if (step > n || step < -n) break;
      i += step;
    }
    if (!object.is_string()) return Value(std::move(out), object.is_tuple());
    std::string text;
    for (const Value& v : out) text += v.str();
    return text;
  }

  std::string_view source_;
  std::deque<Scope> scopes_;
  int calls_ = 0;
  const std::string* output_ = nullptr;
  Spans* generated_ = nullptr;
};

}  // namespace

std::string render(const Body& body, std::string_view source, const Dict& variables, Spans* generated) {
  return Renderer(source).run(body, variables, generated);
}

}  // namespace r1::jinja
