// Derivatives of functions: backwards (vjp) and forwards (jvp).
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "narrows/record/array.h"

namespace narrows {

// A function that transformations can be applied to. It must compute its results from its arguments
// by operations of this library.
using Function = std::function<std::vector<array>(const std::vector<array>&)>;

// The function's outputs at `primals`, and the cotangents of the primals. `cotangents` is called
// with the outputs and returns their cotangents: of the same shapes and dtypes, or an empty handle
// for zeros.
std::pair<std::vector<array>, std::vector<array>> vjp(
    const Function& function, const std::vector<array>& primals, const Function& cotangents);

// The same for given cotangents. ValueError if their number or a shape differs from the outputs'.
// Nothing is computed before the arrays of `after`.
std::pair<std::vector<array>, std::vector<array>> vjp(
    const Function& function,
    const std::vector<array>& primals,
    const std::vector<array>& cotangents,
    const std::vector<array>& after = {});

// The function's outputs at `primals`, and their tangents if the primals have these `tangents`.
// ValueError if the number of tangents or a shape differs from the primals'.
std::pair<std::vector<array>, std::vector<array>> jvp(
    const Function& function,
    const std::vector<array>& primals,
    const std::vector<array>& tangents);

} // namespace narrows
