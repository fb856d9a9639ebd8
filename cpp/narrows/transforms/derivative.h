// Derivatives of functions, backwards (vjp) and forwards (jvp).
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "narrows/record/array.h"

namespace narrows {

// A function that transformations can be applied to. It must compute its results from its
// arguments with operations of this library.
using Function = std::function<std::vector<array>(const std::vector<array>&)>;

// The function's outputs at `primals`, and the cotangents of the primals. `cotangents` gets the
// outputs and returns theirs: of the same shapes and dtypes, or an empty handle for zeros.
std::pair<std::vector<array>, std::vector<array>> vjp(
    const Function& function, const std::vector<array>& primals, const Function& cotangents);

// The same for given cotangents. ValueError if their number or a shape is not the outputs'. Nothing
// is computed before the arrays of `after` are there.
std::pair<std::vector<array>, std::vector<array>> vjp(
    const Function& function,
    const std::vector<array>& primals,
    const std::vector<array>& cotangents,
    const std::vector<array>& after = {});

// The function's outputs at `primals`, and how they change when the primals change by `tangents`.
// ValueError if the number of tangents or a shape is not the primals'.
std::pair<std::vector<array>, std::vector<array>> jvp(
    const Function& function,
    const std::vector<array>& primals,
    const std::vector<array>& tangents);

} // namespace narrows
