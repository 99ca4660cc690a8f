#include "rewards/math/exact_proof.h"

#include <stdlib.h>

#if __has_include(<calcium/ca.h>)
#include <calcium/ca.h>
#include <calcium/ca_vec.h>
#else /* FLINT 3 holds Calcium */
#include <flint/ca.h>
#include <flint/ca_vec.h>
#include <flint/fmpz_mpoly_q.h>
#endif

enum {
  kStack = 48,
  kDegree = 36,        /* of an algebraic number's polynomial: four different square roots need 16 */
  kPrecision = 2048,   /* bits */
  kPower = 64,         /* largest whole exponent of what is no rational number */
  kRootDegree = 12,
  kTerms = 100,        /* of a polynomial */
  kCoefficient = 4096  /* bits */
};

/* --- numbers */

/* The whole number that x is, if it is one within the limit. */
static int small_integer(const ca_t x, long limit, long* out, ca_ctx_t ctx) {
  fmpz_t n;
  int ok;
  if (ca_check_is_integer(x, ctx) != T_TRUE) return 0;
  fmpz_init(n);
  ok = ca_get_fmpz(n, x, ctx) && fmpz_cmp_si(n, limit) <= 0 && fmpz_cmp_si(n, -limit) >= 0;
  if (ok) *out = fmpz_get_si(n);
  fmpz_clear(n);
  return ok;
}

static int take_root(ca_t x, int degree, ca_ctx_t ctx) {
  fmpq_t power;
  truth_t negative = T_FALSE;
  if (degree < 1 || degree > kRootDegree) return 0;
  if (degree % 2 == 1) negative = ca_check_is_negative_real(x, ctx);
  if (negative == T_UNKNOWN) return 0;
  if (negative == T_TRUE) ca_neg(x, x, ctx);
  fmpq_init(power);
  fmpq_set_si(power, 1, (ulong)degree);
  ca_pow_fmpq(x, x, power, ctx);
  fmpq_clear(power);
  if (negative == T_TRUE) ca_neg(x, x, ctx);
  return 1;
}

static int take_power(ca_t x, const ca_t y, ca_ctx_t ctx) {
  fmpq_t q;
  long n = 0;
  int ok = 0;
  if (small_integer(y, kPower, &n, ctx)) {
    ca_pow_si(x, x, n, ctx);
    return 1;
  }
  fmpq_init(q);
  if (ca_check_is_rational(y, ctx) == T_TRUE && ca_get_fmpq(q, y, ctx)) {
    if (fmpz_cmp_si(fmpq_denref(q), kRootDegree) <= 0 && fmpz_cmp_si(fmpq_numref(q), kPower) <= 0 &&
        fmpz_cmp_si(fmpq_numref(q), -kPower) >= 0) {
      ca_pow_fmpq(x, x, q, ctx);
      ok = 1;
    }
  } else if (ca_check_is_zero(x, ctx) == T_FALSE) {
    ca_pow(x, x, y, ctx);
    ok = 1;
  }
  fmpq_clear(q);
  return ok;
}

/* One step on numbers; `top` counts those on the stack. */
static int step_number(ca_ptr s, int* top, const struct R1ProofStep* step, ca_ctx_t ctx) {
  fmpq_t q;
  const int takes = step->op <= R1_PROOF_I ? 0 : step->op == R1_PROOF_ADD || step->op == R1_PROOF_MUL || step->op == R1_PROOF_POW ? 2 : 1;
  ca_ptr x;
  if (*top < takes || (takes == 0 && *top >= kStack)) return 0;
  *top += 1 - takes;
  x = s + (*top - 1);
  switch (step->op) {
    case R1_PROOF_NUMBER:
      fmpq_init(q);
      fmpq_set_mpq(q, step->number);
      ca_set_fmpq(x, q, ctx);
      fmpq_clear(q);
      return 1;
    case R1_PROOF_PI: ca_pi(x, ctx); return 1;
    case R1_PROOF_E:
      ca_one(x, ctx);
      ca_exp(x, x, ctx);
      return 1;
    case R1_PROOF_I: ca_i(x, ctx); return 1;
    case R1_PROOF_ADD: ca_add(x, x, x + 1, ctx); return 1;
    case R1_PROOF_MUL: ca_mul(x, x, x + 1, ctx); return 1;
    case R1_PROOF_NEG: ca_neg(x, x, ctx); return 1;
    case R1_PROOF_INV:
      if (ca_check_is_zero(x, ctx) != T_FALSE) return 0;
      ca_inv(x, x, ctx);
      return 1;
    case R1_PROOF_POW: return take_power(x, x + 1, ctx);
    case R1_PROOF_ROOT: return take_root(x, step->argument, ctx);
    case R1_PROOF_EXP: ca_exp(x, x, ctx); return 1;
    case R1_PROOF_LOG:
      if (ca_check_is_zero(x, ctx) != T_FALSE) return 0;
      ca_log(x, x, ctx);
      return 1;
    case R1_PROOF_SIN: ca_sin_cos(x, NULL, x, ctx); return 1;
    case R1_PROOF_COS: ca_sin_cos(NULL, x, x, ctx); return 1;
    case R1_PROOF_TAN: ca_tan(x, x, ctx); return 1;
    case R1_PROOF_ARCSIN: ca_asin(x, x, ctx); return 1;
    case R1_PROOF_ARCCOS: ca_acos(x, x, ctx); return 1;
    case R1_PROOF_ARCTAN: ca_atan(x, x, ctx); return 1;
    case R1_PROOF_ABS: ca_abs(x, x, ctx); return 1;
    default: return 0;
  }
}

static int prove_number(const struct R1ProofStep* steps, int count) {
  ca_ctx_t ctx;
  ca_ptr stack;
  int top = 0, k, ok = 1, found = -1;
  ca_ctx_init(ctx);
  ca_ctx_set_option(ctx, CA_OPT_QQBAR_DEG_LIMIT, kDegree);
  ca_ctx_set_option(ctx, CA_OPT_PREC_LIMIT, kPrecision);
  stack = _ca_vec_init(kStack, ctx);
  for (k = 0; k < count && ok; ++k) {
    ok = step_number(stack, &top, steps + k, ctx) && ca_check_is_number(stack + (top - 1), ctx) == T_TRUE;
  }
  if (ok && top == 1) {
    const truth_t zero = ca_check_is_zero(stack, ctx);
    found = zero == T_TRUE ? 1 : zero == T_FALSE ? 0 : -1;
  }
  _ca_vec_clear(stack, kStack, ctx);
  ca_ctx_clear(ctx);
  return found;
}

/* --- rational functions */

static int within(const fmpz_mpoly_q_t x, const fmpz_mpoly_ctx_t ctx) {
  const fmpz_mpoly_struct* parts[2];
  int k;
  parts[0] = fmpz_mpoly_q_numref(x);
  parts[1] = fmpz_mpoly_q_denref(x);
  for (k = 0; k < 2; ++k) {
    if (fmpz_mpoly_length(parts[k], ctx) > kTerms || labs(fmpz_mpoly_max_bits(parts[k])) > kCoefficient ||
        !fmpz_mpoly_total_degree_fits_si(parts[k], ctx) || fmpz_mpoly_total_degree_si(parts[k], ctx) > kPower)
      return 0;
  }
  return 1;
}

static int function_power(fmpz_mpoly_q_t x, long n, const fmpz_mpoly_ctx_t ctx) {
  fmpz_mpoly_q_t base;
  int ok = 1;
  if (n < 0) {
    if (fmpz_mpoly_q_is_zero(x, ctx)) return 0;
    fmpz_mpoly_q_inv(x, x, ctx);
    n = -n;
  }
  fmpz_mpoly_q_init(base, ctx);
  fmpz_mpoly_q_set(base, x, ctx);
  fmpz_mpoly_q_one(x, ctx);
  for (; n > 0 && ok; --n) {
    fmpz_mpoly_q_mul(x, x, base, ctx);
    ok = within(x, ctx);
  }
  fmpz_mpoly_q_clear(base, ctx);
  return ok;
}

static int step_function(fmpz_mpoly_q_struct* s, int* top, const struct R1ProofStep* step, long* whole, const fmpz_mpoly_ctx_t ctx) {
  fmpq_t q;
  const int takes = step->op <= R1_PROOF_I ? 0 : step->op == R1_PROOF_ADD || step->op == R1_PROOF_MUL || step->op == R1_PROOF_POW ? 2 : 1;
  fmpz_mpoly_q_struct* x;
  if (*top < takes || (takes == 0 && *top >= kStack)) return 0;
  *top += 1 - takes;
  x = s + (*top - 1);
  switch (step->op) {
    case R1_PROOF_NUMBER:
      *whole = kPower + 1;  /* none */
      if (mpz_cmp_ui(mpq_denref(step->number), 1) == 0 && mpz_cmpabs_ui(mpq_numref(step->number), kPower) <= 0)
        *whole = mpz_get_si(mpq_numref(step->number));
      fmpq_init(q);
      fmpq_set_mpq(q, step->number);
      fmpz_mpoly_q_set_fmpq(x, q, ctx);
      fmpq_clear(q);
      return 1;
    case R1_PROOF_SYMBOL: fmpz_mpoly_q_gen(x, step->argument, ctx); return 1;
    case R1_PROOF_ADD: fmpz_mpoly_q_add(x, x, x + 1, ctx); return 1;
    case R1_PROOF_MUL: fmpz_mpoly_q_mul(x, x, x + 1, ctx); return 1;
    case R1_PROOF_NEG: fmpz_mpoly_q_neg(x, x, ctx); return 1;
    case R1_PROOF_INV:
      if (fmpz_mpoly_q_is_zero(x, ctx)) return 0;
      fmpz_mpoly_q_inv(x, x, ctx);
      return 1;
    case R1_PROOF_POW: return *whole <= kPower && function_power(x, *whole, ctx);
    default: return 0;
  }
}

static int prove_function(const struct R1ProofStep* steps, int count, int symbols) {
  fmpz_mpoly_ctx_t ctx;
  fmpz_mpoly_q_struct stack[kStack];
  long whole = kPower + 1;
  int top = 0, k, ok = 1, found = -1;
  fmpz_mpoly_ctx_init(ctx, symbols, ORD_LEX);
  for (k = 0; k < kStack; ++k) fmpz_mpoly_q_init(stack + k, ctx);
  for (k = 0; k < count && ok; ++k) {
    /* An exponent is the number that was put there by the step before. */
    if (steps[k].op == R1_PROOF_POW && (k == 0 || steps[k - 1].op != R1_PROOF_NUMBER)) ok = 0;
    else ok = step_function(stack, &top, steps + k, &whole, ctx) && within(stack + (top - 1), ctx);
  }
  if (ok && top == 1) found = fmpz_mpoly_q_is_zero(stack, ctx) ? 1 : 0;
  for (k = 0; k < kStack; ++k) fmpz_mpoly_q_clear(stack + k, ctx);
  fmpz_mpoly_ctx_clear(ctx);
  return found;
}

int r1_prove_zero(const struct R1ProofStep* steps, int count, int symbols) {
  return symbols > 0 ? prove_function(steps, count, symbols) : prove_number(steps, count);
}
