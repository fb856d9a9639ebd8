// How calls for stacks of matrices run: each thread takes one matrix after another, and LAPACK runs
// on one thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "metal_kernels/matrix.h"
#include "narrows/backend/cpu/gemm_libraries.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/lapack.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

// Hands out pieces of a block of scratch. Without a block it counts the bytes.
class Pieces {
 public:
  explicit Pieces(std::byte* block) : block_(block) {
  }
  template <typename T>
  T* take(int64_t count) {
    std::byte* piece = block_ ? block_ + bytes_ : nullptr;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }
  int64_t bytes() const {
    return bytes_;
  }

 private:
  std::byte* block_;
  int64_t bytes_ = 0;
};

// The number of work elements that LAPACK asks for. It writes that as a number of its own type.
template <typename T>
int64_t work_count(T wanted) {
  // Rounded up, because a float32 cannot hold every integer.
  const double count = std::real(wanted);
  return std::max<int64_t>(1, static_cast<int64_t>(count * (1 + 1e-6)) + 1);
}

inline int64_t matrix_threads(const MatrixParams& p) {
  return std::max<int64_t>(1, std::min<int64_t>(p.batch, thread_count()));
}

// The scratch of a call whose matrices are computed by `Op`: an object that takes its pieces when
// it is made, Op(pieces, params), and computes matrix `i` by run(operands, i).
template <typename Op>
int64_t matrix_scratch(const MatrixParams& p) {
  Pieces pieces(nullptr);
  Op op(pieces, p);
  return planned_scratch(matrix_threads(p) * pieces.bytes());
}

template <typename Op>
void run_matrices(const MatrixParams& p, void* const* operands, void* scratch) {
  openblas::use_calling_thread_only();
  Pieces counted(nullptr);
  const Op of_bytes(counted, p);
  const int64_t bytes = counted.bytes();
  const int64_t threads = matrix_threads(p);
  SmallScratch small;
  std::byte* block = small.unless(scratch);
  parallel_for(threads, 1, [&](int64_t first, int64_t last) {
    for (int64_t thread = first; thread < last; ++thread) {
      Pieces pieces(block + thread * bytes);
      Op op(pieces, p);
      for (int64_t i = p.batch * thread / threads; i < p.batch * (thread + 1) / threads; ++i) {
        op.run(operands, i);
      }
    }
  });
}

// Matrix `i` of an operand with `size` elements each.
template <typename T>
T* matrix_at(void* const* operands, int operand, int64_t i, int64_t size) {
  return static_cast<T*>(operands[operand]) + i * size;
}

template <typename T>
void transpose_matrix(const T* from, int64_t rows, int64_t columns, T* to) {
  constexpr int64_t kTile = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
    for (int64_t j0 = 0; j0 < columns; j0 += kTile) {
      for (int64_t i = i0; i < std::min(rows, i0 + kTile); ++i) {
        for (int64_t j = j0; j < std::min(columns, j0 + kTile); ++j) {
          to[j * rows + i] = from[i * columns + j];
        }
      }
    }
  }
}

template <typename T>
bool all_finite(const T* values, int64_t count) {
  return std::all_of(values, values + count, [](T value) {
    return std::isfinite(std::real(value)) && std::isfinite(std::imag(value));
  });
}

// Raises for an iteration of LAPACK that did not converge.
inline void require_converged(const char* op, int64_t info) {
  if (info > 0) {
    fail<ValueError>("[linalg.", op, "] the iteration has not converged for a matrix.");
  }
}

// Calls call(T()) with the dtype's type.
template <typename Call>
auto with_matrix_type(Dtype dtype, Call&& call) {
  switch (dtype) {
    case Dtype::float32:
      return call(float());
    case Dtype::float64:
      return call(double());
    case Dtype::complex64:
      return call(complex64_t());
    default:
      fail<TypeError>("[linalg] There are no matrices of ", name_of(dtype), ".");
  }
}

inline bool has_matrix_type(const KernelId& id) {
  return id.in == Dtype::float32 || id.in == Dtype::float64 || id.in == Dtype::complex64;
}

inline const MatrixParams& matrix_params(const void* params) {
  return *static_cast<const MatrixParams*>(params);
}

} // namespace narrows::cpu
