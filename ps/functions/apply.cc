// Function apply: changes every row that exists, element by element. The rule's state stays as it is.
//   op        scale (x * by), add (x + by), set (to), clip (into low .. high), abs, sqrt, square, exp, log
//   by, to, low, high   the op's numbers, finite; low and high: one of them may be missing
//   columns   which; all where they are not given
// An element for which the op gives no finite float (the root of a negative number) stays as it was.
#include <cmath>
#include <limits>
#include <utility>

#include "ps/function.h"

namespace troupe {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();

template <class Op>
class Apply final : public ChangingFunction {
 public:
  Apply(Op op, std::vector<uint32_t> columns) : op_(std::move(op)), columns_(std::move(columns)) {}
  void Change(const TableRows& rows, double* values) const override {
    for (size_t i = 0; i < rows.n; ++i, values += rows.width)
      for (const uint32_t column : columns_) values[column] = op_(values[column]);
  }

 private:
  const Op op_;
  const std::vector<uint32_t> columns_;
};

template <class Op>
std::unique_ptr<ChangingFunction> Make(ArgumentReader& arguments, Op op) {
  return std::make_unique<Apply<Op>>(std::move(op), arguments.Columns());
}

std::unique_ptr<ChangingFunction> MakeOp(ArgumentReader& arguments) {
  const std::string op = arguments.Word("op", {"scale", "add", "set", "clip", "abs", "sqrt", "square", "exp", "log"}, true);
  if (op == "scale") return Make(arguments, [by = arguments.Number("by", std::nullopt, -kFloatMax, kFloatMax)](double x) { return x * by; });
  if (op == "add") return Make(arguments, [by = arguments.Number("by", std::nullopt, -kFloatMax, kFloatMax)](double x) { return x + by; });
  if (op == "set") return Make(arguments, [to = arguments.Number("to", std::nullopt, -kFloatMax, kFloatMax)](double) { return to; });
  if (op == "clip") {
    const double low = arguments.Number("low", -kFloatMax, -kFloatMax, kFloatMax), high = arguments.Number("high", kFloatMax, low, kFloatMax);
    return Make(arguments, [low, high](double x) { return x < low ? low : x > high ? high : x; });
  }
  if (op == "abs") return Make(arguments, [](double x) { return std::fabs(x); });
  if (op == "sqrt") return Make(arguments, [](double x) { return std::sqrt(x); });
  if (op == "square") return Make(arguments, [](double x) { return x * x; });
  if (op == "exp") return Make(arguments, [](double x) { return std::exp(x); });
  return Make(arguments, [](double x) { return std::log(x); });
}

const RegisterFunction registration({.name = "apply", .change = MakeOp});

}   // namespace
}   // namespace troupe
