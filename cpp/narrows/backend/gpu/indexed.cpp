// gather and scatter.
#include <limits>

#include "metal_kernels/indexed.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

constexpr int64_t kMostNumbers = std::numeric_limits<uint32_t>::max() - 1;

std::string_view operation_of(const KernelId& kernel) {
  return operation_name(KernelFamily::scatter, kernel.op);
}

bool is_assign(const KernelId& kernel) {
  return static_cast<ScatterOp>(kernel.op) == ScatterOp::assign;
}

std::string moved_name(const KernelId& kernel, int64_t item_size) {
  return concat_message(name_of(kernel.family), "_", 8 * item_size, "_", name_of(kernel.index));
}

std::string gather_name(const KernelId& kernel) {
  return moved_name(kernel, size_of(kernel.in));
}

// For assignments the whole name; for other operations that of the kernel that combines.
std::string scatter_name(const KernelId& kernel) {
  return is_assign(kernel)
             ? moved_name(kernel, size_of(kernel.in)) + "_several"
             : concat_message("scatter_", operation_of(kernel), "_", name_of(kernel.in));
}

const char* variant_of(const IndexedParams& p) {
  return p.indices == 1 ? "_one" : "_several";
}

// Appends the index arrays, which are the call's operands from number 1 on: one, or as many as the
// kernel for several takes. Missing ones are never read.
void bind_indices(Dispatch& dispatch, const IndexedParams& p) {
  const int count = p.indices == 1 ? 1 : NARROWS_MAX_INDICES;
  for (int k = 0; k < count; ++k) {
    dispatch.places[dispatch.place_count++] = {1 + static_cast<uint32_t>(k < p.indices ? k : 0)};
  }
}

void bind(Dispatch& dispatch, Place place) {
  dispatch.places[dispatch.place_count++] = place;
}

// Whether rows of columns can be moved in packs of `factor` elements.
bool has_packs(const Call& call, const IndexedParams& p, int64_t factor, int64_t item_size) {
  const int last = p.ndim - 1;
  if (last < 0 || p.array_strides[last] != 1 || p.other_strides[last] != 1 ||
      p.shape[last] % factor != 0) {
    return false;
  }
  for (int k = 0; k < p.indices; ++k) {
    if (p.index_strides[k][last] != 0 || p.steps[k] % factor != 0) {
      return false;
    }
  }
  for (int d = 0; d < last; ++d) {
    if (p.array_strides[d] % factor != 0 || p.other_strides[d] % factor != 0) {
      return false;
    }
  }
  const auto pack = static_cast<std::uintptr_t>(factor * item_size);
  return call.addresses.front() % pack == 0 && call.addresses.back() % pack == 0;
}

// Merges elements into packs of up to 16 bytes. Returns the size of a pack.
int64_t widen(const Call& call, IndexedParams& p) {
  int64_t item_size = size_of(call.kernel.in);
  for (int64_t factor = kVectorBytes / item_size; factor > 1; factor /= 2) {
    if (!has_packs(call, p, factor, item_size)) {
      continue;
    }
    for (int k = 0; k < p.indices; ++k) {
      p.steps[k] /= factor;
    }
    for (int d = 0; d + 1 < p.ndim; ++d) {
      p.array_strides[d] /= factor;
      p.other_strides[d] /= factor;
    }
    p.shape[p.ndim - 1] /= factor;
    p.columns /= factor;
    return item_size * factor;
  }
  return item_size;
}

// For gathers and assignments, which only move elements.
void dispatch_move(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<IndexedParams>();
  const int64_t item_size = widen(call, p);
  Dispatch& dispatch = dispatches.add(moved_name(call.kernel, item_size) + variant_of(p), 0);
  bind(dispatch, {0});
  bind_indices(dispatch, p);
  bind(dispatch, {1 + static_cast<uint32_t>(p.indices)});
  dispatch.set_threads(p.lines * p.positions * p.columns);
  dispatch.set_params(p);
}

// Scratch: the heads of the chains and, for each position, the next position of its chain and its
// row.
int64_t head_count(const IndexedParams& p) {
  return p.lines * p.rows;
}
int64_t position_count(const IndexedParams& p) {
  return p.lines * p.positions;
}

int64_t scatter_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const auto p = Call{kernel, {}, params}.params_as<IndexedParams>();
  return is_assign(kernel)
             ? 0
             : static_cast<int64_t>(sizeof(uint32_t)) * (head_count(p) + 2 * position_count(p));
}

void dispatch_scatter(const Call& call, Dispatches& dispatches) {
  if (is_assign(call.kernel)) {
    dispatch_move(call, dispatches);
    return;
  }
  const auto p = call.params_as<IndexedParams>();
  if (head_count(p) > kMostNumbers || position_count(p) > kMostNumbers) {
    fail<std::runtime_error>(
        "[gpu] a scatter of ",
        position_count(p),
        " positions into ",
        head_count(p),
        ", expected fewer than 2^32.");
  }
  const Place heads{kScratch, 0};
  const Place next{kScratch, 4 * head_count(p)};
  const Place rows{kScratch, 4 * (head_count(p) + position_count(p))};

  Dispatch& clear = dispatches.add("scatter_clear", 0);
  bind(clear, heads);
  clear.set_threads(head_count(p));
  clear.set_params(p);

  Dispatch& link =
      dispatches.add(concat_message("scatter_link_", name_of(call.kernel.index), variant_of(p)), 0);
  bind_indices(link, p);
  for (const Place& place : {heads, next, rows}) {
    bind(link, place);
  }
  link.set_threads(position_count(p));
  link.set_params(p);

  Dispatch& combine = dispatches.add(base_name(call.kernel), 0);
  for (const Place& place :
       {heads, next, rows, Place{0}, Place{1 + static_cast<uint32_t>(p.indices)}}) {
    bind(combine, place);
  }
  combine.set_threads(position_count(p) * p.columns);
  combine.set_params(p);
}

} // namespace

const Row gather_row = {gather_name, "_several", dispatch_move};
const Row scatter_row = {scatter_name, "", dispatch_scatter, scatter_scratch};

} // namespace narrows::gpu
