#include "narrows/ops/window.h"

#include "bindings/arguments.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

using Window = array (*)(int64_t, StreamOrDevice);

auto window(Window make) {
  return [make](int64_t m, const StreamArg& s) { return make(m, s); };
}

void bind_windows(nb::module_& m) {
  define<"bartlett(M: int, *, stream: StreamOrDevice = None) -> array">(
      m,
      window(bartlett),
      R"(The Bartlett window: a triangle.

      Args:
        M: How many elements.

      Returns:
        float32, of shape (M,); (0,) for M below 1. `[1]` for M = 1.

      Example:
        >>> mx.bartlett(5)
        array([0, 0.5, 1, 0.5, 0], dtype=float32)
      )");
  define<"hanning(M: int, *, stream: StreamOrDevice = None) -> array">(
      m,
      window(hanning),
      R"(The Hann window: `0.5 - 0.5 * cos(2 * pi * n / (M - 1))`.

      Args:
        M: How many elements.

      Returns:
        float32, of shape (M,); (0,) for M below 1. `[1]` for M = 1.

      Example:
        >>> mx.hanning(5)
        array([0, 0.5, 1, 0.5, 0], dtype=float32)
      )");
  define<"hamming(M: int, *, stream: StreamOrDevice = None) -> array">(
      m,
      window(hamming),
      R"(The Hamming window: `0.54 - 0.46 * cos(2 * pi * n / (M - 1))`.

      Args:
        M: How many elements.

      Returns:
        float32, of shape (M,); (0,) for M below 1. `[1]` for M = 1.

      Example:
        >>> mx.hamming(3)
        array([0.08, 1, 0.08], dtype=float32)
      )");
  define<"blackman(M: int, *, stream: StreamOrDevice = None) -> array">(
      m,
      window(blackman),
      R"(The Blackman window: `0.42 - 0.5 * cos(x) + 0.08 * cos(2 * x)`, x = 2 pi n / (M - 1).

      Args:
        M: How many elements.

      Returns:
        float32, of shape (M,); (0,) for M below 1. `[1]` for M = 1.

      Example:
        >>> mx.blackman(5)[1:4]
        array([0.34, 1, 0.34], dtype=float32)
      )");
}

const Binding binding{&bind_windows};

} // namespace
} // namespace narrows::python
