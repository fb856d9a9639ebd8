// Custom functions: functions with rules of their own for transformations.
#pragma once

#include "narrows/transforms/vmap.h"

namespace narrows {

// The rules that a custom function may have. Where a rule is missing, the transformation uses the
// operations that the function recorded.
struct CustomRules {
  // (primals, cotangents of the outputs, outputs) -> cotangents of the primals. Missing cotangents
  // of outputs are given as zeros.
  std::function<std::vector<array>(
      const std::vector<array>&, const std::vector<array>&, const std::vector<array>&)>
      vjp;
  // (primals, tangents of the primals) -> tangents of the outputs. An empty handle among the
  // tangents stands for zeros.
  std::function<std::vector<array>(const std::vector<array>&, const std::vector<array>&)> jvp;
  // (inputs, whether each is batched) -> outputs. A batched input has the batch as its first
  // dimension.
  std::function<std::vector<Batched>(const std::vector<array>&, const std::vector<bool>&)> vmap;
};

// The function's outputs at `inputs`. Transformations apply the rules to them.
std::vector<array> custom_function(
    const Function& function, const std::vector<array>& inputs, const CustomRules& rules);

// The function's outputs at `inputs`. The derivative computes the function again instead of keeping
// its intermediate values. Random numbers that it draws without a key are the same again.
std::vector<array> checkpoint(const Function& function, const std::vector<array>& inputs);

} // namespace narrows
