#include "narrows/backend/gpu/dispatch.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "metal_kernels/params.h"
#include "narrows/backend/gpu/strided.h"
#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kStridedThreads = 128; // the sooner a small group starts where one has ended
constexpr uint32_t kLanes = 32;
constexpr int64_t kVectorBytes = 16;
// Reductions of fewer threadgroups are cut in pieces, of no fewer elements than these.
constexpr int64_t kEnoughGroups = 512;
constexpr int64_t kShortestRowPiece = 8192;
constexpr int64_t kShortestColumnPiece = 256;
// Threads that share a tile of a matrix product, and the tile's sides.
constexpr uint32_t kGemmThreads = 256;
constexpr int64_t kGemmTile = 64;

template <typename T>
T params_as(std::span<const std::byte> params) {
  T result;
  std::memcpy(&result, params.data(), sizeof(T));
  return result;
}

template <typename T>
void set_params(Dispatch& dispatch, const T& params) {
  static_assert(sizeof(T) <= sizeof(dispatch.params));
  std::memcpy(dispatch.params.data(), &params, sizeof(T));
  dispatch.params_size = sizeof(T);
}

void set_groups(Dispatch& dispatch, int64_t groups) {
  if (groups > std::numeric_limits<int32_t>::max()) {
    fail<std::runtime_error>("[gpu] ", dispatch.kernel, ": too many threadgroups");
  }
  dispatch.groups = {static_cast<uint32_t>(groups), 1, 1};
}

void set_threads(Dispatch& dispatch, int64_t threads, uint32_t in_group = kThreads) {
  dispatch.threads = in_group;
  set_groups(dispatch, divided_up(threads, in_group));
}

bool is_aligned(std::uintptr_t address) {
  return address % kVectorBytes == 0;
}

// Elements are moved by their size alone.
Dtype unsigned_of_size(Dtype dtype) {
  switch (size_of(dtype)) {
    case 1:
      return uint8;
    case 2:
      return uint16;
    case 4:
      return uint32;
    default:
      return uint64;
  }
}

std::string make_base_name(const KernelId& kernel) {
  switch (kernel.family) {
    case KernelFamily::select:
      return concat_message("select_", name_of(unsigned_of_size(kernel.out)));
    case KernelFamily::fill:
      return concat_message("fill_", name_of(unsigned_of_size(kernel.out)));
    case KernelFamily::arange:
      return concat_message("arange_", name_of(kernel.out));
    case KernelFamily::cast:
      if (kernel.in == kernel.out) {
        const std::string_view name = name_of(unsigned_of_size(kernel.in));
        return concat_message("cast_", name, "_", name);
      }
      return name_of(kernel);
    case KernelFamily::scan:
      return name_of(kernel);
    case KernelFamily::random_bits:
      return "random_bits";
    default: {
      // The result's dtype follows from the others.
      const std::string name = name_of(kernel);
      return name.substr(0, name.rfind('_'));
    }
  }
}

// The part of the name that all variants share, kept: names take longer to make than launches.
const std::string& base_name(const KernelId& kernel) {
  thread_local std::unordered_map<uint32_t, std::string> names;
  const uint32_t key = static_cast<uint32_t>(kernel.family) << 24 | uint32_t{kernel.op} << 16 |
                       static_cast<uint32_t>(kernel.in) << 8 | static_cast<uint32_t>(kernel.out);
  const auto found = names.find(key);
  return found != names.end() ? found->second
                              : names.emplace(key, make_base_name(kernel)).first->second;
}

bool is_contiguous(const ElementwiseParams& p) {
  if (p.ndim == 0) {
    return true;
  }
  if (p.ndim > 1) {
    return false;
  }
  for (int k = 0; k <= p.inputs; ++k) {
    if (p.strides[k][0] != 1) {
      return false;
    }
  }
  return true;
}

Dtype dtype_of(const KernelId& kernel, size_t operand, size_t operands) {
  if (kernel.family == KernelFamily::select) {
    return operand == 0 ? bool_ : kernel.out;
  }
  return operand + 1 == operands ? kernel.out : kernel.in;
}

void shape_elementwise(
    Dispatch& dispatch,
    const KernelId& kernel,
    std::span<const std::uintptr_t> addresses,
    const ElementwiseParams& p) {
  std::array<int64_t, NARROWS_MAX_OPERANDS> phases{};
  int64_t largest = 1;
  for (size_t k = 0; k < addresses.size(); ++k) {
    const int64_t size = size_of(dtype_of(kernel, k, addresses.size()));
    phases[k] = static_cast<int64_t>(addresses[k] % kVectorBytes) / size;
    largest = std::max(largest, size);
  }
  const bool aligned = std::all_of(addresses.begin(), addresses.end(), is_aligned);
  if (aligned && is_contiguous(p)) {
    dispatch.kernel += "_contiguous";
    const int64_t elements = kVectorBytes / largest;
    const int64_t packs = elements <= 2 ? 4 : 2; // as in elements.h
    set_threads(dispatch, divided_up(p.size, packs * elements));
    set_params(dispatch, p);
  } else {
    dispatch.kernel += "_strided";
    const StridedParams strided = strided_params(p, phases, largest);
    set_threads(dispatch, strided.threads, kStridedThreads);
    set_params(dispatch, strided);
  }
}

// How threads find the elements of a reduction: along rows, or along neighbouring columns, of which
// a thread takes one or as many as fill 16 bytes.
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

// Threadgroups that reduce one piece of all results.
int64_t reduce_groups(const ReduceParams& p, ReduceWay way) {
  return way.columns > 0 ? divided_up(p.out_size, way.columns) : p.out_size;
}

// So many that each has the four loads under way that the kernel starts together.
uint32_t row_threads(const ReduceParams& p, int64_t item_size) {
  if (p.reduce_size <= 1024) {
    return kLanes;
  }
  const bool packed = p.aligned && p.reduced_ndim == 1 && p.reduced_strides[0] == 1;
  const int64_t elements = 4 * (packed ? kVectorBytes / item_size : 1);
  const int64_t simdgroups = divided_up(p.reduce_size / p.pieces, elements * kLanes);
  return kLanes * static_cast<uint32_t>(std::clamp<int64_t>(simdgroups, 1, kThreads / kLanes));
}

void shape_reduce(
    Dispatch& dispatch, std::uintptr_t in, int64_t item_size, ReduceWay way, ReduceParams p) {
  dispatch.kernel += way.suffix;
  set_groups(dispatch, reduce_groups(p, way) * p.pieces);
  p.aligned = is_aligned(in);
  for (int d = 0; d < p.kept_ndim; ++d) {
    p.aligned &= p.kept_strides[d] * item_size % kVectorBytes == 0;
  }
  dispatch.threads = way.columns > 0 ? kThreads : row_threads(p, item_size);
  set_params(dispatch, p);
}

// Pieces that give a device enough threadgroups without making them too short.
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

Work reduce_work(const KernelId& kernel, std::uintptr_t in, ReduceParams p) {
  const ReduceWay way = way_of(p, in, size_of(kernel.in));
  p.pieces = pieces_of(p, way);
  Work work;
  work.first.kernel = base_name(kernel);
  if (p.pieces == 1) {
    shape_reduce(work.first, in, size_of(kernel.in), way, p);
    return work;
  }
  const Dtype partial = partial_dtype(kernel);
  const int64_t results = p.out_size;
  work.scratch_bytes = results * p.pieces * size_of(partial);
  work.second.emplace().kernel = base_name({kernel.family, kernel.op, partial, kernel.out});
  if (partial != kernel.out) {
    work.first.kernel += concat_message("_", name_of(partial));
    work.second->kernel += concat_message("_", name_of(kernel.out));
  }
  shape_reduce(work.first, in, size_of(kernel.in), way, p);

  // Pieces of a row are neighbours, those of a column are as far from each other as it has results.
  ReduceParams together{};
  together.out_size = results;
  together.reduce_size = p.pieces;
  together.kept_ndim = together.reduced_ndim = 1;
  together.kept_shape[0] = results;
  together.reduced_shape[0] = p.pieces;
  together.kept_strides[0] = way.columns > 0 ? 1 : p.pieces;
  together.reduced_strides[0] = way.columns > 0 ? results : 1;
  together.pieces = 1;
  shape_reduce(*work.second, 0, size_of(partial), way_of(together, 0, size_of(partial)), together);
  return work;
}

// Rows that fit in the registers of a threadgroup are read once.
bool shape_short_softmax(
    Dispatch& dispatch,
    const KernelId& kernel,
    std::span<const std::uintptr_t> addresses,
    const RowParams& p) {
  constexpr int64_t kPacks = 4; // of a thread, as in softmax.metal
  const int64_t elements = kVectorBytes / size_of(kernel.in);
  const int64_t threads = divided_up(p.length, kPacks * elements * kLanes) * kLanes;
  if (kernel.family != KernelFamily::softmax || is_complex(kernel.in) || threads > kThreads ||
      p.length % elements != 0 || !is_aligned(addresses[0]) || !is_aligned(addresses[1])) {
    return false;
  }
  dispatch.kernel += "_short";
  dispatch.threads = static_cast<uint32_t>(threads);
  set_groups(dispatch, p.rows);
  set_params(dispatch, p);
  return true;
}

void split(double value, float (&parts)[2]) {
  parts[0] = static_cast<float>(value);
  parts[1] = static_cast<float>(value - static_cast<double>(parts[0]));
}

} // namespace

std::string general_name(const KernelId& kernel) {
  const std::string& name = base_name(kernel);
  switch (kernel.family) {
    case KernelFamily::elementwise:
    case KernelFamily::select:
    case KernelFamily::cast:
      return name + "_strided";
    case KernelFamily::reduce:
    case KernelFamily::arg_reduce:
    case KernelFamily::scan:
      return name + "_rows";
    default:
      return name;
  }
}

Work work_of(
    const KernelId& kernel,
    std::span<const std::uintptr_t> addresses,
    std::span<const std::byte> params) {
  if (kernel.family == KernelFamily::reduce) {
    return reduce_work(kernel, addresses[0], params_as<ReduceParams>(params));
  }
  Work work;
  Dispatch& dispatch = work.first;
  dispatch.kernel = base_name(kernel);
  switch (kernel.family) {
    case KernelFamily::elementwise:
    case KernelFamily::select:
    case KernelFamily::cast:
      shape_elementwise(dispatch, kernel, addresses, params_as<ElementwiseParams>(params));
      break;
    case KernelFamily::arg_reduce: {
      auto p = params_as<ReduceParams>(params);
      p.pieces = 1;
      shape_reduce(dispatch, addresses[0], size_of(kernel.in), {"_rows", 0}, p);
      break;
    }
    case KernelFamily::scan: {
      const auto p = params_as<ScanParams>(params);
      if (p.inner == 1) {
        dispatch.kernel += "_rows";
        dispatch.threads = p.length <= 128 ? kLanes : kThreads;
        set_groups(dispatch, p.outer);
      } else {
        dispatch.kernel += "_columns";
        set_threads(dispatch, p.outer * p.inner);
      }
      set_params(dispatch, p);
      break;
    }
    case KernelFamily::softmax:
    case KernelFamily::logsumexp: {
      const auto p = params_as<RowParams>(params);
      if (shape_short_softmax(dispatch, kernel, addresses, p)) {
        break;
      }
      dispatch.threads = p.length <= 1024 ? kLanes : kThreads;
      set_groups(dispatch, p.rows);
      set_params(dispatch, p);
      break;
    }
    case KernelFamily::arange: {
      auto p = params_as<ArangeParams>(params);
      split(p.start, p.start_parts);
      split(p.step, p.step_parts);
      set_threads(dispatch, p.size);
      set_params(dispatch, p);
      break;
    }
    case KernelFamily::random_bits: {
      const auto p = params_as<RandomBitsParams>(params);
      set_threads(dispatch, p.keys * divided_up(p.bytes_per_key, 8));
      set_params(dispatch, p);
      break;
    }
    case KernelFamily::reduce:
    case KernelFamily::fill:
      fail<std::runtime_error>("[gpu] ", name_of(kernel), " is no launch of one dispatch");
  }
  return work;
}

Dispatch dispatch_of_fill(
    std::uintptr_t address, std::span<const std::byte> pattern, int64_t count) {
  Dispatch dispatch;
  FillParams p{count, 0};
  size_t size = pattern.size();
  std::memcpy(&p.value, pattern.data(), size);
  // Patterns are widened as far as the output allows, so that a thread writes more at once.
  while (size < 8 && p.size % 2 == 0 && address % (2 * size) == 0) {
    p.value |= p.value << (8 * size);
    p.size /= 2;
    size *= 2;
  }
  const Dtype dtype = size == 1 ? uint8 : size == 2 ? uint16 : size == 4 ? uint32 : uint64;
  dispatch.kernel = base_name({KernelFamily::fill, 0, dtype, dtype});
  set_threads(dispatch, divided_up(p.size, 4)); // as in fill.metal
  set_params(dispatch, p);
  return dispatch;
}

CopyLaunch copy_launch(std::uintptr_t addresses, int64_t bytes) {
  const std::uintptr_t all = addresses | static_cast<std::uintptr_t>(bytes);
  const Dtype dtype = all % 8 == 0 ? uint64 : all % 4 == 0 ? uint32 : all % 2 == 0 ? uint16 : uint8;
  CopyLaunch copy{{KernelFamily::cast, 0, dtype, dtype}, {}};
  copy.params.size = copy.params.shape[0] = bytes / size_of(dtype);
  copy.params.ndim = copy.params.inputs = 1;
  copy.params.strides[0][0] = copy.params.strides[1][0] = 1;
  return copy;
}

GemmDispatch dispatch_of_gemm(const GemmCall& call, int64_t first) {
  const auto stride_of = [&](std::span<const int64_t> offsets) {
    return first + 1 < call.batch ? offsets[first + 1] - offsets[first] : 0;
  };
  GemmParams p{};
  p.m = call.m;
  p.n = call.n;
  p.k = call.k;
  p.lda = call.lda;
  p.ldb = call.ldb;
  p.ldc = call.ldc;
  p.a_stride = stride_of(call.a_offsets);
  p.b_stride = stride_of(call.b_offsets);
  p.c_stride = stride_of(call.c_offsets);
  p.transpose_a = call.transpose_a;
  p.transpose_b = call.transpose_b;
  p.alpha = call.alpha;
  p.beta = call.beta;
  constexpr int64_t kMostBatches = 65535; // what grids may have in their third dimension
  GemmDispatch dispatch;
  dispatch.count = 1;
  while (dispatch.count < kMostBatches && first + dispatch.count < call.batch) {
    const int64_t i = first + dispatch.count;
    if (call.a_offsets[i] - call.a_offsets[i - 1] != p.a_stride ||
        call.b_offsets[i] - call.b_offsets[i - 1] != p.b_stride ||
        call.c_offsets[i] - call.c_offsets[i - 1] != p.c_stride) {
      break;
    }
    ++dispatch.count;
  }
  dispatch.steps = {p.a_stride, p.b_stride, p.c_stride};
  const int64_t row_tiles = divided_up(call.m, kGemmTile);
  const int64_t tiles = row_tiles * divided_up(call.n, kGemmTile);
  const char* prefix = is_half(call.dtype) ? "matmul_simdgroup_" : "matmul_tiled_";
  dispatch.kernel = prefix;
  dispatch.kernel += name_of(call.dtype);
  set_groups(dispatch, tiles);
  dispatch.groups[2] = static_cast<uint32_t>(dispatch.count);
  dispatch.threads = is_half(call.dtype) ? kGemmThreads / 2 : kGemmThreads;
  set_params(dispatch, p);
  return dispatch;
}

} // namespace narrows::gpu
