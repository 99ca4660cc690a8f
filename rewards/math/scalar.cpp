#include "rewards/math/scalar.h"

#include <cstdlib>
#include <optional>

#include "rewards/math/ball.h"
#include "rewards/math/exact.h"
#include "rewards/math/proof.h"

namespace r1::math {
namespace {

constexpr Finding kUndecided{Outcome::kUndecided, false, "not_decided"};

// The literal of "0.333", "-0.333" or "33.3%", and what its last place is worth.
struct Decimal {
  const Literal* literal = nullptr;
  bool percent = false;
};
Decimal decimal_of(const Item& a) {
  Decimal out;
  const Node* n = &a.tree->nodes[a.node];
  while (n->kind == NodeKind::kNegation || n->kind == NodeKind::kPercent) {
    out.percent = out.percent || n->kind == NodeKind::kPercent;
    n = &a.tree->nodes[a.tree->kids[n->first]];
  }
  if (n->kind == NodeKind::kNumber && a.tree->numbers[n->data].decimal) out.literal = &a.tree->numbers[n->data];
  return out;
}
bool has_decimal(const Item& a) {
  const Node& n = a.tree->nodes[a.node];
  if (n.kind == NodeKind::kNumber) return a.tree->numbers[n.data].decimal;
  for (const auto k : a.tree->children(a.node)) {
    if (has_decimal({a.tree, k, a.pm_sign})) return true;
  }
  return false;
}

using Exact = std::optional<mpq_class>;

// Is |a - b| proved to be at most half a unit in the last place of the decimal? x, y: exact values, where known.
bool is_rounding(const Item& a, const Exact& x, const Item& b, const Exact& y, const CheckOptions& options,
                 Budget& budget) {
  if (options.rounding_digits <= 0) return false;
  const Decimal da = decimal_of(a), db = decimal_of(b);
  if ((da.literal != nullptr) == (db.literal != nullptr)) return false;
  if (has_decimal(da.literal ? b : a)) return false;  // two roundings prove nothing
  const Decimal& d = da.literal ? da : db;
  if (d.literal->significant < options.rounding_digits) return false;
  mpz_class scale;
  mpz_ui_pow_ui(scale.get_mpz_t(), 10, static_cast<unsigned long>(std::abs(d.literal->places)));
  mpq_class half_place = d.literal->places < 0 ? mpq_class(scale) : mpq_class(mpz_class(1), scale);
  half_place /= d.percent ? 200 : 2;
  if (x && y) return abs(*x - *y) <= half_place;
  Ball u, v, half;
  const long bits = 64 + 4L * d.literal->significant;
  evaluate(*a.tree, a.node, 0, a.pm_sign, bits, budget, u);
  evaluate(*b.tree, b.node, 0, b.pm_sign, bits, budget, v);
  acb_sub(u.get(), u.get(), v.get(), bits);
  if (!acb_is_finite(u.get()) || !arb_contains_zero(acb_imagref(u.get()))) return false;
  set_rational(half, half_place.get_mpq_t(), bits);
  arb_abs(acb_realref(u.get()), acb_realref(u.get()));
  return arb_le(acb_realref(u.get()), acb_realref(half.get()));
}

enum class AtPoint { kApart, kTogether, kOpen, kOutside };

// Do two balls at the same point hold one value? kTogether: they agree to more than 100 bits.
AtPoint meet(Ball& x, Ball& y, bool zero_known, long bits) {
  if (!acb_is_finite(x.get()) || !acb_is_finite(y.get())) return AtPoint::kOutside;
  if (!acb_overlaps(x.get(), y.get())) return AtPoint::kApart;
  if (acb_rel_accuracy_bits(x.get()) > 100 && acb_rel_accuracy_bits(y.get()) > 100) return AtPoint::kTogether;
  // A true zero never has relative accuracy: ask for a very small ball around it.
  acb_sub(x.get(), x.get(), y.get(), bits);
  mag_t m;
  mag_init(m);
  acb_get_mag(m, x.get());
  const bool tiny = bits >= 512 && mag_cmp_2exp_si(m, -380) < 0;
  mag_clear(m);
  return zero_known && tiny ? AtPoint::kTogether : AtPoint::kOpen;
}

AtPoint at_point(const Item& a, const Item& b, int point, bool zero_known, Budget& budget) {
  AtPoint seen = AtPoint::kOutside;
  for (long bits = 128; bits <= 512; bits *= 2) {  // 64 bits part balls hardly faster, and never show equality
    Ball x, y;
    evaluate(*a.tree, a.node, point, a.pm_sign, bits, budget, x);
    evaluate(*b.tree, b.node, point, b.pm_sign, bits, budget, y);
    // Behind a sign change only real values count: sqrt(1/n) and 1/sqrt(n) differ by the branch, not in their domain.
    if (point >= 2 && (!arb_contains_zero(acb_imagref(x.get())) || !arb_contains_zero(acb_imagref(y.get()))))
      return AtPoint::kOutside;
    seen = meet(x, y, zero_known, bits);
    if (seen == AtPoint::kApart || seen == AtPoint::kTogether || budget.spent()) break;
    if (seen == AtPoint::kOutside) break;
  }
  return seen;
}

}  // namespace

bool contains(const Item& a, NodeKind kind, int op) {
  const Node& n = a.tree->nodes[a.node];
  if (n.kind == kind && (op < 0 || n.op == op)) return true;
  for (const auto k : a.tree->children(a.node)) {
    if (contains({a.tree, k, a.pm_sign}, kind, op)) return true;
  }
  return false;
}

bool same_form(const Item& a, const Item& b) {
  const Node& x = a.tree->nodes[a.node];
  const Node& y = b.tree->nodes[b.node];
  if (x.kind != y.kind || x.op != y.op || x.count != y.count) return false;
  switch (x.kind) {
    case NodeKind::kNumber:
      if (a.tree->numbers[x.data].value != b.tree->numbers[y.data].value) return false;
      break;
    case NodeKind::kSymbol:
    case NodeKind::kUnit:
    case NodeKind::kRelation:
    case NodeKind::kBracketed:
      if (a.tree->name(a.node) != b.tree->name(b.node)) return false;
      break;
    case NodeKind::kPlusMinus:
      if (a.pm_sign != b.pm_sign) return false;
      [[fallthrough]];
    default:
      if (x.data != y.data) return false;
  }
  for (std::uint32_t i = 0; i < x.count; ++i) {
    if (!same_form({a.tree, a.tree->children(a.node)[i], a.pm_sign},
                   {b.tree, b.tree->children(b.node)[i], b.pm_sign}))
      return false;
  }
  return true;
}

Finding compare_scalars(const Item& a, const Item& b, const CheckOptions& options, Budget& budget) {
  if (same_form(a, b)) return {Outcome::kEqual, true, "same_form"};
  const auto x = exact_value(*a.tree, a.node, a.pm_sign, budget);
  const auto y = exact_value(*b.tree, b.node, b.pm_sign, budget);
  if (x && y && *x == *y) return {Outcome::kEqual, true, "exact"};
  const bool symbols = contains(a, NodeKind::kSymbol) || contains(b, NodeKind::kSymbol);
  if (!symbols && is_rounding(a, x, b, y, options, budget)) return {Outcome::kEqual, true, "rounded"};
  if (x && y) return {Outcome::kDifferent, true, "value"};
  const int infinity = static_cast<int>(Constant::kInfinity);
  if (contains(a, NodeKind::kConstant, infinity) || contains(b, NodeKind::kConstant, infinity))
    return {Outcome::kDifferent, false, "infinity"};
  const bool zero_known = (x && *x == 0) || (y && *y == 0) || symbols;
  int together = 0, positive = 0;
  // All positive, all negative, mixed; more where those are outside the domain.
  static constexpr int kOrder[kPoints] = {0, 2, 3, 1, 4};
  for (const int point : kOrder) {
    if (together == (symbols ? 3 : 1) || (!symbols && point != 0)) break;
    switch (at_point(a, b, point, zero_known, budget)) {
      case AtPoint::kApart: return {Outcome::kDifferent, true, "value"};
      case AtPoint::kTogether:
        ++together;
        positive += point < 2;
        break;
      case AtPoint::kOpen: return kUndecided;
      case AtPoint::kOutside: break;
    }
    if (budget.spent()) return {Outcome::kUndecided, false, "budget"};
  }
  if (symbols ? together < 2 || positive == 0 : together == 0) return kUndecided;
  const auto proof = options.prove ? prove_equal(a, b, budget) : std::nullopt;
  if (!proof) return {Outcome::kEqual, false, "value"};
  return {*proof ? Outcome::kEqual : Outcome::kDifferent, true, "proof"};
}

std::optional<int> order(const Item& a, const Item& b, Budget& budget) {
  const Exact x = exact_value(*a.tree, a.node, a.pm_sign, budget), y = exact_value(*b.tree, b.node, b.pm_sign, budget);
  if (x && y) return cmp(*x, *y);
  if (same_form(a, b)) return 0;
  if (contains(a, NodeKind::kSymbol) || contains(b, NodeKind::kSymbol)) return std::nullopt;
  for (long bits = 64; bits <= 256; bits *= 2) {
    Ball u, v;
    evaluate(*a.tree, a.node, 0, a.pm_sign, bits, budget, u);
    evaluate(*b.tree, b.node, 0, b.pm_sign, bits, budget, v);
    if (!arb_contains_zero(acb_imagref(u.get())) || !arb_contains_zero(acb_imagref(v.get()))) return std::nullopt;
    if (arb_lt(acb_realref(u.get()), acb_realref(v.get()))) return -1;
    if (arb_gt(acb_realref(u.get()), acb_realref(v.get()))) return 1;
  }
  return std::nullopt;
}

Finding compare_quotients(const Item& a, const Item& b, const Item& c, const Item& d, Budget& budget) {
  const Item* items[] = {&a, &b, &c, &d};
  Exact v[4];
  for (int i = 0; i < 4; ++i) v[i] = exact_value(*items[i]->tree, items[i]->node, items[i]->pm_sign, budget);
  if (v[0] && v[1] && v[2] && v[3])
    return {*v[0] * *v[3] == *v[2] * *v[1] ? Outcome::kEqual : Outcome::kDifferent, true, "ratio"};
  int together = 0;
  for (int point = 0; point < 2; ++point) {
    Ball x[4];
    for (int i = 0; i < 4; ++i) evaluate(*items[i]->tree, items[i]->node, point, items[i]->pm_sign, 256, budget, x[i]);
    acb_mul(x[0].get(), x[0].get(), x[3].get(), 256);
    acb_mul(x[2].get(), x[2].get(), x[1].get(), 256);
    switch (meet(x[0], x[2], false, 256)) {
      case AtPoint::kApart: return {Outcome::kDifferent, true, "ratio"};
      case AtPoint::kTogether: ++together; break;
      default: break;
    }
  }
  return together == 2 ? Finding{Outcome::kEqual, false, "ratio"} : kUndecided;
}

Finding compare_up_to_factor(const Item& a, const Item& b, const Item& c, const Item& d, int& sign, Budget& budget) {
  const long bits = 256;
  std::optional<bool> positive;
  Ball f0, g0;
  bool have_first = false;
  int seen = 0;
  for (int point = 0; point < kPoints; ++point) {
    Ball f, g, t;
    evaluate(*a.tree, a.node, point, a.pm_sign, bits, budget, f);
    evaluate(*b.tree, b.node, point, b.pm_sign, bits, budget, t);
    acb_sub(f.get(), f.get(), t.get(), bits);
    evaluate(*c.tree, c.node, point, c.pm_sign, bits, budget, g);
    evaluate(*d.tree, d.node, point, d.pm_sign, bits, budget, t);
    acb_sub(g.get(), g.get(), t.get(), bits);
    if (budget.spent()) return {Outcome::kUndecided, false, "budget"};
    if (!acb_is_finite(f.get()) || !acb_is_finite(g.get())) continue;
    if (acb_contains_zero(f.get()) || acb_contains_zero(g.get())) {
      // Zero by accident at a random point: one of them vanishes everywhere, or the other is different.
      if (!acb_contains_zero(f.get()) || !acb_contains_zero(g.get()))
        return {Outcome::kDifferent, false, "equation"};
      continue;
    }
    if (point >= 2 && (!arb_contains_zero(acb_imagref(f.get())) || !arb_contains_zero(acb_imagref(g.get())))) continue;
    if (!have_first) {
      acb_set(f0.get(), f.get());
      acb_set(g0.get(), g.get());
      have_first = true;
      acb_div(t.get(), f.get(), g.get(), bits);
      if (arb_is_positive(acb_realref(t.get()))) positive = true;
      else if (arb_is_negative(acb_realref(t.get()))) positive = false;
      continue;
    }
    acb_mul(f.get(), f.get(), g0.get(), bits);  // f / g = f0 / g0
    acb_mul(g.get(), g.get(), f0.get(), bits);
    if (!acb_overlaps(f.get(), g.get())) return {Outcome::kDifferent, false, "equation"};
    if (acb_rel_accuracy_bits(f.get()) > 100 && acb_rel_accuracy_bits(g.get()) > 100) ++seen;
  }
  if (!have_first || seen == 0 || !positive) return kUndecided;
  sign = *positive ? 1 : -1;
  return {Outcome::kEqual, false, "equation"};
}

}  // namespace r1::math
