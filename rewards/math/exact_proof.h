/* Exact proofs by Calcium, a C library whose headers C++ does not read: this interface is C. Re-entrant, every call has a
   context of its own; limits are counts, never time. */
#ifndef R1_REWARDS_MATH_EXACT_PROOF_H
#define R1_REWARDS_MATH_EXACT_PROOF_H

#include <gmp.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A program for a stack: each step takes its operands from the top and puts its value there. */
enum R1ProofOp {
  R1_PROOF_NUMBER, /* number */
  R1_PROOF_SYMBOL, /* argument: index of the symbol */
  R1_PROOF_PI,
  R1_PROOF_E,
  R1_PROOF_I,
  R1_PROOF_ADD, /* two operands, as MUL and POW */
  R1_PROOF_MUL,
  R1_PROOF_NEG,
  R1_PROOF_INV,
  R1_PROOF_POW,  /* base, exponent */
  R1_PROOF_ROOT, /* argument: the degree; of a negative number and an odd degree, the real root */
  R1_PROOF_EXP,
  R1_PROOF_LOG,
  R1_PROOF_SIN,
  R1_PROOF_COS,
  R1_PROOF_TAN,
  R1_PROOF_ARCSIN,
  R1_PROOF_ARCCOS,
  R1_PROOF_ARCTAN,
  R1_PROOF_ABS
};
struct R1ProofStep {
  enum R1ProofOp op;
  int argument;
  mpq_srcptr number;
};

/* 1: the value is 0. 0: it is not. -1: open, or past a limit. `symbols`: 0, and the value is a number; else their count,
   and the steps must be rational: NUMBER, SYMBOL, ADD, MUL, NEG, INV, POW with a whole exponent. */
int r1_prove_zero(const struct R1ProofStep* steps, int count, int symbols);

#ifdef __cplusplus
}
#endif
#endif
