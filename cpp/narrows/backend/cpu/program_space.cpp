#include "narrows/backend/cpu/program_space.h"

#include <algorithm>
#include <cstdlib>

namespace narrows::cpu {

ProgramSpace::ProgramSpace(const ProgramCall& call)
    : strides(call.strides.size(), Lengths(kMostDims, 0)) {
  const size_t all = call.shape.size();
  const bool has_rows = call.row_dims < all;
  add_dims(call, 0, call.row_dims, !has_rows);
  row_ndim = ndim;
  add_dims(call, call.row_dims, all, false);
  for (int d = 0; d < ndim; ++d) {
    (d < row_ndim ? rows : length) *= shape[d];
  }
}

// If rows have one element, the dimensions may have any order: the output's memory is walked from
// end to end.
void ProgramSpace::add_dims(const ProgramCall& call, size_t first, size_t last, bool sorted) {
  SmallVector<int, kMostDims> order;
  for (size_t d = first; d < last; ++d) {
    if (call.shape[d] != 1) {
      order.push_back(static_cast<int>(d));
    }
  }
  if (sorted) {
    const Strides& output = call.strides.back();
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return std::abs(output[a]) > std::abs(output[b]);
    });
  }
  const int begin = ndim;
  for (int d : order) {
    bool merges = ndim > begin;
    for (size_t k = 0; merges && k < strides.size(); ++k) {
      merges = strides[k][ndim - 1] == call.strides[k][d] * call.shape[d];
    }
    if (merges) {
      shape[ndim - 1] *= call.shape[d];
    } else {
      shape[ndim++] = call.shape[d];
    }
    for (size_t k = 0; k < strides.size(); ++k) {
      strides[k][ndim - 1] = call.strides[k][d];
    }
  }
}

// The dimension along which an operand is contiguous, if that is not the last one.
int ProgramSpace::transposed_dim() const {
  const int last = ndim - 1;
  for (const Lengths& of_operand : strides) {
    int64_t smallest = std::abs(of_operand[last]);
    int found = -1;
    for (int d = 0; smallest > 1 && d < last; ++d) {
      if (of_operand[d] != 0 && std::abs(of_operand[d]) < smallest) {
        smallest = std::abs(of_operand[d]);
        found = d;
      }
    }
    if (found >= 0) {
      return found;
    }
  }
  return -1;
}

void ProgramSpace::choose_boxes(int64_t elements) {
  int64_t room = std::max<int64_t>(1, elements / length);
  std::fill(box, box + kMostDims, 1);
  const int across = row_ndim == ndim && ndim > 1 ? transposed_dim() : -1;
  if (across >= 0) {
    const int last = ndim - 1;
    const int64_t side = std::clamp<int64_t>(elements / 32, 1, 64); // long runs on both sides
    box[across] = std::min(shape[across], side);
    box[last] = std::min(shape[last], side);
    ragged = true;
  } else {
    for (int d = row_ndim - 1; d >= 0 && room > 1; --d) {
      box[d] = std::min(shape[d], room);
      room = box[d] < shape[d] ? 1 : room / shape[d];
    }
  }
  for (int d = 0; d < row_ndim; ++d) {
    boxes[d] = (shape[d] + box[d] - 1) / box[d];
    box_count *= boxes[d];
    box_rows *= box[d];
  }
}

bool ProgramSpace::is_once(size_t operand) const {
  const Lengths& along = strides[operand];
  for (int d = 0; d < row_ndim; ++d) {
    if (along[d] != 0 && (ragged || boxes[d] > 1)) {
      return false;
    }
  }
  return true;
}

} // namespace narrows::cpu
