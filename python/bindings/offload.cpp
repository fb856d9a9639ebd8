#include "bindings/define.h"
#include "narrows/runtime/host_copies.h"

namespace narrows::python {
namespace {

void bind_offload(nb::module_& m) {
  define<"set_offload_limit(bytes: int) -> int">(
      m,
      &set_host_copy_limit,
      R"(Sets how much of the host's memory copies of values may take, as budgets with `offload` make them.

      A device may be able to copy beside its other work if the host's memory is page-locked: that memory
      cannot be used for anything else. A plan that needs more computes values again instead.

      Args:
        bytes: The limit in bytes. At first it is NARROWS_OFFLOAD_LIMIT of the environment, or half of
          the machine's memory.

      Returns:
        The previous limit.

      Raises:
        ValueError: If it is negative.

      Example:
        >>> previous = mx.set_offload_limit(1 << 30)
        >>> mx.set_offload_limit(previous)
        1073741824
      )");
}

const Binding binding{&bind_offload};

} // namespace
} // namespace narrows::python
