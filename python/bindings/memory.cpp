#include "narrows/runtime/allocator.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

#include <algorithm>
#include <unordered_set>

#include "bindings/bindings.h"
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

// The functions that the module itself and its submodule `metal` have.
void bind_counters(nb::module_& m) {
  m.def("get_active_memory", &get_active_memory, "Bytes in buffers that arrays hold.");
  m.def(
      "get_peak_memory",
      &get_peak_memory,
      "The highest get_active_memory() since the start or the last reset_peak_memory().");
  m.def("reset_peak_memory", &reset_peak_memory, "Sets the peak to the active memory.");
  m.def("get_cache_memory", &get_cache_memory, "Bytes in freed buffers kept for reuse.");
  m.def(
      "set_cache_limit",
      [](uint64_t limit) { return set_cache_limit(to_limit(limit)); },
      "limit"_a,
      "At most `limit` bytes are kept for reuse. Returns the previous limit.");
  m.def("clear_cache", &clear_cache, "Gives the memory kept for reuse back.");
  m.def(
      "set_memory_limit",
      &set_memory_limit_bytes,
      "limit"_a,
      nb::kw_only(),
      "strict"_a = false,
      "Above `limit` bytes, evaluation frees the cache and waits for work in flight before it "
      "takes more memory; if `strict`, it raises MemoryError. Returns the previous limit.");
  m.def(
      "set_wired_limit",
      [](uint64_t) { return 0; },
      "limit"_a,
      "No device here has wired memory: does nothing and returns 0.");
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
  m.def("get_memory_limit", &get_memory_limit, "The limit of set_memory_limit().");
  m.def(
      "get_array_buffer_size",
      &buffer_bytes,
      nb::sig("def get_array_buffer_size(*args) -> int"),
      "Bytes of the buffers behind the arrays in `args` (arrays or nested lists, tuples and "
      "dicts of arrays), each buffer counted once. ValueError if one is not evaluated.");

  nb::module_ metal = m.def_submodule("metal", "Apple GPUs.");
  bind_counters(metal);
  metal.def(
      "is_available", [] { return is_gpu_of("metal"); }, "Whether an Apple GPU can be used.");
  metal.def(
      "device_info",
      [] {
        return is_gpu_of("metal") ? backend_for({Device::Type::gpu, 0}).info() : DeviceInfo{};
      },
      "Facts about the Apple GPU; empty if there is none.");
  metal.def(
      "start_capture", [](nb::str) {}, "path"_a, "Starts a GPU trace; nothing without a GPU.");
  metal.def(
      "stop_capture", [] {}, "Ends a GPU trace; nothing without a GPU.");

  nb::module_ cuda = m.def_submodule("cuda", "NVIDIA GPUs.");
  cuda.def(
      "is_available", [] { return is_gpu_of("cuda"); }, "Whether an NVIDIA GPU can be used.");
}

const Binding binding{&bind_memory};

} // namespace
} // namespace narrows::python
