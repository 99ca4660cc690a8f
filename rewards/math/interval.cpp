#include "rewards/math/interval.h"

#include <string>

namespace r1::math {
namespace {

using End = Interval::End;
using Intervals = std::vector<Interval>;

constexpr std::size_t kMaxIntervals = 32;

const Node& at(const Item& i) { return i.tree->nodes[i.node]; }
Item child(const Item& i, std::size_t k) { return {i.tree, i.tree->children(i.node)[k], i.pm_sign}; }
bool is_variable(const Item& i) { return at(i).kind == NodeKind::kSymbol && i.tree->name(i.node) != "..."; }

class Reader {
 public:
  explicit Reader(Budget& budget) : budget_(budget) {}

  bool read(const Item& i, bool in_union) {
    const std::size_t count = i.tree->children(i.node).size();
    switch (at(i).kind) {
      case NodeKind::kBracketed: {
        const std::string& brackets = i.tree->name(i.node);
        if (count != 2 || brackets[0] == '<') return false;
        return add(end(child(i, 0), brackets[0] == '(', -1), end(child(i, 1), brackets[1] == ')', 1));
      }
      case NodeKind::kUnion:
        for (std::size_t k = 0; k < count; ++k) {
          if (!read(child(i, k), true)) return false;
        }
        return true;
      case NodeKind::kSet:
        for (std::size_t k = 0; in_union && k < count; ++k) {
          if (!add(End{false, false, child(i, k)}, End{false, false, child(i, k)})) return false;
        }
        return in_union;
      case NodeKind::kSymbol: return i.tree->name(i.node) == "R" && add(End{true, true, {}}, End{true, true, {}});
      case NodeKind::kList:  // "x < 1 or x > 3"
        if (at(i).op != 1) return false;
        for (std::size_t k = 0; k < count; ++k) {
          if (at(child(i, k)).kind != NodeKind::kRelation || !read(child(i, k), true)) return false;
        }
        return true;
      case NodeKind::kRelation: return relation(i);
      default: return false;
    }
  }

  std::optional<Intervals> merged() {
    // Insertion by lower end, then one pass.
    Intervals sorted;
    for (const Interval& x : found_) {
      std::size_t k = sorted.size();
      for (; k > 0; --k) {
        const auto sign = compare_low(x.low, sorted[k - 1].low);
        if (!sign) return std::nullopt;
        if (*sign >= 0) break;
      }
      sorted.insert(sorted.begin() + static_cast<std::ptrdiff_t>(k), x);
    }
    Intervals out;
    for (const Interval& x : sorted) {
      if (out.empty()) {
        out.push_back(x);
        continue;
      }
      End& top = out.back().high;
      std::optional<int> gap = -1;  // sign of x.low - top
      if (!top.infinite && !x.low.infinite) gap = order(x.low.at, top.at, budget_);
      if (!gap) return std::nullopt;
      if (*gap > 0 || (*gap == 0 && x.low.open && top.open)) {
        out.push_back(x);
        continue;
      }
      if (top.infinite) continue;
      std::optional<int> further = 1;  // sign of x.high - top
      if (!x.high.infinite) further = order(x.high.at, top.at, budget_);
      if (!further) return std::nullopt;
      if (*further > 0) top = x.high;
      else if (*further == 0) top.open = top.open && x.high.open;
    }
    return out;
  }

 private:
  // `side`: -1 for a lower end, which may be minus infinity.
  End end(const Item& i, bool open, int side) const {
    Item inner = i;
    const bool negative = at(i).kind == NodeKind::kNegation;
    if (negative) inner = child(i, 0);
    const bool infinity =
        at(inner).kind == NodeKind::kConstant && at(inner).op == static_cast<int>(Constant::kInfinity);
    return {infinity && negative == (side < 0), open, i};
  }
  bool add(End low, End high) {
    if (found_.size() >= kMaxIntervals) return false;
    for (End* e : {&low, &high}) {
      if (e->infinite) continue;  // [-\infty is a mistake and stays one
      if (contains(e->at, NodeKind::kConstant, static_cast<int>(Constant::kInfinity)) ||
          contains(e->at, NodeKind::kSymbol) || contains(e->at, NodeKind::kPlusMinus))
        return false;
    }
    found_.push_back({low, high});
    return true;
  }

  std::optional<int> compare_low(const End& a, const End& b) {
    if (a.infinite || b.infinite) return static_cast<int>(b.infinite) - static_cast<int>(a.infinite);
    const auto sign = order(a.at, b.at, budget_);
    if (!sign || *sign != 0) return sign;
    return static_cast<int>(a.open) - static_cast<int>(b.open);
  }

  // One and the same variable in all relations.
  bool variable(const Item& i) {
    if (!is_variable(i) || (variable_ && *variable_ != i.tree->name(i.node))) return false;
    variable_ = &i.tree->name(i.node);
    return true;
  }

  bool relation(const Item& i) {
    const std::string& letters = i.tree->name(i.node);
    if (letters == "i") return variable(child(i, 0)) && read(child(i, 1), true);
    const End infinite{true, true, {}};
    if (letters.size() == 1) {
      const bool variable_first = is_variable(child(i, 0));
      if (variable_first == is_variable(child(i, 1))) return false;
      if (!variable(child(i, variable_first ? 0 : 1))) return false;
      const Item bound = child(i, variable_first ? 1 : 0);
      const char c = letters[0];
      if (c == '!') return add(infinite, {false, true, bound}) && add({false, true, bound}, infinite);
      if (std::string_view("<>lg").find(c) == std::string_view::npos) return false;
      const bool open = c == '<' || c == '>', below = (c == '<' || c == 'l') == variable_first;
      return below ? add(infinite, end(bound, open, 1)) : add(end(bound, open, -1), infinite);
    }
    if (letters.size() != 2 || !variable(child(i, 1))) return false;
    const auto up = [](char c) { return c == '<' || c == 'l'; };
    const auto down = [](char c) { return c == '>' || c == 'g'; };
    const auto open = [](char c) { return c == '<' || c == '>'; };
    const char a = letters[0], b = letters[1];
    if (up(a) && up(b)) return add(end(child(i, 0), open(a), -1), end(child(i, 2), open(b), 1));
    if (down(a) && down(b)) return add(end(child(i, 2), open(b), -1), end(child(i, 0), open(a), 1));
    return false;
  }

  Budget& budget_;
  const std::string* variable_ = nullptr;
  Intervals found_;
};

}  // namespace

std::optional<std::vector<Interval>> intervals_of(const Item& item, Budget& budget) {
  Reader reader(budget);
  if (!reader.read(item, false)) return std::nullopt;
  return reader.merged();
}

}  // namespace r1::math
