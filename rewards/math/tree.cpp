#include "rewards/math/tree.h"

#include "rewards/math/parse_tables.h"

namespace r1::math {
namespace {

class Printer {
 public:
  explicit Printer(const Tree& tree) : t_(tree) {}

  std::string run() {
    print(t_.root);
    return out_.size() > 220 ? out_.substr(0, 200) + "..." : out_;
  }

 private:
  void list(std::uint32_t n, std::string_view between) {
    bool first = true;
    for (const std::uint32_t k : t_.children(n)) {
      if (!first) out_ += between;
      first = false;
      print(k);
      if (out_.size() > 220) return;
    }
  }
  void wrapped(std::uint32_t n, std::string_view open, std::string_view between, std::string_view close) {
    out_ += open;
    list(n, between);
    out_ += close;
  }

  void print(std::uint32_t n) {
    if (out_.size() > 220) return;
    const Node& node = t_.nodes[n];
    switch (node.kind) {
      case NodeKind::kNumber: out_ += t_.numbers[node.data].value.get_str(); return;
      case NodeKind::kSymbol: out_ += t_.name(n); return;
      case NodeKind::kBased:
        out_ += t_.numbers[t_.nodes[t_.children(n)[0]].data].value.get_num().get_str(static_cast<int>(node.data));
        out_ += "_" + std::to_string(node.data);
        return;
      case NodeKind::kUnit: return wrapped(n, "", "", " " + t_.name(n));
      case NodeKind::kConstant: {
        static constexpr std::string_view kNames[] = {"pi", "e", "i", "infinity"};
        out_ += kNames[node.op];
        return;
      }
      case NodeKind::kSum: return wrapped(n, "(", " + ", ")");
      case NodeKind::kProduct: return list(n, "*");
      case NodeKind::kNegation: return wrapped(n, "-", "", "");
      case NodeKind::kReciprocal: return wrapped(n, "1/(", "", ")");
      case NodeKind::kPower: return wrapped(n, "", "^", "");
      case NodeKind::kCall:
        out_ += function_name(static_cast<Function>(node.op));
        return wrapped(n, "(", ", ", ")");
      case NodeKind::kPlusMinus: return wrapped(n, "(", node.data ? " -+ " : " +- ", ")");
      case NodeKind::kPercent: return wrapped(n, "", "", "%");
      case NodeKind::kRelation: {
        const std::string& letters = t_.name(n);
        for (std::uint32_t i = 0; i < node.count; ++i) {
          if (i > 0) out_ += relation_text(letters[i - 1]);
          print(t_.children(n)[i]);
        }
        return;
      }
      case NodeKind::kBracketed: return wrapped(n, t_.name(n).substr(0, 1), ", ", t_.name(n).substr(1));
      case NodeKind::kSet: return wrapped(n, "{", ", ", "}");
      case NodeKind::kList: return list(n, ", ");
      case NodeKind::kUnion: return list(n, " u ");
      case NodeKind::kRatio: return list(n, ":");
      case NodeKind::kMatrix: return wrapped(n, "matrix(", ", ", ")");
    }
  }
  static std::string_view relation_text(char c) {
    switch (c) {
      case '!': return " != ";
      case 'l': return " <= ";
      case 'g': return " >= ";
      case 'i': return " in ";
      case 't': return " -> ";
      case '<': return " < ";
      case '>': return " > ";
      default: return " = ";
    }
  }

  const Tree& t_;
  std::string out_;
};

}  // namespace

std::string to_string(const Tree& tree) { return tree.nodes.empty() ? "" : Printer(tree).run(); }

}  // namespace r1::math
