#include "narrows/backend/cpu/tile_walk.h"

#include <cstdlib>
#include <cstring>

#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The most elements of a box. The boxes of all operands fit into the first-level cache, or nearly.
constexpr int64_t kTile = 2048;
// The same if an operand is transposed: then longer runs on both sides matter more than the cache.
constexpr int64_t kTransposedTile = 8192;
constexpr int64_t kMaxItemSize = 8;
// Rows of a box of at least this length are given to the kernel one by one.
constexpr int64_t kLongRow = 32;
// Without transposed operands, boxes have a single row from this length on.
constexpr int64_t kUsefulRow = 128;

struct alignas(64) Scratch {
  std::byte operand[NARROWS_MAX_OPERANDS][kTransposedTile * kMaxItemSize];
};

const char* advanced(const void* pointer, int64_t bytes) {
  return static_cast<const char*>(pointer) + bytes;
}
char* advanced(void* pointer, int64_t bytes) {
  return static_cast<char*>(pointer) + bytes;
}

// Runs the kernel on contiguous operands of any length.
void run_widened(const TileOperation& op, const void* const* in, void* out, int64_t n) {
  constexpr int64_t kBlock = 1024;
  alignas(64) float wide[NARROWS_MAX_OPERANDS][kBlock];
  const void* wide_in[NARROWS_MAX_OPERANDS];
  for (int k = 0; k < op.inputs; ++k) {
    wide_in[k] = wide[k];
  }
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    for (int k = 0; k < op.inputs; ++k) {
      const void* half = advanced(in[k], begin * op.item_size[k]);
      op.widen(&half, wide[k], count);
    }
    void* half_out = advanced(out, begin * op.item_size[op.inputs]);
    if (op.narrow == nullptr) {
      op.kernel(wide_in, half_out, count);
    } else {
      op.kernel(wide_in, wide[0], count);
      op.narrow(wide_in, half_out, count);
    }
  }
}

void run_contiguous(const TileOperation& op, const void* const* in, void* out, int64_t n) {
  if (op.widen != nullptr) {
    run_widened(op, in, out, n);
  } else if (op.kernel != nullptr) {
    op.kernel(in, out, n);
  } else {
    std::memmove(out, in[0], static_cast<size_t>(n * op.item_size[0]));
  }
}

void fill_tile(const void* value, int64_t item_size, void* tile, int64_t n) {
  BoxCopy box;
  box.ndim = 1;
  box.extent[0] = n;
  box.from_stride[0] = 0;
  box.to_stride[0] = 1;
  tile_kernels().copy_box(box, item_size, value, tile);
}

// Operands along one dimension, of stride 1 or, inputs only, 0.
void run_line(const TileOperation& op, void* const* operands, const ElementwiseParams& params) {
  const int inputs = op.inputs;
  bool repeated[NARROWS_MAX_OPERANDS] = {};
  bool any_repeated = false;
  for (int k = 0; k < inputs; ++k) {
    repeated[k] = params.size > 1 && params.strides[k][params.ndim - 1] == 0;
    any_repeated |= repeated[k];
  }
  if (!any_repeated) {
    parallel_for(params.size, op.grain, [&](int64_t begin, int64_t end) {
      const void* in[NARROWS_MAX_OPERANDS];
      for (int k = 0; k < inputs; ++k) {
        in[k] = advanced(operands[k], begin * op.item_size[k]);
      }
      run_contiguous(op, in, advanced(operands[inputs], begin * op.item_size[inputs]), end - begin);
    });
    return;
  }
  parallel_for(params.size, op.grain, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    const int64_t longest = std::min(kTile, end - begin);
    for (int k = 0; k < inputs; ++k) {
      if (repeated[k]) {
        fill_tile(operands[k], op.item_size[k], scratch.operand[k], longest);
      }
    }
    for (int64_t i = begin; i < end; i += kTile) {
      const void* in[NARROWS_MAX_OPERANDS];
      for (int k = 0; k < inputs; ++k) {
        const void* line = advanced(operands[k], i * op.item_size[k]);
        in[k] = repeated[k] ? scratch.operand[k] : line;
      }
      void* out = advanced(operands[inputs], i * op.item_size[inputs]);
      run_contiguous(op, in, out, std::min(kTile, end - i));
    }
  });
}

// The dimensions in the order of the walk, and the extents of boxes.
struct Walk {
  int ndim = 0;
  int64_t shape[NARROWS_MAX_DIMS];
  int64_t strides[NARROWS_MAX_OPERANDS][NARROWS_MAX_DIMS];
  int64_t box[NARROWS_MAX_DIMS];
  int64_t boxes[NARROWS_MAX_DIMS]; // along each dimension
  int64_t box_size = 1;
  int64_t box_count = 1;
  int row_dim = -1; // boxes have several rows along this dimension of the walk
};

// Drops dimensions of one element, and sorts the others so that the output is walked in the order
// of its addresses. Merges dimensions that are one run in every operand.
Walk make_walk(const ElementwiseParams& params, int operand_count) {
  const int64_t* out_strides = params.strides[operand_count - 1];
  int order[NARROWS_MAX_DIMS];
  int n = 0;
  for (int d = 0; d < params.ndim; ++d) {
    if (params.shape[d] == 1) {
      continue;
    }
    int at = n++;
    for (; at > 0 && std::abs(out_strides[order[at - 1]]) < std::abs(out_strides[d]); --at) {
      order[at] = order[at - 1];
    }
    order[at] = d;
  }
  Walk walk;
  for (int i = 0; i < n; ++i) {
    const int d = order[i];
    const int previous = walk.ndim - 1;
    bool joins = previous >= 0;
    for (int k = 0; joins && k < operand_count; ++k) {
      joins = walk.strides[k][previous] == params.strides[k][d] * params.shape[d];
    }
    const int target = joins ? previous : walk.ndim++;
    walk.shape[target] = params.shape[d] * (joins ? walk.shape[target] : 1);
    for (int k = 0; k < operand_count; ++k) {
      walk.strides[k][target] = params.strides[k][d];
    }
  }
  return walk;
}

// The dimension along which an operand is contiguous, if that is not the last one of the walk.
int transposed_dim(const Walk& walk, int operand_count) {
  const int last = walk.ndim - 1;
  for (int k = 0; k < operand_count; ++k) {
    const int64_t* strides = walk.strides[k];
    int64_t smallest = std::abs(strides[last]);
    if (smallest <= 1) {
      continue;
    }
    int found = -1;
    for (int d = 0; d < last; ++d) {
      if (strides[d] != 0 && std::abs(strides[d]) < smallest) {
        smallest = std::abs(strides[d]);
        found = d;
      }
    }
    if (found >= 0) {
      return found;
    }
  }
  return -1;
}

void choose_boxes(Walk& walk, int operand_count) {
  const int last = walk.ndim - 1;
  for (int d = 0; d < walk.ndim; ++d) {
    walk.box[d] = 1;
  }
  const int row_dim = transposed_dim(walk, operand_count);
  if (row_dim >= 0) {
    constexpr int64_t kColumns = 128;
    const int64_t columns = std::min(walk.shape[last], kColumns);
    const int64_t rows = std::min(walk.shape[row_dim], kTransposedTile / columns);
    walk.box[row_dim] = rows;
    walk.box[last] = std::min(walk.shape[last], kTransposedTile / rows);
    walk.row_dim = walk.box[last] >= kLongRow ? row_dim : -1;
  } else if (walk.ndim > 1 && walk.shape[last] >= kUsefulRow && walk.shape[last] < kTile) {
    // Row by row, so that a repeated row is not copied.
    walk.box[last] = walk.shape[last];
    walk.box[last - 1] = std::min(walk.shape[last - 1], kTile / walk.shape[last]);
    walk.row_dim = last - 1;
  } else {
    int64_t room = kTile;
    for (int d = last; d >= 0 && room > 1; --d) {
      walk.box[d] = std::min(walk.shape[d], room);
      room = walk.box[d] < walk.shape[d] ? 1 : room / walk.shape[d];
    }
  }
  for (int d = 0; d < walk.ndim; ++d) {
    walk.boxes[d] = (walk.shape[d] + walk.box[d] - 1) / walk.box[d];
    walk.box_count *= walk.boxes[d];
    walk.box_size *= walk.box[d];
  }
}

// One thread's part of the boxes.
class BoxRunner {
 public:
  BoxRunner(const TileOperation& op, void* const* operands, const Walk& walk)
      : op_(op), operands_(operands), walk_(walk) {
  }

  void run(int64_t begin, int64_t end) {
    int64_t rest = begin;
    for (int d = walk_.ndim - 1; d >= 0; --d) {
      index_[d] = rest % walk_.boxes[d];
      rest /= walk_.boxes[d];
    }
    for (int64_t box = begin; box < end; ++box) {
      enter_box();
      if (op_.kernel == nullptr) {
        copy();
      } else if (walk_.row_dim >= 0) {
        run_rows();
      } else {
        run_dense();
      }
      for (int d = walk_.ndim - 1; d >= 0 && ++index_[d] == walk_.boxes[d]; --d) {
        index_[d] = 0;
      }
    }
  }

 private:
  void enter_box() {
    size_ = 1;
    for (int k = 0; k <= op_.inputs; ++k) {
      offset_[k] = 0;
    }
    for (int d = 0; d < walk_.ndim; ++d) {
      const int64_t start = index_[d] * walk_.box[d];
      extent_[d] = std::min(walk_.box[d], walk_.shape[d] - start);
      size_ *= extent_[d];
      for (int k = 0; k <= op_.inputs; ++k) {
        offset_[k] += start * walk_.strides[k][d];
      }
    }
    int64_t run = 1;
    for (int d = walk_.ndim - 1; d >= 0; --d) {
      dense_strides_[d] = run;
      run *= extent_[d];
    }
  }

  char* address(int operand) const {
    return advanced(operands_[operand], offset_[operand] * op_.item_size[operand]);
  }

  // Whether the operand's box is one contiguous run.
  bool is_dense(int operand) const {
    for (int d = 0; d < walk_.ndim; ++d) {
      if (extent_[d] != 1 && walk_.strides[operand][d] != dense_strides_[d]) {
        return false;
      }
    }
    return true;
  }

  bool is_constant(int operand) const {
    for (int d = 0; d < walk_.ndim; ++d) {
      if (walk_.strides[operand][d] != 0) {
        return false;
      }
    }
    return true;
  }

  void copy_strided(
      const void* from,
      const int64_t* from_strides,
      void* to,
      const int64_t* to_strides,
      int64_t item_size) const {
    BoxCopy box;
    box.ndim = walk_.ndim;
    for (int d = 0; d < walk_.ndim; ++d) {
      box.extent[d] = extent_[d];
      box.from_stride[d] = from_strides[d];
      box.to_stride[d] = to_strides[d];
    }
    tile_kernels().copy_box(box, item_size, from, to);
  }

  // The operand's box as a contiguous run, copied to scratch memory.
  const void* gathered(int operand) {
    void* tile = scratch_.operand[operand];
    const int64_t item_size = op_.item_size[operand];
    if (!is_constant(operand)) {
      copy_strided(address(operand), walk_.strides[operand], tile, dense_strides_, item_size);
    } else if (!filled_[operand]) {
      fill_tile(address(operand), item_size, tile, walk_.box_size);
      filled_[operand] = true;
    }
    return tile;
  }

  void copy() {
    copy_strided(address(0), walk_.strides[0], address(1), walk_.strides[1], op_.item_size[0]);
  }

  void run_dense() {
    const void* in[NARROWS_MAX_OPERANDS];
    for (int k = 0; k < op_.inputs; ++k) {
      in[k] = is_dense(k) ? address(k) : gathered(k);
    }
    const int out = op_.inputs;
    if (is_dense(out)) {
      run_contiguous(op_, in, address(out), size_);
      return;
    }
    run_contiguous(op_, in, scratch_.operand[out], size_);
    copy_strided(
        scratch_.operand[out],
        dense_strides_,
        address(out),
        walk_.strides[out],
        op_.item_size[out]);
  }

  void run_rows() {
    const int last = walk_.ndim - 1;
    const int out = op_.inputs;
    char* row[NARROWS_MAX_OPERANDS];
    int64_t step[NARROWS_MAX_OPERANDS]; // bytes from row to row
    for (int k = 0; k <= out; ++k) {
      const bool direct = walk_.strides[k][last] == 1;
      if (direct) {
        row[k] = address(k);
      } else {
        // An input is only read.
        row[k] = k == out ? reinterpret_cast<char*>(scratch_.operand[out])
                          : static_cast<char*>(const_cast<void*>(gathered(k)));
      }
      const int64_t stride = direct ? walk_.strides[k][walk_.row_dim] : extent_[last];
      step[k] = stride * op_.item_size[k];
    }
    for (int64_t i = 0; i < extent_[walk_.row_dim]; ++i) {
      const void* in[NARROWS_MAX_OPERANDS];
      for (int k = 0; k < out; ++k) {
        in[k] = row[k] + i * step[k];
      }
      run_contiguous(op_, in, row[out] + i * step[out], extent_[last]);
    }
    if (walk_.strides[out][last] != 1) {
      copy_strided(
          scratch_.operand[out],
          dense_strides_,
          address(out),
          walk_.strides[out],
          op_.item_size[out]);
    }
  }

  const TileOperation& op_;
  void* const* operands_;
  const Walk& walk_;
  int64_t index_[NARROWS_MAX_DIMS];
  int64_t extent_[NARROWS_MAX_DIMS];
  int64_t dense_strides_[NARROWS_MAX_DIMS];
  int64_t offset_[NARROWS_MAX_OPERANDS];
  int64_t size_ = 0;
  bool filled_[NARROWS_MAX_OPERANDS] = {};
  Scratch scratch_;
};

bool is_line(const ElementwiseParams& params, int inputs) {
  if (params.size == 1) {
    return true;
  }
  if (params.ndim != 1 || params.strides[inputs][0] != 1) {
    return false;
  }
  for (int k = 0; k < inputs; ++k) {
    if (params.strides[k][0] != 0 && params.strides[k][0] != 1) {
      return false;
    }
  }
  return true;
}

} // namespace

void run_tiles(
    const TileOperation& operation, void* const* operands, const ElementwiseParams& params) {
  if (params.size == 0) {
    return;
  }
  if (is_line(params, operation.inputs)) {
    run_line(operation, operands, params);
    return;
  }
  Walk walk = make_walk(params, operation.inputs + 1);
  choose_boxes(walk, operation.inputs + 1);
  const int64_t grain = std::max<int64_t>(1, operation.grain / walk.box_size);
  parallel_for(walk.box_count, grain, [&](int64_t begin, int64_t end) {
    BoxRunner(operation, operands, walk).run(begin, end);
  });
}

} // namespace narrows::cpu
