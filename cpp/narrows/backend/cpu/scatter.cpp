// scatter: elements changed where indices say, in the order of the positions. Threads never share
// an element, so that results are the same for any number of them: they share the lines or the
// columns, or else the rows of the array that is written.
#include <algorithm>
#include <complex>
#include <type_traits>

#include "metal_kernels/indexed.h"
#include "narrows/backend/cpu/index_offsets.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/core/dispatch.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// Elements that are worth a thread.
constexpr int64_t kThreadElements = 1 << 14;
// Fewer neighbouring columns than this for each thread would share cache lines.
constexpr int64_t kThreadColumns = 32;
// Threads that share rows read all indices each: more of them gain nothing.
constexpr int kMostRowThreads = 16;

// What is done at the positions of one run: offsets in the array, and in the updates.
struct Run {
  int64_t count;
  const int64_t* offsets;
  const int64_t* positions; // of the updates; nullptr: 0, 1, ...
  int64_t update;           // of position 0
  int64_t update_stride;    // between positions
  int64_t columns;
  int64_t column_stride; // of updates

  int64_t update_at(int64_t j) const {
    return update + (positions ? positions[j] : j) * update_stride;
  }
};

struct Assign {
  template <typename T>
  T operator()(T, T b) const {
    return b;
  }
};
// As in functors.h.
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

template <typename T, typename Op>
void apply(const Run& run, void* array, const void* updates) {
  auto* const elements = static_cast<T*>(array);
  const auto* const values = static_cast<const T*>(updates);
  if (run.columns == 1 && !run.positions && run.update_stride == 1) {
    const T* from = values + run.update;
    for (int64_t j = 0; j < run.count; ++j) {
      T& element = elements[run.offsets[j]];
      element = combined<Op>(element, from[j]);
    }
    return;
  }
  for (int64_t j = 0; j < run.count; ++j) {
    T* row = elements + run.offsets[j];
    const T* from = values + run.update_at(j);
    if (run.columns == 1) {
      *row = combined<Op>(*row, *from);
    } else if (run.column_stride == 1) {
      for (int64_t c = 0; c < run.columns; ++c) {
        row[c] = combined<Op>(row[c], from[c]);
      }
    } else {
      for (int64_t c = 0; c < run.columns; ++c) {
        row[c] = combined<Op>(row[c], from[c * run.column_stride]);
      }
    }
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

// A part of the walk: the dimensions in the order of its loops, the innermost last, each from its
// first index on; of the rows those within bounds.
struct Part {
  std::array<int64_t, NARROWS_MAX_DIMS> first{};
  std::array<int64_t, NARROWS_MAX_DIMS> size;
  int64_t first_row = 0;
  int64_t last_row = INT64_MAX;
};

class Scatter {
 public:
  Scatter(const KernelId& id, void* const* operands, const IndexedParams& params)
      : p_(params),
        apply_(apply_of(static_cast<ScatterOp>(id.op), id.in)),
        updates_(operands[0]),
        array_(operands[1 + params.indices]) {
    indices_.dtype = id.index;
    std::copy_n(operands + 1, p_.indices, indices_.data.begin());
    // The last dimension of columns is a row of its own if it is contiguous in the array.
    const int last = p_.ndim - 1;
    if (last >= position_end() && p_.array_strides[last] == 1) {
      columns_ = last;
    }
    order_loops();
  }

  void run() const {
    const int64_t total = p_.lines * p_.positions * p_.columns;
    const int64_t most = std::min<int64_t>(thread_count(), total / kThreadElements);
    const int dim = most > 1 ? shared_dim(most) : -1;
    if (dim >= 0) {
      parallel_for(p_.shape[dim], p_.shape[dim] / most, [&](int64_t begin, int64_t end) {
        Part part = whole();
        part.first[dim] = begin;
        part.size[dim] = end - begin;
        run(part);
      });
    } else if (most > 1 && p_.rows >= most) {
      const int64_t threads = std::min<int64_t>(most, kMostRowThreads);
      parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
        Part part = whole();
        part.first_row = p_.rows * begin / threads;
        part.last_row = end == threads ? INT64_MAX : p_.rows * end / threads;
        run(part);
      });
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

  // Lines and columns, then positions in their order; last the one that is run along: the
  // positions' last, or a dimension of lines whose updates lie closer together.
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

  // A dimension along which threads write different elements, if there is one that gives each of
  // them a part.
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

  Part whole() const {
    Part part;
    std::copy_n(p_.shape, p_.ndim, part.size.begin());
    return part;
  }

  struct Place {
    int64_t array = 0;
    int64_t update = 0;
    int64_t row = 0;
    IndexPlace indices{};
  };
  void move(Place& place, int d, int64_t by) const {
    place.array += by * p_.array_strides[d];
    place.update += by * p_.other_strides[d];
    place.row += by * p_.row_pitches[d];
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
    const bool all_rows = part.first_row == 0 && part.last_row == INT64_MAX;
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
      if (!all || !all_rows) {
        run.count = keep(part, place, all_rows, count, offsets, positions);
        run.positions = positions;
      }
      apply_(run, array_, updates_);
      done += count;
      if (run_dim_ >= 0) {
        move(place, run_dim_, count);
      }
    }
  }

  // Moves what is not skipped, and within the part's rows, to the front, and says which positions
  // that are. There are no branches: they would be hard to foresee.
  int64_t keep(
      const Part& part,
      const Place& place,
      bool all_rows,
      int64_t count,
      int64_t* offsets,
      int64_t* positions) const {
    int64_t rows[kOffsetsAtOnce];
    if (all_rows) {
      std::fill_n(rows, count, 0);
    } else {
      find_rows(p_, indices_, std::max(run_dim_, 0), place.row, place.indices, count, rows);
    }
    int64_t kept = 0;
    for (int64_t j = 0; j < count; ++j) {
      const bool keeps =
          (offsets[j] != kSkipped) & (rows[j] >= part.first_row) & (rows[j] < part.last_row);
      offsets[kept] = offsets[j];
      positions[kept] = j;
      kept += keeps;
    }
    return kept;
  }

  IndexedParams p_;
  Indices indices_;
  Apply apply_;
  const void* updates_;
  void* array_;
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
