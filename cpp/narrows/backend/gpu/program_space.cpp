#include "narrows/backend/gpu/program_space.h"

#include <algorithm>
#include <cstdlib>

namespace narrows::gpu {

ProgramSpace::ProgramSpace(const ProgramCall& call, bool is_split) {
  if (!is_split) {
    add_dims(call, 0, call.row_dims, false);
    row_ndim = ndim;
  }
  add_dims(call, is_split ? 0 : call.row_dims, call.shape.size(), is_split);
  for (int d = 0; d < ndim; ++d) {
    (d < row_ndim ? rows : length) *= shape[d];
  }
}

void ProgramSpace::add_dims(const ProgramCall& call, size_t first, size_t last, bool sorted) {
  SmallVector<size_t, NARROWS_MAX_DIMS> order;
  for (size_t d = first; d < last; ++d) {
    if (call.shape[d] != 1) {
      order.push_back(d);
    }
  }
  if (sorted) {
    const Strides& output = call.strides.back();
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::abs(output[a]) > std::abs(output[b]);
    });
  }
  const int begin = ndim;
  for (const size_t d : order) {
    bool merges = ndim > begin;
    for (size_t k = 0; merges && k < call.strides.size(); ++k) {
      merges = strides[k][ndim - 1] == call.strides[k][d] * call.shape[d];
    }
    if (merges) {
      shape[ndim - 1] *= call.shape[d];
    } else {
      shape[ndim++] = call.shape[d];
    }
    for (size_t k = 0; k < call.strides.size(); ++k) {
      strides[k][ndim - 1] = call.strides[k][d];
    }
  }
}

} // namespace narrows::gpu
