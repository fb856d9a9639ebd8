// What narrows/_distributed.py, the module narrows.core.distributed, is made of.
#include "narrows/ops/distributed.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"

namespace narrows::python {
namespace {

const Engine& engine(const std::string& name) {
  const Engine* found = find_engine(name);
  if (!found) {
    fail<ValueError>("[init] engine '", name, "', expected 'mpi' or 'nccl'.");
  }
  return *found;
}

array collective(const std::string& op, const array& x, int group, StreamArg s) {
  namespace d = distributed;
  constexpr std::pair<const char*, array (*)(const array&, int, StreamOrDevice)> kAll[] = {
      {"all_sum", d::all_sum},
      {"all_max", d::all_max},
      {"all_min", d::all_min},
      {"all_gather", d::all_gather},
      {"sum_scatter", d::sum_scatter}};
  for (const auto& [name, function] : kAll) {
    if (op == name) {
      return function(x, group, s);
    }
  }
  fail<ValueError>("[distributed] operation '", op, "', expected a collective.");
}

void bind(nb::module_& m) {
  using Paths = std::vector<std::string>;
  m.def("_engine_is_available", [](const std::string& name, const Paths& libraries) {
    nb::gil_scoped_release release;
    return engine(name).is_available({libraries});
  });
  m.def("_engine_is_launched", [](const std::string& name) { return engine(name).is_launched(); });
  m.def("_engine_connect", [](const std::string& name, const Paths& libraries, double timeout) {
    nb::gil_scoped_release release;
    return engine(name).connect({libraries, timeout});
  });
  m.def("_engine_end", [](const std::string& name) {
    nb::gil_scoped_release release;
    engine(name).end();
  });
  m.def("_group_rank", [](int group) { return process_group(group).rank(); });
  m.def("_group_size", [](int group) { return process_group(group).size(); });
  m.def("_group_split", [](int group, int color, int key) {
    nb::gil_scoped_release release;
    return distributed::split(group, color, key);
  });
  m.def("_collective", &collective, "op"_a, "x"_a, "group"_a, "stream"_a.none());
  m.def(
      "_send",
      [](const array& x, int to, int group, StreamArg s) {
        return distributed::send(x, to, group, s);
      },
      "x"_a,
      "dst"_a,
      "group"_a,
      "stream"_a.none());
  m.def(
      "_recv",
      [](ShapeOrInt shape, Dtype dtype, int from, int group, StreamArg s) {
        return distributed::recv(shape.shape, dtype, from, group, s);
      },
      "shape"_a,
      "dtype"_a,
      "src"_a,
      "group"_a,
      "stream"_a.none());
}

const Binding binding{&bind};

} // namespace
} // namespace narrows::python
