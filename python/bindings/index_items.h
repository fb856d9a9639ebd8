// The items between the brackets of a[...], read from Python.
#pragma once

#include <vector>

#include "bindings/bindings.h"
#include "narrows/ops/advanced.h"

namespace narrows::python {

// The items, if none is an array; otherwise all of them as items of advanced indexing.
struct Index {
  std::vector<IndexItem> basic;
  std::vector<AdvancedItem> advanced;
  bool has_arrays = false;
};

// Arrays may be lists, and objects that other libraries export. Their integers are checked when
// they are used. ValueError for objects that are no index.
Index read_index(nb::handle object);

} // namespace narrows::python
