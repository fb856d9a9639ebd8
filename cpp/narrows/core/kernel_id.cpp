#include "narrows/core/kernel_families.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace narrows {
namespace {

constexpr ResultRule kResultRules[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  ResultRule::result,
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};

struct Family {
  std::string_view name;
  std::vector<std::string_view> operations;
};

// The names in "sum, prod, min".
std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> names;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    names.push_back(list.substr(begin, end - begin));
    begin = end + 2;
  }
  return names;
}

const std::vector<Family>& families() {
  static const std::vector<Family> table = [] {
    std::vector<Family> all = {
#define FAMILY(name, Params, inputs, outputs, gpu) {#name, {}},
#define FAMILY_OF(name, Params, inputs, outputs, gpu, Operations, ...) {#name, split(#__VA_ARGS__)},
#include "metal_kernels/families.def"
    };
    all[static_cast<size_t>(KernelFamily::elementwise)].operations = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) #name,
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
    };
    return all;
  }();
  return table;
}

const Family& info_of(KernelFamily family) {
  return families()[static_cast<size_t>(family)];
}

} // namespace

int family_count() {
  return static_cast<int>(families().size());
}

KernelId copy_kernel(Dtype in, Dtype out) {
  return {KernelFamily::cast, 0, in, out};
}

std::string_view name_of(KernelFamily family) {
  return info_of(family).name;
}

int operation_count(KernelFamily family) {
  return static_cast<int>(info_of(family).operations.size());
}

std::string_view operation_name(KernelFamily family, uint8_t op) {
  const std::vector<std::string_view>& names = info_of(family).operations;
  return op < names.size() ? names[op] : std::string_view();
}

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
  std::string name(name_of(id.family));
  for (std::string_view part :
       {operation_name(id.family, id.op), name_of(id.in), name_of(id.out)}) {
    if (!part.empty()) {
      name += "_";
      name += part;
    }
  }
  return name;
}

} // namespace narrows
