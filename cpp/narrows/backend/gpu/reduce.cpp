#include <algorithm>

#include "metal_kernels/reduce.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

// Reductions with fewer threadgroups are cut into pieces, which have at least so many elements.
constexpr int64_t kEnoughGroups = 512;
constexpr int64_t kShortestRowPiece = 8192;
constexpr int64_t kShortestColumnPiece = 64;
constexpr int64_t kShortestArgPiece = 1024;

std::string reduce_name(const KernelId& kernel) {
  return concat_message(
      name_of(kernel.family),
      "_",
      operation_name(kernel.family, kernel.op),
      "_",
      name_of(kernel.in));
}

// How threads find the elements of a reduction: along rows, or along neighbouring columns, of which
// a thread takes one, or as many as have 16 bytes.
struct ReduceWay {
  const char* suffix;
  int64_t columns; // of a threadgroup; 0: it reduces along a row
};

ReduceWay way_of(const ReduceParams& p, std::uintptr_t in, int64_t item_size) {
  const int last = p.kept_ndim - 1;
  if (last < 0 || p.kept_strides[last] != 1 || p.kept_shape[last] == 1) {
    return {"_rows", 0};
  }
  const int64_t elements = kVectorBytes / item_size;
  bool wide = elements > 1 && is_aligned(in) && p.kept_shape[last] % elements == 0;
  for (int d = 0; d < last; ++d) {
    wide &= p.kept_strides[d] % elements == 0;
  }
  for (int d = 0; d < p.reduced_ndim; ++d) {
    wide &= p.reduced_strides[d] % elements == 0;
  }
  return wide ? ReduceWay{"_wide_columns", kLanes * elements} : ReduceWay{"_columns", kLanes};
}

// The threadgroups that reduce one piece of all results.
int64_t reduce_groups(const ReduceParams& p, ReduceWay way) {
  return way.columns > 0 ? divided_up(p.out_size, way.columns) : p.out_size;
}

uint32_t threads_of(const ReduceParams& p, int64_t item_size) {
  const bool packed = p.aligned && p.reduced_ndim == 1 && p.reduced_strides[0] == 1;
  return row_threads(p.reduce_size / p.pieces, packed ? kVectorBytes / item_size : 1);
}

void shape_reduce(
    Dispatch& dispatch, std::uintptr_t in, int64_t item_size, ReduceWay way, ReduceParams p) {
  dispatch.kernel += way.suffix;
  dispatch.set_groups(reduce_groups(p, way) * p.pieces);
  p.aligned = is_aligned(in);
  for (int d = 0; d < p.kept_ndim; ++d) {
    p.aligned &= p.kept_strides[d] * item_size % kVectorBytes == 0;
  }
  dispatch.threads = way.columns > 0 ? kThreads : threads_of(p, item_size);
  dispatch.set_params(p);
}

// The dispatches that make all results at once, each along a whole row. If a grid cannot have so
// many threadgroups, each makes those of some indices of the first dimension.
void add_whole_rows(
    const Call& call, const ReduceParams& p, const std::string& kernel, Dispatches& dispatches) {
  const int64_t item_size = size_of(call.kernel.in);
  const int64_t indices = p.kept_ndim > 0 ? p.kept_shape[0] : 1;
  const int64_t results = indices > 0 ? p.out_size / indices : 0; // of an index
  const int64_t most = std::max<int64_t>(1, kMostGroups / std::max<int64_t>(1, results));
  for (int64_t first = 0; first < indices; first += most) {
    ReduceParams q = p;
    q.kept_shape[0] = std::min(most, indices - first);
    q.out_size = q.kept_shape[0] * results;
    const int64_t offset = p.kept_ndim > 0 ? first * p.kept_strides[0] * item_size : 0;
    Dispatch& dispatch = dispatches.add(kernel, 2);
    const auto in = call.addresses[0] + static_cast<std::uintptr_t>(offset);
    shape_reduce(dispatch, in, item_size, {"_rows", 0}, q);
    dispatch.set_places({{0, offset}, {1, first * results * size_of(call.kernel.out)}});
  }
}

// The number of pieces: enough threadgroups for a device, with pieces that are not too short.
int pieces_of(const ReduceParams& p, ReduceWay way) {
  const int64_t groups = reduce_groups(p, way);
  const int64_t shortest = way.columns > 0 ? kShortestColumnPiece : kShortestRowPiece;
  const int64_t wanted = groups == 0 ? 1 : kEnoughGroups / groups;
  return static_cast<int>(std::max<int64_t>(1, std::min(wanted, p.reduce_size / shortest)));
}

// Partial results of sums and products of 16-bit floats are float32.
Dtype partial_dtype(const KernelId& kernel) {
  const auto op = static_cast<ReduceOp>(kernel.op);
  const bool adds = op == ReduceOp::sum || op == ReduceOp::prod;
  return adds && is_half(kernel.out) ? float32 : kernel.out;
}

// If there are few results of many elements, a first dispatch writes partial results to scratch,
// and a second one combines them.
void dispatch_reduce(const Call& call, Dispatches& dispatches) {
  const KernelId& kernel = call.kernel;
  auto p = call.params_as<ReduceParams>();
  const int64_t item_size = size_of(kernel.in);
  const ReduceWay way = way_of(p, call.addresses[0], item_size);
  p.pieces = pieces_of(p, way);
  if (p.pieces == 1 && way.columns == 0) {
    add_whole_rows(call, p, base_name(kernel), dispatches);
    return;
  }
  Dispatch& first = dispatches.add(base_name(kernel), 2);
  if (p.pieces == 1) {
    shape_reduce(first, call.addresses[0], item_size, way, p);
    return;
  }
  const Dtype partial = partial_dtype(kernel);
  if (partial != kernel.out) {
    first.kernel += concat_message("_", name_of(partial));
  }
  shape_reduce(first, call.addresses[0], item_size, way, p);
  first.set_places({{0}, {kScratch}});

  // Pieces of a row are neighbours. Pieces of a column are as far apart as it has results.
  ReduceParams together{};
  together.out_size = p.out_size;
  together.reduce_size = p.pieces;
  together.kept_ndim = together.reduced_ndim = 1;
  together.kept_shape[0] = p.out_size;
  together.reduced_shape[0] = p.pieces;
  together.kept_strides[0] = way.columns > 0 ? 1 : p.pieces;
  together.reduced_strides[0] = way.columns > 0 ? p.out_size : 1;
  together.pieces = 1;
  Dispatch& second = dispatches.add(base_name({kernel.family, kernel.op, partial, kernel.out}), 2);
  if (partial != kernel.out) {
    second.kernel += concat_message("_", name_of(kernel.out));
  }
  shape_reduce(second, 0, size_of(partial), way_of(together, 0, size_of(partial)), together);
  second.set_places({{kScratch}, {1}});
}

// The bytes of partial results, whether the input is aligned to 16 bytes or not.
int64_t reduce_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const auto p = Call{kernel, {}, params}.params_as<ReduceParams>();
  int pieces = 1;
  for (const std::uintptr_t address : {0, 1}) {
    pieces = std::max(pieces, pieces_of(p, way_of(p, address, size_of(kernel.in))));
  }
  return pieces == 1 ? 0 : p.out_size * pieces * size_of(partial_dtype(kernel));
}

int arg_pieces_of(const ReduceParams& p) {
  const int64_t wanted = p.out_size == 0 ? 1 : kEnoughGroups / p.out_size;
  return static_cast<int>(
      std::max<int64_t>(1, std::min(wanted, p.reduce_size / kShortestArgPiece)));
}

// The same for indices: scratch has those of pieces.
void dispatch_arg_reduce(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<ReduceParams>();
  p.pieces = arg_pieces_of(p);
  if (p.pieces == 1) {
    add_whole_rows(call, p, base_name(call.kernel), dispatches);
    return;
  }
  Dispatch& first = dispatches.add(base_name(call.kernel), 2);
  shape_reduce(first, call.addresses[0], size_of(call.kernel.in), {"_rows", 0}, p);
  first.set_places({{0}, {kScratch}});
  Dispatch& second = dispatches.add(base_name(call.kernel), 3);
  second.kernel += "_together";
  second.set_places({{0}, {kScratch}, {1}});
  second.threads =
      static_cast<uint32_t>(std::min<int64_t>(kThreads, divided_up(p.pieces, kLanes) * kLanes));
  second.set_groups(p.out_size);
  second.set_params(p);
}

int64_t arg_reduce_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const auto p = Call{kernel, {}, params}.params_as<ReduceParams>();
  const int pieces = arg_pieces_of(p);
  return pieces == 1 ? 0 : p.out_size * pieces * size_of(uint32);
}

} // namespace

const Row reduce_row = {reduce_name, "_rows", dispatch_reduce, reduce_scratch};
const Row arg_reduce_row = {reduce_name, "_rows", dispatch_arg_reduce, arg_reduce_scratch};

} // namespace narrows::gpu
