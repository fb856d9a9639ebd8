#include "narrows/ops/einsum.h"

#include <nanobind/stl/string.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

std::vector<array> read_operands(const char* op, const nb::args& args) {
  std::vector<array> operands;
  for (nb::handle item : args) {
    operands.push_back(to_operand(op, item));
  }
  return operands;
}

void bind_einsum(nb::module_& m) {
  define<"einsum(subscripts: str, *operands: array, stream: StreamOrDevice = None) -> array">(
      m,
      [](const std::string& subscripts, const nb::args& operands, const StreamArg& s) {
        return einsum(subscripts, read_operands("einsum", operands), s);
      },
      R"(Sums of products in Einstein's notation.

      Each operand's dimensions get letters. Dimensions whose letter is not on the right of "->" are
      summed over; a letter that comes twice in one operand is its diagonal. "..." stands for any
      dimensions, which broadcast. Without "->" the right has "..." and, sorted, the letters that come
      once. Operands are contracted two at a time, by `matmul()`, each time those that cost least.

      Args:
        subscripts: As in "ij,jk->ik". Blanks do not count.
        *operands: Arrays, one for each part between commas.

      Returns:
        An array with the dimensions that the right side names, of the common dtype.

      Raises:
        ValueError: For other subscripts, and for sizes of one letter that differ and are not 1.

      Example:
        >>> mx.einsum("ij,j->i", mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([1.0, 10.0]))
        array([21, 43], dtype=float32)
      )");
  define<"einsum_path(subscripts: str, *operands: array) -> tuple[list[tuple[int, ...]], str]">(
      m,
      [](const std::string& subscripts, const nb::args& operands) {
        const EinsumPath path = einsum_path(subscripts, read_operands("einsum_path", operands));
        nb::list steps;
        for (const std::vector<int>& step : path.steps) {
          nb::list operands_of_step;
          for (const int operand : step) {
            operands_of_step.append(operand);
          }
          steps.append(nb::tuple(operands_of_step));
        }
        return nb::make_tuple(steps, path.text);
      },
      R"(The order in which `einsum()` contracts its operands.

      Args:
        subscripts: As for `einsum()`.
        *operands: Arrays, one for each part between commas.

      Returns:
        The operands of each step, which leave the list while the result is put at its end; and a text
        with the numbers of operations.

      Raises:
        ValueError: As for `einsum()`.

      Example:
        >>> a, b, c = mx.ones((3, 2)), mx.ones((2, 3)), mx.ones((3, 2))
        >>> mx.einsum_path("ij,jk,kl->il", a, b, c)[0]
        [(1, 2), (0, 1)]
      )");
}

const Binding binding{&bind_einsum};

} // namespace
} // namespace narrows::python
