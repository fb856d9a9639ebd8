#include "narrows/runtime/allocator.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

#include <algorithm>
#include <unordered_set>

#include "bindings/define.h"
#include "bindings/tree.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/backend.h"

namespace narrows::python {
namespace {

int64_t to_limit(uint64_t bytes) {
  return static_cast<int64_t>(std::min<uint64_t>(bytes, INT64_MAX));
}

int64_t set_memory_limit_bytes(uint64_t limit, bool strict) {
  return set_memory_limit(to_limit(limit), strict);
}

int64_t buffer_bytes(const nb::args& trees) {
  std::unordered_set<const Buffer*> seen;
  int64_t bytes = 0;
  for (const array& a : arrays_in(trees)) {
    if (!a.is_ready()) {
      fail<ValueError>("[get_array_buffer_size] an array is not evaluated, call eval() first.");
    }
    if (a.buffer() && seen.insert(a.buffer().get()).second) {
      bytes += a.buffer()->bytes;
    }
  }
  return bytes;
}

// The functions of both the module itself and its submodule `metal`.
void bind_counters(nb::module_& m) {
  define<"get_active_memory() -> int">(
      m,
      [] { return get_active_memory(); },
      R"(Bytes in buffers that arrays hold, in the memory of the default device.

      Where a GPU has memory of its own, that and the host's are counted by themselves. All counters
      and limits are of the default device's: `with mx.stream(mx.cpu):` speaks of the host's.

      Returns:
        Bytes, each buffer rounded up as the allocator does it.

      Example:
        >>> before = mx.get_active_memory()
        >>> a = mx.ones(1024)
        >>> mx.eval(a)
        >>> mx.get_active_memory() - before
        4096
      )");
  define<"get_peak_memory() -> int">(
      m,
      [] { return get_peak_memory(); },
      R"(The highest active memory since the start or the last `reset_peak_memory()`.

      Returns:
        Bytes, of the default device's memory.

      Example:
        >>> mx.reset_peak_memory()
        >>> plan = mx.plan(a := mx.ones((100, 100)).sum())
        >>> mx.eval(a)
        >>> mx.get_peak_memory() == plan.predicted_peak
        True
      )");
  define<"reset_peak_memory() -> None">(
      m,
      [] { reset_peak_memory(); },
      R"(Sets the peak of the default device's memory to what is active.

      Example:
        >>> mx.reset_peak_memory()
        >>> mx.get_peak_memory() == mx.get_active_memory()
        True
      )");
  define<"get_cache_memory() -> int">(
      m,
      &get_cache_memory,
      R"(Bytes in freed buffers that are kept for reuse.

      Returns:
        Bytes, of the default device's memory.

      Example:
        >>> mx.clear_cache()
        >>> mx.get_cache_memory()
        0
      )");
  define<"set_cache_limit(limit: int) -> int">(
      m,
      [](uint64_t limit) { return set_cache_limit(to_limit(limit)); },
      R"(Bounds the memory of the default device that is kept for reuse.

      Args:
        limit: Bytes.

      Returns:
        The previous limit, in bytes.

      Example:
        >>> previous = mx.set_cache_limit(1 << 30)
        >>> mx.set_cache_limit(previous)
        1073741824
      )");
  define<"clear_cache() -> None">(
      m,
      &clear_cache,
      R"(Gives the memory that is kept for reuse back to the system, on all devices.

      Example:
        >>> mx.clear_cache()
        >>> mx.get_cache_memory()
        0
      )");
  define<"set_memory_limit(limit: int, *, strict: bool = False) -> int">(
      m,
      &set_memory_limit_bytes,
      R"(Bounds the memory of the default device that evaluation takes.

      Above the limit, an evaluation frees the cache and waits for work in flight before it takes
      more memory.

      Args:
        limit: Bytes.
        strict: Whether no evaluation takes more. It computes values again rather than keep them
          beyond the limit (`set_memory_budget()` says how); where that does not suffice it raises
          MemoryError. Nothing is lost then, and it can be evaluated again.

      Returns:
        The previous limit, in bytes.

      Example:
        >>> previous = mx.set_memory_limit(1 << 33)
        >>> mx.set_memory_limit(previous)
        8589934592
      )");
  define<"set_wired_limit(limit: int) -> int">(
      m,
      [](uint64_t) { return 0; },
      R"(Does nothing: no device here has wired memory.

      Args:
        limit: Bytes.

      Returns:
        0.

      Example:
        >>> mx.set_wired_limit(1 << 30)
        0
      )");
}

bool is_gpu_of(std::string_view interface) {
  const Device gpu{Device::Type::gpu, 0};
  return is_available(gpu) && backend_for(gpu).interface() == interface;
}

void bind_memory(nb::module_& m) {
  bind_counters(m);
  m.def(
      "_set_allocation_faults",
      &set_allocation_faults,
      "period"_a,
      "For tests: every `period`-th allocation fails from now on (0: none). Returns the previous "
      "period.");
  m.def("_allocation_faults", &allocation_faults, "How many allocations have failed so.");
  define<"get_memory_limit() -> int">(
      m,
      &get_memory_limit,
      R"(The limit that `set_memory_limit()` set for the default device's memory.

      Returns:
        Bytes. At first 95 % of the memory.

      Example:
        >>> limit = mx.get_memory_limit()
      )");
  define<"get_array_buffer_size(*args: Any) -> int">(
      m,
      &buffer_bytes,
      R"(Bytes of the buffers behind arrays; a buffer that several share is counted once.

      Args:
        *args: Arrays, or nested lists, tuples and dicts of arrays.

      Returns:
        Bytes.

      Raises:
        ValueError: If an array is not evaluated.

      Example:
        >>> a = mx.ones(4096)
        >>> mx.eval(a, a[:10])
        >>> mx.get_array_buffer_size(a, [a])
        16384
      )");

  nb::module_ metal = m.def_submodule("metal", "Apple GPUs.");
  bind_counters(metal);
  define<"is_available() -> bool">(
      metal,
      [] { return is_gpu_of("metal"); },
      R"(Whether an Apple GPU can be used.

      Returns:
        True or False.

      Example:
        >>> available = mx.metal.is_available()
      )");
  define<"device_info() -> dict[str, str | int]">(
      metal,
      [] {
        return is_gpu_of("metal") ? backend_for({Device::Type::gpu, 0}).info() : DeviceInfo{};
      },
      R"(Facts about the Apple GPU.

      Returns:
        A dict, empty if there is no such GPU.

      Example:
        >>> info = mx.metal.device_info()
      )");
  define<"start_capture(path: str) -> None">(
      metal,
      [](nb::str) {},
      R"(Begins a trace of the GPU's work; does nothing yet.

      Args:
        path: The file that the trace is meant for.

      Example:
        >>> mx.metal.start_capture("trace.gputrace")
      )");
  define<"stop_capture() -> None">(
      metal,
      [] {},
      R"(Ends a trace of the GPU's work; does nothing yet.

      Example:
        >>> mx.metal.stop_capture()
      )");

  nb::module_ cuda = m.def_submodule("cuda", "NVIDIA GPUs.");
  define<"is_available() -> bool">(
      cuda,
      [] { return is_gpu_of("cuda"); },
      R"(Whether an NVIDIA GPU can be used.

      Returns:
        True or False.

      Example:
        >>> available = mx.cuda.is_available()
      )");
}

const Binding binding{&bind_memory};

} // namespace
} // namespace narrows::python
