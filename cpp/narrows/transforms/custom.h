// Functions with rules of their own for transformations.
#pragma once

#include "narrows/transforms/vmap.h"

namespace narrows {

// What a custom function may bring. Where a rule is missing, the transformation goes through the
// operations that the function recorded.
struct CustomRules {
  // (primals, cotangents of the outputs, outputs) -> cotangents of the primals. The outputs' are
  // zeros where there are none.
  std::function<std::vector<array>(
      const std::vector<array>&, const std::vector<array>&, const std::vector<array>&)>
      vjp;
  // (primals, tangents of the primals) -> tangents of the outputs. An empty handle among the
  // tangents stands for zeros.
  std::function<std::vector<array>(const std::vector<array>&, const std::vector<array>&)> jvp;
  // (inputs with the batch in front where they are batched, whether they are) -> outputs.
  std::function<std::vector<Batched>(const std::vector<array>&, const std::vector<bool>&)> vmap;
};

// The function's outputs at `inputs`, to which transformations apply the rules.
std::vector<array> custom_function(
    const Function& function, const std::vector<array>& inputs, const CustomRules& rules);

// The function's outputs at `inputs`; its derivative computes the function again instead of
// keeping what it computed. What it draws without a key is the same again.
std::vector<array> checkpoint(const Function& function, const std::vector<array>& inputs);

} // namespace narrows
