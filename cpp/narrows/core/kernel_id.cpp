#include "narrows/core/kernel_id.h"

#include <array>

namespace narrows {
namespace {

constexpr std::string_view kElementwiseNames[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) #name,
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};
constexpr ResultRule kResultRules[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  ResultRule::result,
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};
constexpr std::array<std::string_view, kReduceOpCount> kReduceNames = {
    "sum", "prod", "min", "max", "all", "any"};
constexpr std::array<std::string_view, 2> kArgReduceNames = {"argmin", "argmax"};
constexpr std::array<std::string_view, kScanOpCount> kScanNames = {
    "sum", "prod", "min", "max", "logaddexp"};
constexpr std::string_view kFamilyNames[] = {
    "elementwise",
    "select",
    "cast",
    "fill",
    "arange",
    "reduce",
    "arg_reduce",
    "scan",
    "softmax",
    "logsumexp",
    "random_bits"};

std::string_view op_name(const KernelId& id) {
  switch (id.family) {
    case KernelFamily::elementwise:
      return kElementwiseNames[id.op];
    case KernelFamily::reduce:
      return kReduceNames[id.op];
    case KernelFamily::arg_reduce:
      return kArgReduceNames[id.op];
    case KernelFamily::scan:
      return kScanNames[id.op];
    default:
      return {};
  }
}

} // namespace

Dtype result_dtype(ElementwiseOp op, Dtype operands) {
  switch (kResultRules[static_cast<size_t>(op)]) {
    case ResultRule::boolean:
      return Dtype::bool_;
    case ResultRule::real:
      return is_complex(operands) ? Dtype::float32 : operands;
    case ResultRule::same:
      break;
  }
  return operands;
}

std::string name_of(const KernelId& id) {
  std::string name(kFamilyNames[static_cast<size_t>(id.family)]);
  for (std::string_view part : {op_name(id), name_of(id.in), name_of(id.out)}) {
    if (!part.empty()) {
      name += "_";
      name += part;
    }
  }
  return name;
}

} // namespace narrows
