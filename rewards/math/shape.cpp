#include "rewards/math/shape.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rewards/math/interval.h"
#include "rewards/units.h"

namespace r1::math {
namespace {

constexpr std::size_t kMaxMatched = 64;  // members of a set: matching costs their square

constexpr Finding different(const char* why, bool proved = false) { return {Outcome::kDifferent, proved, why}; }

bool is_scalar(NodeKind k) {
  switch (k) {
    case NodeKind::kRelation:
    case NodeKind::kBracketed:
    case NodeKind::kSet:
    case NodeKind::kList:
    case NodeKind::kUnion:
    case NodeKind::kRatio:
    case NodeKind::kMatrix: return false;
    default: return true;
  }
}

class Comparer {
 public:
  Comparer(const CheckOptions& options, Budget& budget) : options_(options), budget_(budget) {}

  Finding compare(Item g, Item a) {
    if (!budget_.spend(1)) return {Outcome::kUndecided, false, "budget"};
    if (kind(g) != kind(a) || kind(g) == NodeKind::kUnion) {
      if (const auto found = as_intervals(g, a)) return *found;
    }
    // "x = 5" for 5 and back, where the other side is no relation.
    const bool g_relation = kind(g) == NodeKind::kRelation, a_relation = kind(a) == NodeKind::kRelation;
    if (g_relation != a_relation) {
      Item& relation = g_relation ? g : a;
      if (!unwrap(relation)) return different("relation");
      return compare(g, a);
    }
    if (is_scalar(kind(g)) && is_scalar(kind(a)) && !has_pm(g) && !has_pm(a)) return scalars(g, a);  // most answers
    const std::vector<Item> gs = parts(g), as = parts(a);
    const bool g_free = is_free(g, gs), a_free = is_free(a, as);
    if (g_free || a_free) {
      if (options_.strict_shapes && (kind(g) == NodeKind::kSet) != (kind(a) == NodeKind::kSet)) return different("shape");
      if (g_free && a_free) return any_order(gs, as);
      // One side is a tuple or a single value. A list in order may stand for a tuple, nothing else.
      if (kind(g) == NodeKind::kBracketed && kind(a) == NodeKind::kList && !options_.strict_shapes)
        return in_order(gs, as);
      return different("shape");
    }
    if (is_scalar(kind(g)) && is_scalar(kind(a))) return scalars(g, a);
    if (kind(g) != kind(a)) return different("shape");
    switch (kind(g)) {
      case NodeKind::kBracketed:
        if (g.tree->name(g.node) != a.tree->name(a.node)) return different("brackets");
        return in_order(gs, as);
      case NodeKind::kMatrix:
        if (g.tree->nodes[g.node].data != a.tree->nodes[a.node].data) return different("shape");
        return in_order(gs, as);
      case NodeKind::kRatio: return ratios(gs, as);
      case NodeKind::kUnion: return any_order(gs, as);
      case NodeKind::kRelation: return relations(g, a);
      default: return different("shape");
    }
  }

 private:
  static NodeKind kind(const Item& i) { return i.tree->nodes[i.node].kind; }
  static Item child(const Item& i, std::size_t k) { return {i.tree, i.tree->children(i.node)[k], i.pm_sign}; }

  static bool has_pm(const Item& i) {
    if (kind(i) == NodeKind::kPlusMinus) return true;
    for (const auto k : i.tree->children(i.node)) {
      if (has_pm({i.tree, k, i.pm_sign})) return true;
    }
    return false;
  }

  // Children of a collection, each plus-minus member as its two values; a scalar is its own only part.
  std::vector<Item> parts(const Item& i) {
    std::vector<Item> out;
    const auto add = [&](const Item& item) {
      if (is_scalar(kind(item)) && item.pm_sign == 0 && has_pm(item)) {
        out.push_back({item.tree, item.node, 1});
        out.push_back({item.tree, item.node, -1});
      } else {
        out.push_back(item);
      }
    };
    if (is_scalar(kind(i))) {
      add(i);
      return out;
    }
    for (const auto k : i.tree->children(i.node)) {
      if (kind(i) == NodeKind::kList || kind(i) == NodeKind::kSet) add({i.tree, k, i.pm_sign});
      else out.push_back({i.tree, k, i.pm_sign});
    }
    return out;
  }
  static bool is_free(const Item& i, const std::vector<Item>& parts) {
    return kind(i) == NodeKind::kList || kind(i) == NodeKind::kSet || (is_scalar(kind(i)) && parts.size() == 2);
  }

  // A value without what people write behind it.
  struct Leaf {
    Item value, inside;  // inside: also without the percent sign
    std::string_view unit;
    bool percent = false, degrees = false;
  };
  static Leaf leaf(const Item& i) {
    Leaf out{i, i, {}, false, false};
    if (kind(i) == NodeKind::kUnit) {
      out.unit = i.tree->name(i.node);
      out.value = child(i, 0);
    } else if (kind(i) == NodeKind::kCall && i.tree->nodes[i.node].op == static_cast<int>(Function::kDegrees)) {
      out.unit = "deg";
      out.degrees = true;
      out.value = child(i, 0);
    }
    out.inside = out.value;
    out.percent = kind(out.value) == NodeKind::kPercent;
    if (out.percent) out.inside = child(out.value, 0);
    return out;
  }

  Finding scalars(const Item& g, const Item& a) {
    const Leaf x = leaf(g), y = leaf(a);
    // An angle in degrees is a number of radians.
    if (x.degrees != y.degrees && (x.degrees ? y : x).percent == false) {
      const std::string_view other = x.degrees ? y.unit : x.unit;
      if (other.empty() || other == "rad" || options_.units == UnitRule::kIgnore) {
        const Finding f = compare_scalars(x.degrees ? g : x.value, y.degrees ? a : y.value, options_, budget_);
        if (f.outcome == Outcome::kEqual || other == "rad") return f;
      }
    }
    if (options_.units != UnitRule::kIgnore) {
      if (!units_agree(x.unit, y.unit)) return different("unit");
      if (options_.units == UnitRule::kRequire && x.unit.empty() != y.unit.empty()) return different("unit");
    }
    if (options_.percent == PercentRule::kFraction) return values(x.value, y.value);
    if (options_.percent == PercentRule::kUnit || x.percent == y.percent) {
      if (options_.units == UnitRule::kRequire && x.percent != y.percent) return different("unit");
      return values(x.inside, y.inside);
    }
    const Finding f = values(x.inside, y.inside);
    return f.outcome == Outcome::kEqual ? f : values(x.value, y.value);
  }

  // The base of a number is part of an answer.
  static std::uint32_t base_of(const Item& i) {
    const Node& n = i.tree->nodes[i.node];
    if (n.kind == NodeKind::kBased) return n.data;
    for (const auto k : i.tree->children(i.node)) {
      if (const std::uint32_t base = base_of({i.tree, k, i.pm_sign})) return base;
    }
    return 0;
  }
  Finding values(const Item& g, const Item& a) {
    if (!options_.bases_by_value && base_of(g) != base_of(a)) return different("base");
    return compare_scalars(g, a, options_, budget_);
  }

  // Unions, inequalities and intervals against one another: as sets of real numbers. Nothing if they are none.
  std::optional<Finding> as_intervals(const Item& g, const Item& a) {
    const auto may_be = [](const Item& i) {
      const NodeKind k = kind(i);
      return k == NodeKind::kBracketed || k == NodeKind::kUnion || k == NodeKind::kRelation || k == NodeKind::kSymbol ||
             (k == NodeKind::kList && i.tree->nodes[i.node].op == 1);
    };
    if (!may_be(g) || !may_be(a)) return std::nullopt;
    const auto x = intervals_of(g, budget_);
    if (!x) return std::nullopt;
    const auto y = intervals_of(a, budget_);
    if (!y) return std::nullopt;
    const auto is_relation = [](const Item& i) {
      return kind(i) == NodeKind::kList || (kind(i) == NodeKind::kRelation && i.tree->name(i.node) != "i");
    };
    if (is_relation(a) && !is_relation(g) && !options_.relation_answers) return different("relation");
    if (x->size() != y->size()) return different("intervals", true);
    Finding all{Outcome::kEqual, true, "intervals"};
    for (std::size_t i = 0; i < x->size(); ++i) {
      const Interval &p = (*x)[i], &q = (*y)[i];
      for (const auto& [u, v] : {std::pair{&p.low, &q.low}, std::pair{&p.high, &q.high}}) {
        if (u->infinite != v->infinite || u->open != v->open) return different("intervals", true);
        if (u->infinite) continue;
        const Finding f = compare(u->at, v->at);
        if (f.outcome != Outcome::kEqual) return f;
        all.proved = all.proved && f.proved;
      }
    }
    return all;
  }

  // a : b : c up to a common factor.
  Finding ratios(const std::vector<Item>& g, const std::vector<Item>& a) {
    const bool as_written = has_dots(g) || has_dots(a);
    if (as_written || g.size() != a.size()) return in_order(g, a);
    Finding all = in_order(g, a);
    if (all.outcome == Outcome::kEqual) return all;
    all = {Outcome::kEqual, true, "ratio"};
    for (std::size_t i = 1; i < g.size(); ++i) {
      if (!is_scalar(kind(g[i])) || !is_scalar(kind(a[i]))) return different("ratio");
      const Finding f = compare_quotients(g[i], g[0], a[i], a[0], budget_);
      if (f.outcome != Outcome::kEqual) return f;
      all.proved = all.proved && f.proved;
    }
    return all;
  }

  Finding in_order(const std::vector<Item>& g, const std::vector<Item>& a) {
    if (g.size() != a.size()) return different("count", true);
    Finding all{Outcome::kEqual, true, "entries"};
    for (std::size_t i = 0; i < g.size(); ++i) {
      const Finding f = compare(g[i], a[i]);
      if (f.outcome == Outcome::kDifferent) return f;
      if (f.outcome == Outcome::kUndecided) all = f;
      all.proved = all.proved && f.proved;
    }
    return all;
  }

  // "1, 3, ..., 2n - 1" is a sequence.
  static bool has_dots(const std::vector<Item>& items) {
    for (const Item& i : items) {
      if (kind(i) == NodeKind::kSymbol && i.tree->name(i.node) == "...") return true;
    }
    return false;
  }

  Finding any_order(const std::vector<Item>& g, const std::vector<Item>& a) {
    if (has_dots(g) || has_dots(a)) return in_order(g, a);
    if (g.size() != a.size()) return different("count");
    if (g.size() > kMaxMatched) return in_order(g, a);
    // Equality of values is transitive, so the first free partner is as good as any.
    std::vector<bool> used(a.size());
    Finding all{Outcome::kEqual, true, "members"};
    for (const Item& x : g) {
      bool matched = false, open = false, proved_apart = true;
      for (std::size_t j = 0; j < a.size() && !matched; ++j) {
        if (used[j]) continue;
        const Finding f = compare(x, a[j]);
        open |= f.outcome == Outcome::kUndecided;
        proved_apart &= f.outcome == Outcome::kDifferent && f.proved;
        if (f.outcome != Outcome::kEqual) continue;
        used[j] = matched = true;
        all.proved = all.proved && f.proved;
      }
      if (!matched && open) return {Outcome::kUndecided, false, "members"};
      if (!matched) return different("members", proved_apart && all.proved);
    }
    return all;
  }

  // A name that a value may be given to: x, f(x), P(A), m + n, \angle ABC, a/b. f(3) has a number, 2x is none.
  static bool is_name(const Item& i) {
    const std::size_t count = i.tree->children(i.node).size();
    switch (kind(i)) {
      case NodeKind::kSymbol: return true;
      case NodeKind::kReciprocal: return is_name(child(i, 0));
      case NodeKind::kBracketed:  // (x, y) = (3, 4)
        for (std::size_t k = 0; k < count; ++k) {
          if (kind(child(i, k)) != NodeKind::kSymbol) return false;
        }
        return true;
      case NodeKind::kSum:
      case NodeKind::kProduct:
        for (std::size_t k = 0; k < count; ++k) {
          const Item part = child(i, k);
          const bool argument = k > 0 && kind(i) == NodeKind::kProduct && part.tree->nodes[part.node].grouped &&
                                kind(part) == NodeKind::kNumber;
          if (!argument && !is_name(part)) return false;
        }
        return kind(child(i, 0)) != NodeKind::kReciprocal;
      default: return false;
    }
  }

  // From "x = value", "x in set" or "x -> value" the right side; from equal constants "4\sqrt2 = \sqrt{32}" the last.
  bool unwrap(Item& i) {
    const std::string& letters = i.tree->name(i.node);
    const std::size_t last = letters.size();
    std::size_t from = 0;
    if (is_name(child(i, 0)) && (letters[0] == '=' || ((letters[0] == 'i' || letters[0] == 't') && last == 1))) from = 1;
    for (std::size_t k = from; k < last; ++k) {
      if (letters[k] != '=') return false;
      if (is_name(child(i, k)) || compare(child(i, k), child(i, k + 1)).outcome != Outcome::kEqual) return false;
    }
    i = child(i, last);
    return kind(i) != NodeKind::kRelation;
  }

  // x = 3, 3 = x
  static bool is_solution(const std::vector<Item>& sides) {
    for (const std::size_t k : {0, 1}) {
      if (kind(sides[k]) == NodeKind::kSymbol && !contains(sides[1 - k], NodeKind::kSymbol)) return true;
    }
    return false;
  }

  static char turned(char c) {
    switch (c) {
      case '<': return '>';
      case '>': return '<';
      case 'l': return 'g';
      case 'g': return 'l';
      default: return c;
    }
  }

  Finding relations(const Item& g, const Item& a) {
    const std::string &x = g.tree->name(g.node), &y = a.tree->name(a.node);
    if (x.size() != y.size()) return different("relation");
    const std::vector<Item> gs = parts(g), as = parts(a);
    if (x == y) {
      const Finding f = in_order(gs, as);
      if (f.outcome == Outcome::kEqual) return f;
    }
    std::string back(y.rbegin(), y.rend());
    for (char& c : back) c = turned(c);
    if (x == back) {
      const Finding f = in_order(gs, {as.rbegin(), as.rend()});
      if (f.outcome == Outcome::kEqual) return f;
    }
    if (x.size() != 1 || !contains(g, NodeKind::kSymbol) || !contains(a, NodeKind::kSymbol)) return different("relation");
    if (std::string_view("it").find(x[0]) != std::string_view::npos || (x[0] == '=') != (y[0] == '=') ||
        (x[0] == '!') != (y[0] == '!'))
      return different("relation");
    for (const Item* side : {&gs[0], &gs[1], &as[0], &as[1]}) {
      if (!is_scalar(kind(*side)) || has_pm(*side)) return different("relation");
    }
    // 2x = 6 is no answer where the gold is x = 3: it may be the problem's own line.
    if (x == "=" && is_solution(gs) && !is_solution(as)) return different("relation");
    int sign = 0;
    const Finding f = compare_up_to_factor(gs[0], gs[1], as[0], as[1], sign, budget_);
    if (f.outcome != Outcome::kEqual) return f;
    return (sign > 0 ? y[0] : turned(y[0])) == x[0] ? f : different("direction");
  }

  const CheckOptions& options_;
  Budget& budget_;
};

}  // namespace

Finding compare_shapes(const Tree& gold, const Tree& answer, const CheckOptions& options, Budget& budget) {
  return Comparer(options, budget).compare({&gold, gold.root}, {&answer, answer.root});
}

}  // namespace r1::math
