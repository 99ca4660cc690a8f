// Sets of real numbers written as intervals, unions and inequalities, in one form.
#pragma once

#include <optional>
#include <vector>

#include "rewards/math/scalar.h"

namespace r1::math {

struct Interval {
  struct End {
    bool infinite = false, open = false;
    Item at;  // unless infinite
  };
  End low, high;
};

// (a, b], unions, \mathbb{R}, members {a} of a union, "a < x \le b", "x \ne a", "x < a or x > b", "x \in ...": disjoint
// intervals in ascending order, those that overlap or touch merged. nullopt: something else, or an order that could not
// be proved.
std::optional<std::vector<Interval>> intervals_of(const Item& item, Budget& budget);

}  // namespace r1::math
