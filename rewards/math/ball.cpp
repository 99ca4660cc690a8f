#include "rewards/math/ball.h"

#include <string_view>

#include <flint/fmpq.h>

namespace r1::math {
namespace {

constexpr int kMaxExponentBits = 40;  // larger exponents are not evaluated: power towers end here

void set_symbol(Ball& out, std::string_view name, int point, long bits) {
  std::uint64_t h = 1469598103934665603u + static_cast<std::uint64_t>(point) * 0x9E3779B97F4A7C15u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  h ^= h >> 29;
  h *= 0xBF58476D1CE4E5B9u;
  h ^= h >> 32;
  const long top = static_cast<long>(h % 8009) + 601;  // between 0.12 and 1.7
  const bool negative = point == 2 || (point > 2 && (h >> 40) % 2 == 1);
  acb_set_si(out.get(), negative ? -top : top);
  acb_div_ui(out.get(), out.get(), 5003, bits);
}

class Evaluator {
 public:
  Evaluator(const Tree& t, int point, int sign, long bits, Budget& budget)
      : t_(t), point_(point), sign_(sign), bits_(bits), budget_(budget) {}

  void value(std::uint32_t n, Ball& out) {
    if (!budget_.spend(1)) return acb_indeterminate(out.get());
    const Node& node = t_.nodes[n];
    const auto kids = t_.children(n);
    Ball b;
    switch (node.kind) {
      case NodeKind::kNumber: return set_rational(out, t_.numbers[node.data].value.get_mpq_t(), bits_);
      case NodeKind::kSymbol: return set_symbol(out, t_.name(n), point_, bits_);
      case NodeKind::kConstant: return constant(static_cast<Constant>(node.op), out);
      case NodeKind::kSum:
        acb_zero(out.get());
        for (const auto k : kids) value(k, b), acb_add(out.get(), out.get(), b.get(), bits_);
        return;
      case NodeKind::kProduct:
        acb_one(out.get());
        for (const auto k : kids) value(k, b), acb_mul(out.get(), out.get(), b.get(), bits_);
        return;
      case NodeKind::kNegation: value(kids[0], out); return acb_neg(out.get(), out.get());
      case NodeKind::kBased: return value(kids[0], out);
      case NodeKind::kPercent: value(kids[0], out); return acb_div_ui(out.get(), out.get(), 100, bits_);
      case NodeKind::kReciprocal: value(kids[0], out); return acb_inv(out.get(), out.get(), bits_);
      case NodeKind::kPower:
        value(kids[0], out);
        value(kids[1], b);
        return power(out, b);
      case NodeKind::kPlusMinus:
        value(kids[0], out);
        value(kids[1], b);
        if ((sign_ > 0) == (node.data == 1)) acb_neg(b.get(), b.get());
        return acb_add(out.get(), out.get(), b.get(), bits_);
      case NodeKind::kCall: return call(static_cast<Function>(node.op), kids, out);
      default: return acb_indeterminate(out.get());
    }
  }

 private:
  void constant(Constant c, Ball& out) {
    switch (c) {
      case Constant::kPi: return acb_const_pi(out.get(), bits_);
      case Constant::kE:
        acb_one(out.get());
        return acb_exp(out.get(), out.get(), bits_);
      case Constant::kI: return acb_onei(out.get());
      case Constant::kInfinity: return acb_indeterminate(out.get());
    }
  }

  static bool huge(const Ball& b) {
    if (!acb_is_finite(b.get())) return true;
    mag_t m;
    mag_init(m);
    acb_get_mag(m, b.get());
    const bool out = mag_cmp_2exp_si(m, kMaxExponentBits) > 0;
    mag_clear(m);
    return out;
  }

  void power(Ball& base, const Ball& exponent) {
    if (huge(exponent) || !acb_is_finite(base.get())) return acb_indeterminate(base.get());
    if (acb_is_zero(base.get()) && acb_contains_zero(exponent.get())) return acb_indeterminate(base.get());  // 0^0
    acb_pow(base.get(), base.get(), exponent.get(), bits_);
  }

  void root(Ball& v, const Ball& degree) {
    Ball inverse;
    acb_inv(inverse.get(), degree.get(), bits_);
    const bool odd = acb_is_int(degree.get()) && !acb_is_int_2exp_si(degree.get(), 1);
    if (odd && acb_is_real(v.get()) && arb_is_negative(acb_realref(v.get()))) {
      acb_neg(v.get(), v.get());
      power(v, inverse);
      return acb_neg(v.get(), v.get());
    }
    power(v, inverse);
  }

  void call(Function f, std::span<const std::uint32_t> kids, Ball& v) {
    value(kids[0], v);
    if (huge(v) && f != Function::kSqrt && f != Function::kRoot && f != Function::kLog && f != Function::kAbs)
      return acb_indeterminate(v.get());
    acb_ptr a = v.get();
    switch (f) {
      case Function::kSqrt: return acb_sqrt(a, a, bits_);
      case Function::kRoot: {
        Ball degree;
        value(kids[1], degree);
        return root(v, degree);
      }
      case Function::kExp: return acb_exp(a, a, bits_);
      case Function::kLog: {
        acb_log(a, a, bits_);
        if (kids.size() < 2) return;
        Ball base;
        value(kids[1], base);
        acb_log(base.get(), base.get(), bits_);
        return acb_div(a, a, base.get(), bits_);
      }
      case Function::kSin: return acb_sin(a, a, bits_);
      case Function::kCos: return acb_cos(a, a, bits_);
      case Function::kTan: return acb_tan(a, a, bits_);
      case Function::kCot: return acb_cot(a, a, bits_);
      case Function::kSec: return acb_sec(a, a, bits_);
      case Function::kCsc: return acb_csc(a, a, bits_);
      case Function::kArcsin: return acb_asin(a, a, bits_);
      case Function::kArccos: return acb_acos(a, a, bits_);
      case Function::kArctan: return acb_atan(a, a, bits_);
      case Function::kSinh: return acb_sinh(a, a, bits_);
      case Function::kCosh: return acb_cosh(a, a, bits_);
      case Function::kTanh: return acb_tanh(a, a, bits_);
      case Function::kDegrees: {
        Ball pi;
        acb_const_pi(pi.get(), bits_);
        acb_mul(a, a, pi.get(), bits_);
        return acb_div_ui(a, a, 180, bits_);
      }
      case Function::kAbs: {
        Ball size;
        acb_abs(acb_realref(size.get()), a, bits_);
        return acb_set(a, size.get());
      }
      case Function::kFloor:
      case Function::kCeil:
        if (!acb_is_real(a)) return acb_indeterminate(a);
        if (f == Function::kFloor) arb_floor(acb_realref(a), acb_realref(a), bits_);
        else arb_ceil(acb_realref(a), acb_realref(a), bits_);
        return;
      case Function::kFactorial:
        acb_add_ui(a, a, 1, bits_);
        if (!budget_.spend(200)) return acb_indeterminate(a);
        return acb_gamma(a, a, bits_);
      default: return acb_indeterminate(a);  // gcd and the like: of numbers only
    }
  }

  const Tree& t_;
  int point_, sign_;
  long bits_;
  Budget& budget_;
};

}  // namespace

void set_rational(Ball& out, mpq_srcptr value, long bits) {
  if (mpz_cmp_ui(mpq_denref(value), 1) == 0 && mpz_fits_slong_p(mpq_numref(value))) {  // most numbers
    acb_set_si(out.get(), mpz_get_si(mpq_numref(value)));
    return;
  }
  fmpq_t q;
  fmpq_init(q);
  fmpq_set_mpq(q, value);
  acb_set_fmpq(out.get(), q, bits);
  fmpq_clear(q);
}

void evaluate(const Tree& tree, std::uint32_t node, int point, int pm_sign, long bits, Budget& budget, Ball& out) {
  Evaluator(tree, point, pm_sign, bits, budget).value(node, out);
}

}  // namespace r1::math
