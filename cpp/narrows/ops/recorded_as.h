// How rules look at what an array was recorded as.
#pragma once

#include <memory>
#include <vector>

#include "narrows/ops/common.h"
#include "narrows/record/primitive.h"

namespace narrows {

// The operation behind an array with one output; nothing where its node has let go of it.
struct RecordedAs {
  std::shared_ptr<const Primitive> primitive;
  std::vector<array> inputs;

  // The operation, if it is of this kind.
  template <typename Kind>
  const Kind* as() const {
    return dynamic_cast<const Kind*>(primitive.get());
  }
};
RecordedAs recorded_as(const array& a);

// Whether `a` was recorded as an array whose elements all are zero, and is not computed yet.
bool is_recorded_as_zeros(const array& a);

// Whether `a` was recorded as another array with the last two dimensions exchanged.
bool is_matrix_transpose(const array& a);

} // namespace narrows
