#include "rewards/math/parse_tables.h"

#include <algorithm>

namespace r1::math {
namespace {

struct NamedFunction {
  std::string_view name;
  Function function;
};
constexpr NamedFunction kFunctions[] = {
    {"exp", Function::kExp},       {"log", Function::kLog},       {"ln", Function::kLog},
    {"lg", Function::kLog},
    {"sin", Function::kSin},       {"cos", Function::kCos},       {"tan", Function::kTan},
    {"cot", Function::kCot},       {"sec", Function::kSec},       {"csc", Function::kCsc},
    {"arcsin", Function::kArcsin}, {"arccos", Function::kArccos}, {"arctan", Function::kArctan},
    {"sinh", Function::kSinh},     {"cosh", Function::kCosh},     {"tanh", Function::kTanh},
    {"abs", Function::kAbs},       {"floor", Function::kFloor},   {"ceil", Function::kCeil},
    {"gcd", Function::kGcd},       {"lcm", Function::kLcm},       {"max", Function::kMax},
    {"min", Function::kMin},       {"sqrt", Function::kSqrt},     {"root", Function::kRoot},
    {"factorial", Function::kFactorial}, {"binom", Function::kBinomial}, {"degrees", Function::kDegrees},
};

constexpr std::string_view kSymbols[] = {
    "alpha", "beta",  "gamma", "delta",   "epsilon",    "zeta",     "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu",    "xi",    "rho",   "sigma",   "tau",        "upsilon",  "phi", "chi",   "psi",  "omega", "Gamma",  "Delta",
    "Theta", "Sigma", "Phi",   "Psi",     "Omega",      "varphi",   "vartheta",     "varepsilon",    "ell",
    "N",     "Z",     "Q",     "R",       "C",          "angle",    "triangle", "measuredangle", "hbar", "nabla"};
constexpr std::string_view kAccents[] = {"vec",   "overline",  "hat",      "bar",           "widehat",
                                         "tilde", "widetilde", "overrightarrow", "overleftrightarrow", "underline"};
constexpr std::string_view kAtoms[] = {"frac",  "sqrt", "cbrt",   "binom", "dbinom", "tbinom", "pi",       "infty",
                                       "lfloor", "lceil", "lvert", "langle", "begin",  "ldots",  "cdots", "dots",
                                       "emptyset", "varnothing"};

template <std::size_t N>
bool contains(const std::string_view (&list)[N], std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

}  // namespace

std::optional<Function> function_named(std::string_view command) {
  for (const NamedFunction& f : kFunctions) {
    // These have a notation of their own.
    if (f.function == Function::kSqrt || f.function == Function::kRoot || f.function >= Function::kFactorial)
      if (f.function != Function::kGcd && f.function != Function::kLcm && f.function != Function::kMax &&
          f.function != Function::kMin)
        continue;
    if (f.name == command) return f.function;
  }
  return std::nullopt;
}

std::string_view function_name(Function function) {
  for (const NamedFunction& f : kFunctions) {
    if (f.function == function && f.name != "ln") return f.name;
  }
  return "?";
}

std::optional<Function> inverse_function(Function f) {
  switch (f) {
    case Function::kSin: return Function::kArcsin;
    case Function::kCos: return Function::kArccos;
    case Function::kTan: return Function::kArctan;
    default: return std::nullopt;
  }
}

bool takes_arguments(Function f, std::size_t count) {
  switch (f) {
    case Function::kGcd:
    case Function::kLcm:
    case Function::kMax:
    case Function::kMin: return count >= 1;
    case Function::kLog: return count == 1 || count == 2;
    case Function::kRoot:
    case Function::kBinomial: return count == 2;
    default: return count == 1;
  }
}

bool is_symbol_command(std::string_view command) { return contains(kSymbols, command); }
bool is_accent(std::string_view command) { return contains(kAccents, command); }

bool is_atom_command(std::string_view command) {
  return contains(kAtoms, command) || contains(kSymbols, command) || contains(kAccents, command) ||
         function_named(command).has_value();
}

char relation_letter(const Token& t) {
  if (t.is("=")) return '=';
  if (t.is("!=") || t.is("ne") || t.is("neq")) return '!';
  if (t.is("<") || t.is("lt")) return '<';
  if (t.is(">") || t.is("gt")) return '>';
  if (t.is("<=") || t.is("le") || t.is("leq") || t.is("leqslant")) return 'l';
  if (t.is(">=") || t.is("ge") || t.is("geq") || t.is("geqslant")) return 'g';
  if (t.is("in")) return 'i';
  if (t.is("mapsto") || t.is("to") || t.is("rightarrow")) return 't';
  return 0;
}

}  // namespace r1::math
