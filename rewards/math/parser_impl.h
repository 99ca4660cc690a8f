// The parser's inside: parser.cpp holds lists, relations and arithmetic, parse_atoms.cpp what a factor may be.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/parser.h"
#include "rewards/math/token.h"
#include "rewards/math/tree.h"

namespace r1::math {

// Children of a node under way; few nodes have many, so the first ones need no memory of their own.
class Kids {
 public:
  Kids() = default;
  Kids(std::initializer_list<std::uint32_t> list) {
    for (const std::uint32_t k : list) push_back(k);
  }
  void push_back(std::uint32_t k) {
    if (size_ < kInside) {
      inside_[size_++] = k;
      return;
    }
    if (size_ == kInside) outside_.assign(inside_, inside_ + size_);
    outside_.push_back(k);
    ++size_;
  }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::uint32_t* begin() { return size_ <= kInside ? inside_ : outside_.data(); }
  const std::uint32_t* begin() const { return size_ <= kInside ? inside_ : outside_.data(); }
  const std::uint32_t* end() const { return begin() + size_; }
  std::uint32_t& operator[](std::size_t i) { return begin()[i]; }
  operator std::span<const std::uint32_t>() const { return {begin(), size_}; }

 private:
  static constexpr std::size_t kInside = 6;
  std::uint32_t inside_[kInside];
  std::size_t size_ = 0;
  std::vector<std::uint32_t> outside_;
};

// Every member function reads from the position on and returns a node, 0 after fail(): then the position is the end
// token, at which every loop stops.
class Parser {
 public:
  explicit Parser(const CleanAnswer& answer);
  Parsed run();

 private:
  // --- tokens and nodes
  const Token& peek(std::size_t ahead = 0) const {
    // After fail() nothing but the end is seen, whatever became of the position: every loop stops.
    return tokens_[out_.ok() && at_ + ahead < tokens_.size() ? at_ + ahead : tokens_.size() - 1];
  }
  bool take(std::string_view s) {
    if (!peek().is(s)) return false;
    ++at_;
    return true;
  }
  bool expect(std::string_view s) { return take(s) || (fail("syntax"), false); }
  std::uint32_t fail(std::string_view why);
  bool deeper();  // counts a level; false past kMaxDepth
  std::uint32_t node(NodeKind kind, std::span<const std::uint32_t> kids, int op = 0, std::uint32_t data = 0);
  std::uint32_t node(NodeKind kind, std::initializer_list<std::uint32_t> kids, int op = 0, std::uint32_t data = 0) {
    return node(kind, std::span(kids.begin(), kids.size()), op, data);
  }
  std::uint32_t named(NodeKind kind, std::string name, std::span<const std::uint32_t> kids);
  std::uint32_t call(Function f, std::span<const std::uint32_t> kids) { return node(NodeKind::kCall, kids, static_cast<int>(f)); }
  std::uint32_t call(Function f, std::initializer_list<std::uint32_t> kids) { return node(NodeKind::kCall, kids, static_cast<int>(f)); }
  std::uint32_t number(std::string_view text);
  std::uint32_t group(std::uint32_t n);
  bool has_symbol(std::uint32_t n) const;

  // --- lists, relations, arithmetic
  std::uint32_t items();
  std::uint32_t relation();
  std::uint32_t operand();
  std::uint32_t ratio();
  std::uint32_t united();
  std::uint32_t entry();
  std::uint32_t tail(std::uint32_t value);
  bool ends_entry() const;
  bool starts_unit() const;
  std::uint32_t sum();
  std::uint32_t product();
  std::uint32_t signed_factor();
  std::uint32_t negated(std::uint32_t n);
  bool starts_atom() const;

  // --- atoms
  std::uint32_t power();
  std::uint32_t exponent();
  std::uint32_t atom();
  std::uint32_t symbol(std::string name);
  std::uint32_t accented(std::string_view command);
  std::uint32_t number_atom(std::string_view text);
  std::uint32_t based(std::string_view text);
  std::uint32_t bracket(std::string_view open);
  std::uint32_t bars();
  std::uint32_t argument();
  std::uint32_t command(std::string_view name);
  std::uint32_t function(Function f, std::string_view name);
  std::uint32_t matrix();
  std::uint32_t cases();

  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;  // open | | around the position: there | closes
  Parsed out_;
};

}  // namespace r1::math
