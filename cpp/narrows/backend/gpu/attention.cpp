#include <algorithm>
#include <initializer_list>

#include "metal_kernels/attention.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

// As in attention.metal.
constexpr int64_t kColumns = 4 * kLanes;
constexpr int64_t kMostSimdgroups = 16;
// As in attention_tiles.metal.
constexpr uint32_t kTileThreads = 256;
// Fewer queries would leave most of a tile unused.
constexpr int64_t kFewestTiledQueries = 16;

std::string attention_name(const KernelId& kernel) {
  return concat_message(name_of(kernel.family), "_", name_of(kernel.in));
}

int64_t batch_of(const AttentionParams& p) {
  int64_t count = 1;
  for (int64_t d = 0; d < p.batch_ndim; ++d) {
    count *= p.batch_shape[d];
  }
  return count;
}

// A threadgroup for each tile of rows and columns.
void set_tiles(
    Dispatch& dispatch,
    const KernelId& kernel,
    const AttentionParams& p,
    int64_t heads,
    int64_t rows,
    int64_t columns) {
  const int64_t tile = kernel.in == float64 ? 32 : 64;
  dispatch.threads = kTileThreads;
  dispatch.set_groups(
      batch_of(p) * heads * divided_up(rows, tile) *
      std::max<int64_t>(1, divided_up(columns, tile)));
  dispatch.set_params(p);
}

// A threadgroup for each query, and for columns that a simdgroup sums.
void set_queries(Dispatch& dispatch, const AttentionParams& p) {
  const int64_t parts = std::max<int64_t>(1, divided_up(p.value_size, kColumns));
  const int64_t simdgroups = std::clamp<int64_t>(divided_up(p.keys, kLanes), 1, kMostSimdgroups);
  dispatch.threads = static_cast<uint32_t>(kLanes * simdgroups);
  dispatch.set_groups(batch_of(p) * p.heads * p.queries * parts);
  dispatch.set_params(p);
}

bool has_mask(const AttentionParams& p) {
  return p.mask_kind == AttentionMask::boolean || p.mask_kind == AttentionMask::additive;
}
// The number of operands behind the mask.
uint32_t first_rest(const AttentionParams& p) {
  return has_mask(p) ? 4 : 3;
}

// An operand. An operand without elements has no memory; another one that the kernel does not touch
// takes its place.
Place unless_empty(uint32_t operand, std::initializer_list<int64_t> sizes, uint32_t other) {
  return {std::find(sizes.begin(), sizes.end(), 0) == sizes.end() ? operand : other};
}

// The mask, if it is of this kind.
Place mask_place(const AttentionParams& p, AttentionMask kind, uint32_t other) {
  return p.mask_kind == kind ? unless_empty(3, {p.queries, p.keys}, other) : Place{other};
}

void dispatch_attention(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<AttentionParams>();
  const uint32_t rest = first_rest(p);
  const uint32_t outputs = rest + (p.has_sinks ? 1 : 0);
  const uint32_t statistics = outputs + 1;
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 0);
  dispatch.set_places(
      {unless_empty(0, {p.size}, statistics),
       unless_empty(1, {p.size, p.keys}, statistics),
       unless_empty(2, {p.value_size, p.keys}, statistics),
       mask_place(p, AttentionMask::additive, statistics),
       mask_place(p, AttentionMask::boolean, statistics),
       {p.has_sinks ? rest : statistics},
       unless_empty(outputs, {p.value_size}, statistics),
       {statistics}});
  // Statistics are written even if values have no columns.
  if (p.queries < kFewestTiledQueries) {
    set_queries(dispatch, p);
  } else {
    dispatch.kernel += "_tiled";
    set_tiles(dispatch, call.kernel, p, p.heads, p.queries, p.value_size);
  }
}

void dispatch_attention_gradient(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<AttentionParams>();
  const uint32_t rest = first_rest(p);
  const auto add_inputs = [&](Dispatch& dispatch, uint32_t other) {
    dispatch.set_places(
        {unless_empty(0, {p.size, p.queries}, other),
         unless_empty(1, {p.size, p.keys}, other),
         unless_empty(2, {p.value_size, p.keys}, other),
         mask_place(p, AttentionMask::additive, other),
         mask_place(p, AttentionMask::boolean, other),
         unless_empty(rest, {p.queries}, other),
         unless_empty(rest + 1, {p.queries}, other),
         unless_empty(rest + 2, {p.value_size, p.queries}, other)});
  };
  const uint32_t outputs = rest + 3;
  Dispatch& queries = dispatches.add(base_name(call.kernel) + "_queries", 0);
  add_inputs(queries, outputs);
  queries.places[queries.place_count++] = {outputs};
  set_tiles(queries, call.kernel, p, p.heads, p.queries, p.size);
  Dispatch& keys = dispatches.add(base_name(call.kernel) + "_keys", 0);
  const uint32_t written = p.size > 0 ? outputs + 1 : outputs + 2;
  add_inputs(keys, written);
  keys.places[keys.place_count++] = {written};
  keys.places[keys.place_count++] = unless_empty(outputs + 2, {p.value_size}, written);
  set_tiles(keys, call.kernel, p, p.key_heads, p.keys, std::max(p.size, p.value_size));
}

} // namespace

const Row attention_row = {attention_name, "", dispatch_attention};
const Row attention_gradient_row = {attention_name, "_queries", dispatch_attention_gradient};

} // namespace narrows::gpu
