#include "narrows/ops/pooling.h"

#include <nanobind/stl/optional.h>

#include "bindings/arguments.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

void bind_pooling(nb::module_& m) {
  define<
      "max_pool(a: array, /, kernel_size: Sequence[int], stride: Sequence[int] | None = None, "
      "padding: Sequence[int] | None = None, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         const Shape& kernel_size,
         const std::optional<Shape>& stride,
         const std::optional<Shape>& padding,
         const StreamArg& s) {
        const Shape none(kernel_size.size(), 0);
        return max_pool(a, kernel_size, stride.value_or(kernel_size), padding.value_or(none), s);
      },
      R"(The largest value in each window, of each channel; NaN if there is one.

      Several largest values of a window share its cotangent. MLX has no such function; its layers
      are made of views and max().

      Args:
        a: An array of shape (batch, places..., channels), with 1 to 3 dimensions of places.
        kernel_size: The size of the windows, for each dimension of places.
        stride: How far apart windows begin; None for `kernel_size`.
        padding: How many places are added at each end, which are never the largest; None for none.

      Returns:
        The shape (batch, windows..., channels); of a's dtype.

      Raises:
        ValueError: If the numbers are not as many as dimensions, or a size or stride is below 1.

      Example:
        >>> mx.max_pool(mx.arange(6.0).reshape(1, 6, 1), [3]).flatten()
        array([2, 5], dtype=float32)
      )");
}

const Binding binding{&bind_pooling};

} // namespace
} // namespace narrows::python
