#include "rewards/math/exact.h"

namespace r1::math {
namespace {

using Value = std::optional<mpq_class>;

std::size_t bits(const mpq_class& q) {
  return mpz_sizeinbase(q.get_num_mpz_t(), 2) + mpz_sizeinbase(q.get_den_mpz_t(), 2);
}
bool is_whole(const mpq_class& q) { return q.get_den() == 1; }

mpz_class floor_of(const mpq_class& q) {
  mpz_class out;
  mpz_fdiv_q(out.get_mpz_t(), q.get_num_mpz_t(), q.get_den_mpz_t());
  return out;
}

// q^(1/n) where it is rational; of a negative q for odd n, the real root.
Value exact_root(const mpq_class& q, unsigned long n) {
  if (n == 0 || n > 64 || (q < 0 && n % 2 == 0)) return std::nullopt;
  mpz_class top, bottom;
  if (!mpz_root(top.get_mpz_t(), q.get_num_mpz_t(), n) || !mpz_root(bottom.get_mpz_t(), q.get_den_mpz_t(), n))
    return std::nullopt;
  return mpq_class(top, bottom);
}

Value exact_power(const mpq_class& base, const mpq_class& exponent) {
  if (abs(exponent.get_num()) > 100000 || exponent.get_den() > 64) return std::nullopt;
  const long n = exponent.get_num().get_si();
  if (base == 0) return n > 0 ? Value(0) : std::nullopt;  // 0^0 is left open
  mpq_class root = base;
  if (!is_whole(exponent)) {
    if (base < 0) return std::nullopt;  // the principal value is not real
    const Value r = exact_root(base, exponent.get_den().get_ui());
    if (!r) return std::nullopt;
    root = *r;
  }
  const auto size = static_cast<unsigned long>(n < 0 ? -n : n);
  if (root != 1 && root != -1 && bits(root) * size > 2 * kMaxExactBits) return std::nullopt;
  mpq_class out;
  mpz_pow_ui(out.get_num_mpz_t(), root.get_num_mpz_t(), size);
  mpz_pow_ui(out.get_den_mpz_t(), root.get_den_mpz_t(), size);
  if (n < 0) out = 1 / out;
  return out;
}

class Evaluator {
 public:
  Evaluator(const Tree& tree, int pm_sign, Budget& budget) : t_(tree), sign_(pm_sign), budget_(budget) {}

  Value value(std::uint32_t n) {
    if (!budget_.spend(1)) return std::nullopt;
    Value v = compute(n);
    if (!v || bits(*v) <= 64) return v;
    // Long numbers cost more: one operation for each 64 words.
    if (bits(*v) > 2 * kMaxExactBits || !budget_.spend(static_cast<long>(bits(*v) / 4096))) return std::nullopt;
    return v;
  }

 private:
  Value compute(std::uint32_t n) {
    const Node& node = t_.nodes[n];
    const auto kids = t_.children(n);
    switch (node.kind) {
      case NodeKind::kNumber: return t_.numbers[node.data].value;
      case NodeKind::kSum: {
        mpq_class sum;
        for (const auto k : kids) {
          const Value v = value(k);
          if (!v) return std::nullopt;
          sum += *v;
        }
        return sum;
      }
      case NodeKind::kProduct: {
        mpq_class product = 1;
        for (const auto k : kids) {
          const Value v = value(k);
          if (!v || bits(product) > 2 * kMaxExactBits) return std::nullopt;
          product *= *v;
        }
        return product;
      }
      case NodeKind::kNegation: {
        const Value v = value(kids[0]);
        return v ? Value(mpq_class(-*v)) : v;
      }
      case NodeKind::kBased: return value(kids[0]);
      case NodeKind::kPercent: {
        const Value v = value(kids[0]);
        return v ? Value(mpq_class(*v / 100)) : v;
      }
      case NodeKind::kReciprocal: {
        const Value v = value(kids[0]);
        return v && *v != 0 ? Value(mpq_class(1 / *v)) : std::nullopt;
      }
      case NodeKind::kPower: {
        const Value base = value(kids[0]);
        if (!base) return std::nullopt;
        const Value exponent = value(kids[1]);
        return exponent ? exact_power(*base, *exponent) : std::nullopt;
      }
      case NodeKind::kPlusMinus: {
        const Value a = value(kids[0]), b = value(kids[1]);
        if (!a || !b) return std::nullopt;
        return (sign_ > 0) != (node.data == 1) ? Value(mpq_class(*a + *b)) : Value(mpq_class(*a - *b));
      }
      case NodeKind::kCall: return call(static_cast<Function>(node.op), kids);
      default: return std::nullopt;
    }
  }

  Value call(Function f, std::span<const std::uint32_t> kids) {
    const Value a = value(kids[0]);
    if (!a) return std::nullopt;
    switch (f) {
      case Function::kSqrt: return exact_root(*a, 2);
      case Function::kAbs: return mpq_class(abs(*a));
      case Function::kFloor: return mpq_class(floor_of(*a));
      case Function::kCeil: return mpq_class(-floor_of(-*a));
      case Function::kFactorial: {
        if (!is_whole(*a) || *a < 0 || *a > 3000) return std::nullopt;
        const unsigned long n = a->get_num().get_ui();
        if (!budget_.spend(static_cast<long>(n / 16))) return std::nullopt;
        mpz_class out;
        mpz_fac_ui(out.get_mpz_t(), n);
        return mpq_class(out);
      }
      case Function::kRoot: {
        const Value n = value(kids[1]);
        if (!n || !is_whole(*n) || *n < 1 || *n > 64) return std::nullopt;
        return exact_root(*a, n->get_num().get_ui());
      }
      case Function::kBinomial: {
        const Value k = value(kids[1]);
        if (!k || !is_whole(*a) || !is_whole(*k) || *a < 0 || *a > 3000 || *k < 0) return std::nullopt;
        if (!budget_.spend(100)) return std::nullopt;
        mpz_class out;
        if (*k <= *a) mpz_bin_uiui(out.get_mpz_t(), a->get_num().get_ui(), k->get_num().get_ui());
        return mpq_class(out);
      }
      case Function::kGcd:
      case Function::kLcm:
      case Function::kMax:
      case Function::kMin: return fold(f, *a, kids);
      default: return std::nullopt;
    }
  }

  Value fold(Function f, mpq_class a, std::span<const std::uint32_t> kids) {
    for (const auto k : kids.subspan(1)) {
      const Value b = value(k);
      if (!b) return std::nullopt;
      if (f == Function::kMax) {
        if (*b > a) a = *b;
      } else if (f == Function::kMin) {
        if (*b < a) a = *b;
      } else if (!is_whole(a) || !is_whole(*b)) {
        return std::nullopt;
      } else {
        a = f == Function::kGcd ? mpq_class(gcd(a.get_num(), b->get_num())) : mpq_class(lcm(a.get_num(), b->get_num()));
      }
    }
    return a;
  }

  const Tree& t_;
  int sign_;
  Budget& budget_;
};

}  // namespace

std::optional<mpq_class> exact_value(const Tree& tree, std::uint32_t node, int pm_sign, Budget& budget) {
  return Evaluator(tree, pm_sign, budget).value(node);
}

}  // namespace r1::math
