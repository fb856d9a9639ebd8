#include "narrows/runtime/kernel_call.h"

#include "narrows/core/errors.h"

#define FAMILY(name, Params, inputs, outputs, gpu) struct Params;
#include "metal_kernels/families.def"

namespace narrows {
namespace {

constexpr int several = -1; // as the table has it

struct OperandCounts {
  int inputs;
  int outputs;
};
constexpr OperandCounts kOperands[] = {
#define FAMILY(name, Params, inputs, outputs, gpu) {inputs, outputs},
#include "metal_kernels/families.def"
};
constexpr std::string_view kParams[] = {
#define FAMILY(name, Params, inputs, outputs, gpu) type_name<Params>(),
#include "metal_kernels/families.def"
};

} // namespace

void KernelCall::check(std::string_view params_type) const {
  const OperandCounts& counts = kOperands[static_cast<size_t>(kernel.family)];
  const bool fits = counts.inputs == several
                        ? operands.size() > static_cast<size_t>(counts.outputs)
                        : operands.size() == static_cast<size_t>(counts.inputs + counts.outputs);
  if (!fits || operands.size() > kMostOperands) {
    fail<std::runtime_error>(
        "[",
        name_of(kernel),
        "] a call with ",
        operands.size(),
        " operands, expected ",
        counts.inputs == several ? "more than " : "",
        counts.inputs == several ? counts.outputs : counts.inputs + counts.outputs,
        ".");
  }
  if (params_type != kParams[static_cast<size_t>(kernel.family)]) {
    fail<std::runtime_error>(
        "[", name_of(kernel), "] a call with the parameters of another family.");
  }
}

} // namespace narrows
