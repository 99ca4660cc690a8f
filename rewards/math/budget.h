// How much work one comparison may do, counted in operations and never in time: the verdict is the same on every machine.
#pragma once

namespace r1::math {

class Budget {
 public:
  explicit Budget(long operations) : left_(operations) {}
  bool spend(long operations) { return (left_ -= operations) >= 0; }
  bool spent() const { return left_ < 0; }

 private:
  long left_;
};

}  // namespace r1::math
