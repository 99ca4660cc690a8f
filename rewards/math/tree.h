// An answer as a tree: what the parser makes and the checker compares. All nodes live in one arena.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rewards/literal.h"

namespace r1::math {

enum class NodeKind : unsigned char {
  kNumber,      // data: index into Tree::numbers
  kSymbol,      // data: name
  kConstant,    // op: Constant
  kSum,         // n terms
  kProduct,     // n factors
  kNegation,    // 1
  kReciprocal,  // 1; a/b is the product of a and the reciprocal of b, so long quotients stay flat
  kPower,       // base, exponent
  kCall,        // op: Function; 1 or 2 arguments
  kPlusMinus,   // a, b: a + b and a - b; data 1 = minus-plus
  kPercent,     // 1
  kUnit,        // 1; data: canonical name of the unit (rewards/units.h)
  kBased,       // 1, a number; data: the base it was written in, not 10
  kRelation,    // n operands; data: name with n - 1 letters, see RelationLetter
  kBracketed,   // n entries; data: name "()", "[)", "<>"...: tuples, points, intervals, vectors
  kSet,         // n members
  kList,        // n entries that stand free: "1, 2"; op 1: "1 or 2"
  kUnion,       // n parts
  kRatio,       // a : b : c
  kMatrix,      // n entries row by row; data: columns
};

enum class Constant : unsigned char { kPi, kE, kI, kInfinity };

enum class Function : unsigned char {
  kSqrt, kRoot,  // kRoot: argument, degree
  kExp, kLog,    // kLog: argument, and base if one was written
  kSin, kCos, kTan, kCot, kSec, kCsc, kArcsin, kArccos, kArctan, kSinh, kCosh, kTanh,
  kAbs, kFloor, kCeil, kFactorial, kBinomial, kDegrees, kGcd, kLcm, kMax, kMin
};

// Letters in the name of a kRelation: = ! (not equal) < > l (at most) g (at least) i (element of) t (maps to).

struct Node {
  NodeKind kind = NodeKind::kNumber;
  std::uint8_t op = 0;
  bool grouped = false;  // stood in ( ) or { }
  std::uint32_t data = 0;
  std::uint32_t first = 0, count = 0;  // children: Tree::kids[first .. first + count)
};

struct Tree {
  std::vector<Node> nodes;
  std::vector<std::uint32_t> kids;
  std::vector<Literal> numbers;
  std::vector<std::string> names;
  std::uint32_t root = 0;

  std::span<const std::uint32_t> children(std::uint32_t n) const {
    return std::span(kids).subspan(nodes[n].first, nodes[n].count);
  }
  const std::string& name(std::uint32_t n) const { return names[nodes[n].data]; }
};

// One line for people: "(sqrt(2) + 1) / 3", "{1, 2}". Cut after about 200 characters.
std::string to_string(const Tree& tree);

}  // namespace r1::math
