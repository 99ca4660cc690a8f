#include "rewards/math/proof.h"

#include <algorithm>
#include <string>
#include <vector>

#include "rewards/math/exact.h"
#include "rewards/math/exact_proof.h"

namespace r1::math {

#ifdef R1_CALCIUM
namespace {

constexpr std::size_t kMaxSteps = 160, kMaxSymbols = 6;
constexpr std::size_t kMaxBits = 1024;  // of a rational number

std::optional<R1ProofOp> op_of(Function f) {
  switch (f) {
    case Function::kExp: return R1_PROOF_EXP;
    case Function::kSin: return R1_PROOF_SIN;
    case Function::kCos: return R1_PROOF_COS;
    case Function::kTan: return R1_PROOF_TAN;
    case Function::kArcsin: return R1_PROOF_ARCSIN;
    case Function::kArccos: return R1_PROOF_ARCCOS;
    case Function::kArctan: return R1_PROOF_ARCTAN;
    case Function::kAbs: return R1_PROOF_ABS;
    default: return std::nullopt;
  }
}

// Writes a tree as steps. Every rational subtree becomes one number.
class Writer {
 public:
  explicit Writer(Budget& budget) : budget_(budget) {}

  bool write(const Item& i) {
    const Node& node = i.tree->nodes[i.node];
    if (const auto q = exact_value(*i.tree, i.node, i.pm_sign, budget_)) return number(*q);
    const auto kid = [&](std::size_t k) { return Item{i.tree, i.tree->children(i.node)[k], i.pm_sign}; };
    switch (node.kind) {
      case NodeKind::kSymbol: return symbol(i.tree->name(i.node));
      case NodeKind::kConstant:
        if (node.op == static_cast<int>(Constant::kInfinity)) return false;
        return step(node.op == static_cast<int>(Constant::kPi)  ? R1_PROOF_PI
                    : node.op == static_cast<int>(Constant::kE) ? R1_PROOF_E
                                                                : R1_PROOF_I);
      case NodeKind::kSum:
      case NodeKind::kProduct:
        for (std::size_t k = 0; k < node.count; ++k) {
          if (!write(kid(k)) || (k > 0 && !step(node.kind == NodeKind::kSum ? R1_PROOF_ADD : R1_PROOF_MUL))) return false;
        }
        return true;
      case NodeKind::kNegation: return write(kid(0)) && step(R1_PROOF_NEG);
      case NodeKind::kReciprocal: return write(kid(0)) && step(R1_PROOF_INV);
      case NodeKind::kPower:
        // e^x by its own step: Calcium has no other way to say it.
        if (is_e(kid(0))) return write(kid(1)) && step(R1_PROOF_EXP);
        return write(kid(0)) && write(kid(1)) && step(R1_PROOF_POW);
      case NodeKind::kPercent: return write(kid(0)) && number(mpq_class(1, 100)) && step(R1_PROOF_MUL);
      case NodeKind::kPlusMinus:
        return write(kid(0)) && write(kid(1)) && ((i.pm_sign > 0) != (node.data == 1) || step(R1_PROOF_NEG)) && step(R1_PROOF_ADD);
      case NodeKind::kCall: return call(static_cast<Function>(node.op), node.count, kid);
      default: return false;
    }
  }

  bool step(R1ProofOp op, int argument = 0) {
    steps_.push_back({op, argument, nullptr});
    return steps_.size() <= kMaxSteps;
  }

  int zero() {
    std::size_t next = 0;  // the numbers lie still only now
    for (R1ProofStep& s : steps_) {
      if (s.op == R1_PROOF_NUMBER) s.number = numbers_[next++].get_mpq_t();
    }
    return r1_prove_zero(steps_.data(), static_cast<int>(steps_.size()), static_cast<int>(symbols_.size()));
  }

 private:
  static bool is_e(const Item& i) {
    const Node& n = i.tree->nodes[i.node];
    return n.kind == NodeKind::kConstant && n.op == static_cast<int>(Constant::kE);
  }
  bool number(const mpq_class& q) {
    if (mpz_sizeinbase(q.get_num_mpz_t(), 2) + mpz_sizeinbase(q.get_den_mpz_t(), 2) > kMaxBits) return false;
    numbers_.push_back(q);
    return step(R1_PROOF_NUMBER);
  }
  bool symbol(const std::string& name) {
    const auto at = std::find(symbols_.begin(), symbols_.end(), name);
    const auto index = static_cast<int>(at - symbols_.begin());
    if (at == symbols_.end()) symbols_.push_back(name);
    return symbols_.size() <= kMaxSymbols && step(R1_PROOF_SYMBOL, index);
  }

  template <class Kid>
  bool call(Function f, std::size_t count, const Kid& kid) {
    if (f == Function::kSqrt) return write(kid(0)) && step(R1_PROOF_ROOT, 2);
    if (f == Function::kRoot) {
      const Item degree = kid(1);
      const auto n = exact_value(*degree.tree, degree.node, degree.pm_sign, budget_);
      return n && n->get_den() == 1 && *n >= 1 && *n <= 64 && write(kid(0)) &&
             step(R1_PROOF_ROOT, static_cast<int>(n->get_num().get_si()));
    }
    if (f == Function::kDegrees)
      return write(kid(0)) && number(mpq_class(1, 180)) && step(R1_PROOF_MUL) && step(R1_PROOF_PI) && step(R1_PROOF_MUL);
    if (f == Function::kLog) {
      if (!write(kid(0)) || !step(R1_PROOF_LOG)) return false;
      if (count < 2) return true;
      return write(kid(1)) && step(R1_PROOF_LOG) && step(R1_PROOF_INV) && step(R1_PROOF_MUL);
    }
    const auto op = op_of(f);
    return op && write(kid(0)) && step(*op);
  }

  Budget& budget_;
  std::vector<R1ProofStep> steps_;
  std::vector<mpq_class> numbers_;
  std::vector<std::string> symbols_;
};

}  // namespace

bool can_prove() { return true; }

std::optional<bool> prove_equal(const Item& a, const Item& b, Budget& budget) {
  Writer writer(budget);
  if (!writer.write(a) || !writer.write(b) || !writer.step(R1_PROOF_NEG) || !writer.step(R1_PROOF_ADD)) return std::nullopt;
  const int zero = writer.zero();
  return zero < 0 ? std::nullopt : std::optional<bool>(zero == 1);
}

#else

bool can_prove() { return false; }
std::optional<bool> prove_equal(const Item&, const Item&, Budget&) { return std::nullopt; }

#endif

}  // namespace r1::math
