// scatter: changes elements at indices, in the order of the positions. Two threads never write the
// same element, so results do not depend on their number: threads share the lines or the columns,
// or else the written array.
#include <algorithm>
#include <complex>
#include <type_traits>

#include "metal_kernels/indexed.h"
#include "narrows/backend/cpu/index_offsets.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/core/dispatch.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The least number of elements for a thread.
constexpr int64_t kThreadElements = 1 << 14;
// With fewer neighbouring columns for each thread, threads would share cache lines. Parts of rows
// with fewer bytes take as long to read as whole rows.
constexpr int64_t kThreadColumns = 32;
constexpr int64_t kThreadRowBytes = 2048;
// Threads that share the written array read all indices each. That pays up to so many threads, and
// if the array is larger than a near cache.
constexpr int64_t kFarBytes = 1 << 19;
constexpr int64_t kMostSharers = 16;

// The positions of one run: offsets in the array and in the updates.
struct Run {
  int64_t count;
  const int64_t* offsets;
  const int64_t* positions; // of the updates; nullptr: 0, 1, ...
  int64_t update;           // of position 0
  int64_t update_stride;    // between positions
  int64_t columns;
  int64_t column_stride; // of updates
};

struct Assign {
  template <typename T>
  T operator()(T, T b) const {
    return b;
  }
};
// The same as in functors.h.
struct Add {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_same_v<T, bool>) {
      return a || b;
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    } else {
      return a + b;
    }
  }
};
struct Multiply {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    } else {
      return a * b;
    }
  }
  complex64_t operator()(complex64_t a, complex64_t b) const {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }
};

bool is_nan(complex64_t z) {
  return z.real() != z.real() || z.imag() != z.imag();
}
bool is_less(complex64_t a, complex64_t b) {
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}
template <bool kMax>
struct Extreme {
  template <typename T>
  T operator()(T a, T b) const {
    const bool keeps = kMax ? a > b : a < b;
    return keeps || a != a ? a : b;
  }
  complex64_t operator()(complex64_t a, complex64_t b) const {
    const bool keeps = kMax ? is_less(b, a) : is_less(a, b);
    return (keeps && !is_nan(b)) || is_nan(a) ? a : b;
  }
};

template <typename Op, typename T>
T combined(T a, T b) {
  if constexpr (std::is_same_v<Op, Assign>) {
    return b;
  } else if constexpr (std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>) {
    return T(Op()(static_cast<float>(a), static_cast<float>(b)));
  } else {
    return Op()(a, b);
  }
}

// One element for each position.
template <typename T, typename Op>
void apply_elements(const Run& run, T* elements, const T* values) {
  const int64_t* const offsets = run.offsets;
  const int64_t* const positions = run.positions;
  const int64_t stride = run.update_stride;
  if (!positions) {
    for (int64_t j = 0; j < run.count; ++j) {
      T& element = elements[offsets[j]];
      element = combined<Op>(element, values[j * stride]);
    }
    return;
  }
  for (int64_t j = 0; j < run.count; ++j) {
    T& element = elements[offsets[j]];
    element = combined<Op>(element, values[positions[j] * stride]);
  }
}

template <typename T, typename Op>
void apply_row(T* row, const T* values, int64_t stride, int64_t columns) {
  if (stride == 1) {
    for (int64_t c = 0; c < columns; ++c) {
      row[c] = combined<Op>(row[c], values[c]);
    }
    return;
  }
  for (int64_t c = 0; c < columns; ++c) {
    row[c] = combined<Op>(row[c], values[c * stride]);
  }
}

template <typename T, typename Op>
void apply(const Run& run, void* array, const void* updates) {
  auto* const elements = static_cast<T*>(array);
  const auto* const values = static_cast<const T*>(updates) + run.update;
  if (run.columns == 1) {
    apply_elements<T, Op>(run, elements, values);
    return;
  }
  for (int64_t j = 0; j < run.count; ++j) {
    const int64_t position = run.positions ? run.positions[j] : j;
    apply_row<T, Op>(
        elements + run.offsets[j],
        values + position * run.update_stride,
        run.column_stride,
        run.columns);
  }
}

using Apply = void (*)(const Run&, void*, const void*);

Apply assign_of_size(int64_t item_size) {
  switch (item_size) {
    case 1:
      return apply<uint8_t, Assign>;
    case 2:
      return apply<uint16_t, Assign>;
    case 4:
      return apply<uint32_t, Assign>;
    default:
      return apply<uint64_t, Assign>;
  }
}

Apply apply_of(ScatterOp op, Dtype dtype) {
  if (op == ScatterOp::assign) {
    return assign_of_size(size_of(dtype));
  }
  return dispatch(dtype, [&](auto tag) -> Apply {
    using T = typename decltype(tag)::type;
    switch (op) {
      case ScatterOp::add:
        return apply<T, Add>;
      case ScatterOp::multiply:
        return apply<T, Multiply>;
      case ScatterOp::minimum:
        return apply<T, Extreme<false>>;
      default:
        return apply<T, Extreme<true>>;
    }
  });
}

// A part of the walk. Its dimensions are in the order of the loops, the innermost last, and begin
// at a first index. It writes only elements of the array within its bounds.
struct Part {
  std::array<int64_t, NARROWS_MAX_DIMS> first{};
  std::array<int64_t, NARROWS_MAX_DIMS> size;
  int64_t begin = 0;
  int64_t end = INT64_MAX;

  bool is_bounded() const {
    return begin > 0 || end < INT64_MAX;
  }
};

class Scatter {
 public:
  Scatter(const KernelId& id, void* const* operands, const IndexedParams& params)
      : p_(params),
        apply_(apply_of(static_cast<ScatterOp>(id.op), id.in)),
        updates_(operands[0]),
        array_(operands[1 + params.indices]),
        item_size_(size_of(id.in)) {
    indices_.dtype = id.index;
    std::copy_n(operands + 1, p_.indices, indices_.data.begin());
    // The last dimension of columns becomes a row if it is contiguous in the array.
    const int last = p_.ndim - 1;
    if (last >= position_end() && p_.array_strides[last] == 1) {
      columns_ = last;
    }
    order_loops();
  }

  void run() const {
    const int64_t total = p_.lines * p_.positions * p_.columns;
    const int64_t threads = std::min<int64_t>(thread_count(), total / kThreadElements);
    const int dim = threads > 1 ? shared_dim(threads) : -1;
    const bool is_far = extent() * item_size_ >= kFarBytes;
    const bool has_short_rows =
        dim >= 0 && dim == columns_ && p_.shape[dim] * item_size_ < threads * kThreadRowBytes;
    if (dim >= 0 && !(has_short_rows && is_far)) {
      share_dim(dim, threads);
    } else if (threads > 1 && is_far) {
      share_array(std::min(threads, kMostSharers));
    } else {
      run(whole());
    }
  }

 private:
  int position_end() const {
    return p_.line_dims + p_.position_dims;
  }
  bool is_position(int d) const {
    return d >= p_.line_dims && d < position_end();
  }

  // First lines and columns, then positions in their order. The innermost dimension is the last one
  // of positions, or a dimension of lines whose updates lie closer together.
  void order_loops() {
    int run_dim = p_.position_dims > 0 ? position_end() - 1 : p_.line_dims - 1;
    const int last_line = p_.line_dims - 1;
    if (last_line >= 0 && columns_ < 0 && p_.other_strides[last_line] < p_.other_strides[run_dim]) {
      run_dim = last_line;
    }
    for (const bool positions : {false, true}) {
      for (int d = 0; d < p_.ndim; ++d) {
        if (d != run_dim && d != columns_ && is_position(d) == positions) {
          loops_[loop_count_++] = d;
        }
      }
    }
    run_dim_ = run_dim;
  }

  // A dimension along which threads write different elements and that has a part for each thread,
  // if there is one.
  int shared_dim(int64_t threads) const {
    int best = -1;
    for (int d = 0; d < p_.ndim; ++d) {
      const int64_t wanted = d == columns_ ? threads * kThreadColumns : threads;
      if (!is_position(d) && p_.shape[d] >= wanted && (best < 0 || p_.shape[d] > p_.shape[best])) {
        best = d;
      }
    }
    return best;
  }

  // How far the written elements lie apart; 0 if some lie before the first one.
  int64_t extent() const {
    int64_t result = 1;
    bool forward = true;
    const auto add = [&](int64_t size, int64_t stride) {
      result += (size - 1) * stride;
      forward &= stride >= 0;
    };
    for (int k = 0; k < p_.indices; ++k) {
      add(p_.limits[k] + 1, p_.steps[k]);
    }
    for (int d = 0; d < p_.ndim; ++d) {
      add(p_.shape[d], p_.array_strides[d]);
    }
    return forward ? result : 0;
  }

  void share_dim(int dim, int64_t threads) const {
    parallel_for(p_.shape[dim], p_.shape[dim] / threads, [&](int64_t begin, int64_t end) {
      Part part = whole();
      part.first[dim] = begin;
      part.size[dim] = end - begin;
      run(part);
    });
  }
  void share_array(int64_t threads) const {
    parallel_for(threads, 1, [&](int64_t first, int64_t last) {
      Part part = whole();
      part.begin = first * extent() / threads;
      part.end = last == threads ? INT64_MAX : last * extent() / threads;
      run(part);
    });
  }

  Part whole() const {
    Part part;
    std::copy_n(p_.shape, p_.ndim, part.size.begin());
    return part;
  }

  struct Place {
    int64_t array = 0;
    int64_t update = 0;
    IndexPlace indices{};
  };
  void move(Place& place, int d, int64_t by) const {
    place.array += by * p_.array_strides[d];
    place.update += by * p_.other_strides[d];
    for (int k = 0; k < p_.indices; ++k) {
      place.indices[k] += by * p_.index_strides[k][d];
    }
  }

  void run(const Part& part) const {
    Place place;
    for (int d = 0; d < p_.ndim; ++d) {
      move(place, d, part.first[d]);
    }
    run_loop(part, 0, place);
  }
  void run_loop(const Part& part, int loop, Place place) const {
    if (loop == loop_count_) {
      run_positions(part, place);
      return;
    }
    const int d = loops_[loop];
    for (int64_t i = 0; i < part.size[d]; ++i) {
      run_loop(part, loop + 1, place);
      move(place, d, 1);
    }
  }

  void run_positions(const Part& part, Place place) const {
    const int64_t length = run_dim_ < 0 ? 1 : part.size[run_dim_];
    const int d = std::max(run_dim_, 0);
    for (int64_t done = 0; done < length;) {
      const int64_t count = std::min(length - done, kOffsetsAtOnce);
      int64_t offsets[kOffsetsAtOnce];
      int64_t positions[kOffsetsAtOnce];
      const bool all = find_offsets(p_, indices_, d, place.array, place.indices, count, offsets);
      Run run{
          count,
          offsets,
          nullptr,
          place.update,
          p_.other_strides[d],
          columns_ < 0 ? 1 : part.size[columns_],
          columns_ < 0 ? 0 : p_.other_strides[columns_]};
      if (!all || part.is_bounded()) {
        run.count = keep(part, count, offsets, positions);
        run.positions = positions;
      }
      apply_(run, array_, updates_);
      done += count;
      if (run_dim_ >= 0) {
        move(place, run_dim_, count);
      }
    }
  }

  // Moves positions that are not skipped and lie within the part's bounds to the front, and lists
  // them. It has no branches, because they would be hard to predict.
  static int64_t keep(const Part& part, int64_t count, int64_t* offsets, int64_t* positions) {
    static_assert(kSkipped < 0);
    int64_t kept = 0;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t offset = offsets[j];
      offsets[kept] = offset;
      positions[kept] = j;
      kept += (offset >= part.begin) & (offset < part.end);
    }
    return kept;
  }

  IndexedParams p_;
  Indices indices_;
  Apply apply_;
  const void* updates_;
  void* array_;
  int64_t item_size_;
  int columns_ = -1; // the dimension of contiguous columns, or -1
  int run_dim_ = -1; // or -1: there is one position
  std::array<int, NARROWS_MAX_DIMS> loops_{};
  int loop_count_ = 0;
};

void run_scatter(const KernelId& id, void* const* operands, const void* params, void*) {
  Scatter(id, operands, *static_cast<const IndexedParams*>(params)).run();
}

bool has_index_dtype(const KernelId& id) {
  return id.index == int32 || id.index == uint32 || id.index == int64;
}

} // namespace

const Row scatter_row = {run_scatter, has_index_dtype};

} // namespace narrows::cpu
