// What stands in the brackets of a[...], read from Python.
#pragma once

#include <vector>

#include "bindings/bindings.h"
#include "narrows/ops/advanced.h"

namespace narrows::python {

// Items without arrays; or, where there is one, all of them as those of advanced indexing.
struct Index {
  std::vector<IndexItem> basic;
  std::vector<AdvancedItem> advanced;
  bool has_arrays = false;
};

// Arrays may be lists and what other libraries export; their integers are checked when they are
// used. ValueError for what is no index.
Index read_index(nb::handle object);

} // namespace narrows::python
