#include "narrows/backend/cpu/kernels/copy_box.h"

#include <cstdlib>
#include <cstring>

#include "narrows/backend/cpu/kernels/tile_kernels.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Drops extents of one and joins dimensions that are one run in both layouts.
BoxCopy simplified(const BoxCopy& box) {
  BoxCopy result;
  int n = 0;
  for (int d = 0; d < box.ndim; ++d) {
    if (box.extent[d] == 1) {
      continue;
    }
    if (n > 0 && result.from_stride[n - 1] == box.from_stride[d] * box.extent[d] &&
        result.to_stride[n - 1] == box.to_stride[d] * box.extent[d]) {
      result.extent[n - 1] *= box.extent[d];
      result.from_stride[n - 1] = box.from_stride[d];
      result.to_stride[n - 1] = box.to_stride[d];
      continue;
    }
    result.extent[n] = box.extent[d];
    result.from_stride[n] = box.from_stride[d];
    result.to_stride[n] = box.to_stride[d];
    ++n;
  }
  result.ndim = n;
  return result;
}

void swap_values(int64_t& a, int64_t& b) {
  const int64_t value = a;
  a = b;
  b = value;
}

void swap_dims(BoxCopy& box, int a, int b) {
  swap_values(box.extent[a], box.extent[b]);
  swap_values(box.from_stride[a], box.from_stride[b]);
  swap_values(box.to_stride[a], box.to_stride[b]);
}

template <typename T>
void copy_row(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t n) {
  if (to_stride == 1 && from_stride == 1) {
    if (n * static_cast<int64_t>(sizeof(T)) >= 128) {
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
      return;
    }
    for (int64_t i = 0; i < n; ++i) {
      to[i] = from[i];
    }
  } else if (to_stride == 1 && from_stride == 0) {
    const T value = *from;
    for (int64_t i = 0; i < n; ++i) {
      to[i] = value;
    }
  } else if (to_stride == 1 && from_stride == 2) {
    // A stride that the compiler knows is read by whole vectors.
    for (int64_t i = 0; i < n; ++i) {
      to[i] = from[2 * i];
    }
  } else if (to_stride == 1) {
    for (int64_t i = 0; i < n; ++i) {
      to[i] = from[i * from_stride];
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
      to[i * to_stride] = from[i * from_stride];
    }
  }
}

// Four rows by four columns, read along `from`'s runs and written along `to`'s.
template <typename T>
void transpose_block(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  T block[4][4];
  for (int i = 0; i < 4; ++i) {
    std::memcpy(block[i], from + i * from_stride, sizeof(block[i]));
  }
  for (int j = 0; j < 4; ++j) {
    const T column[4] = {block[0][j], block[1][j], block[2][j], block[3][j]};
    std::memcpy(to + j * to_stride, column, sizeof(column));
  }
}

// Rows (first extent) are runs in `from`, columns (second extent) are runs in `to`: from[i][j] is
// at i + j * from_stride, to[i][j] at i * to_stride + j.
template <typename T>
void transpose(
    const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows, int64_t columns) {
  int64_t j = 0;
  for (; j + 4 <= columns; j += 4) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
      transpose_block(from + i + j * from_stride, from_stride, to + i * to_stride + j, to_stride);
    }
    for (; i < rows; ++i) {
      for (int64_t k = j; k < j + 4; ++k) {
        to[i * to_stride + k] = from[i + k * from_stride];
      }
    }
  }
  for (; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      to[i * to_stride + j] = from[i + j * from_stride];
    }
  }
}

// The innermost two dimensions.
template <typename T>
void copy_plane(const BoxCopy& box, const T* from, T* to) {
  const int last = box.ndim - 1;
  const int64_t columns = box.extent[last];
  const int64_t column_from = box.from_stride[last];
  const int64_t column_to = box.to_stride[last];
  const int64_t rows = box.extent[last - 1];
  const int64_t row_from = box.from_stride[last - 1];
  const int64_t row_to = box.to_stride[last - 1];
  if (row_from == 1 && column_to == 1 && column_from != 0) {
    transpose(from, column_from, to, row_to, rows, columns);
  } else if (rows > columns) {
    for (int64_t j = 0; j < columns; ++j) {
      copy_row(from + j * column_from, row_from, to + j * column_to, row_to, rows);
    }
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      copy_row(from + i * row_from, column_from, to + i * row_to, column_to, columns);
    }
  }
}

template <typename T>
void copy_dims(const BoxCopy& box, int first, const T* from, T* to) {
  if (first == box.ndim - 2) {
    copy_plane(box, from, to);
    return;
  }
  for (int64_t i = 0; i < box.extent[first]; ++i) {
    copy_dims(box, first + 1, from + i * box.from_stride[first], to + i * box.to_stride[first]);
  }
}

template <typename T>
void copy_typed(const BoxCopy& given, const void* from_bytes, void* to_bytes) {
  const T* from = static_cast<const T*>(from_bytes);
  T* to = static_cast<T*>(to_bytes);
  BoxCopy box = simplified(given);
  if (box.ndim == 0) {
    *to = *from;
    return;
  }
  if (box.ndim == 1) {
    copy_row(from, box.from_stride[0], to, box.to_stride[0], box.extent[0]);
    return;
  }
  // The dimension where `from` has runs goes next to the one where `to` has them.
  const int last = box.ndim - 1;
  if (std::abs(box.from_stride[last]) > 1) {
    for (int d = 0; d < last - 1; ++d) {
      if (box.from_stride[d] == 1) {
        swap_dims(box, d, last - 1);
        break;
      }
    }
  }
  copy_dims(box, 0, from, to);
}

void copy_box(const BoxCopy& box, int64_t item_size, const void* from, void* to) {
  switch (item_size) {
    case 1:
      return copy_typed<uint8_t>(box, from, to);
    case 2:
      return copy_typed<uint16_t>(box, from, to);
    case 4:
      return copy_typed<uint32_t>(box, from, to);
    default:
      return copy_typed<uint64_t>(box, from, to);
  }
}

} // namespace

void add_copy_kernels(TileKernels& table) {
  table.copy_box = copy_box;
}

} // namespace narrows::cpu::NARROWS_ISA
