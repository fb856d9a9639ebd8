#include <algorithm>
#include <array>
#include <cstdlib>
#include <initializer_list>
#include <limits>

#include "metal_kernels/attention.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/tf32.h"

namespace narrows::gpu {
namespace {

// As in attention.metal.
constexpr int64_t kColumns = 4 * kLanes;
constexpr int64_t kMostSimdgroups = 16;
// As in attention_tiles.metal.
constexpr uint32_t kTileThreads = 256;
// Fewer queries would leave most of a tile unused.
constexpr int64_t kFewestTiledQueries = 16;
// As in attention_rows.metal.
constexpr int64_t kNumbers = 8; // of a lane
constexpr int64_t kMostParts = 128;
// Fewer keys are not worth a second dispatch, which combines their parts.
constexpr int64_t kFewestKeysInParts = 768;
constexpr int64_t kShortestPart = 256;
// Threads of that kernel have up to 128 registers, of which there are 65,536.
constexpr int64_t kMostRowSimdgroups = 8;
constexpr int64_t kEnoughGroups = 256;

// As in attention_blocks.h.
constexpr uint32_t kBlockThreads = 128;
constexpr int64_t kBlockRows = 64;
constexpr std::array<int64_t, 4> kBlockSizes{32, 64, 96, 128};

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

// Whether matrix units compute the call: numbers of at most 32 bits, in rows that registers hold.
bool has_blocks(const KernelId& kernel, const AttentionParams& p) {
  return kernel.in != float64 && std::max(p.size, p.value_size) <= kBlockSizes.back();
}

// The variant for such rows, which may round float32 factors.
std::string blocks_name(const KernelId& kernel, const AttentionParams& p) {
  const int64_t size =
      *std::lower_bound(kBlockSizes.begin(), kBlockSizes.end(), std::max(p.size, p.value_size));
  const bool is_short = kernel.in == float32 && tf32_enabled();
  return concat_message(base_name(kernel), "_blocks", size, is_short ? "_short" : "");
}

// Whether the rows of an operand begin at packs of 16 bytes.
bool has_packs(
    const AttentionParams& p,
    const AttentionView& view,
    std::uintptr_t address,
    int64_t rows,
    int64_t item_size) {
  const auto whole = [&](int64_t distance) { return distance * item_size % kVectorBytes == 0; };
  bool packs = is_aligned(address) && view.column == 1 && whole(view.head);
  packs &= rows == 1 || whole(view.row);
  for (int64_t d = 0; d < p.batch_ndim; ++d) {
    packs &= whole(view.batch[d]);
  }
  return packs;
}

// Whether the rows of an operand consist of whole and aligned packs.
bool is_packed(
    const Call& call,
    const AttentionParams& p,
    uint32_t operand,
    const AttentionView& view,
    int64_t columns) {
  constexpr int64_t kSeveralRows = 2; // their distance counts
  const int64_t item_size = size_of(call.kernel.in);
  return columns * item_size % kVectorBytes == 0 &&
         has_packs(p, view, call.addresses[operand], kSeveralRows, item_size);
}

// A threadgroup for some rows of each head.
void set_blocks(Dispatch& dispatch, const AttentionParams& p, int64_t heads, int64_t rows) {
  dispatch.threads = kBlockThreads;
  dispatch.set_groups(batch_of(p) * heads * divided_up(rows, kBlockRows));
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

// Apart from where operands lie.
bool may_go_in_rows(const KernelId& kernel, const AttentionParams& p) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  const auto fits = [](int64_t size) {
    return size > 0 && size <= kNumbers * kLanes && size % kNumbers == 0;
  };
  return kernel.in != float64 && p.queries < kFewestTiledQueries && fits(p.size) &&
         fits(p.value_size) && p.keys > 0 && p.keys < kMost &&
         batch_of(p) * p.heads * p.queries < kMost;
}
bool goes_in_rows(const Call& call, const AttentionParams& p) {
  const int64_t item_size = size_of(call.kernel.in);
  // The kernel multiplies numbers of keys and distances in 32 bits.
  const auto is_near = [&](int64_t distance) {
    return std::abs(distance) <= std::numeric_limits<int32_t>::max() / p.keys;
  };
  return may_go_in_rows(call.kernel, p) && is_near(p.key.row) && is_near(p.value.row) &&
         is_near(p.mask.column) && has_packs(p, p.query, call.addresses[0], p.queries, item_size) &&
         has_packs(p, p.key, call.addresses[1], p.keys, item_size) &&
         has_packs(p, p.value, call.addresses[2], p.keys, item_size);
}

// How threadgroups share the keys of each query.
struct AttentionRows {
  int64_t rows;
  int64_t simdgroups;
  AttentionRowsParams params;

  explicit AttentionRows(const AttentionParams& p) : params{} {
    const int64_t batch = batch_of(p);
    rows = batch * p.heads * p.queries;
    params.attention = p;
    if (batch == 1) {
      params.attention.batch_ndim = 0;
    }
    const int64_t wanted = std::clamp<int64_t>(kEnoughGroups / rows, 1, kMostParts);
    const int64_t parts =
        p.keys < kFewestKeysInParts ? 1 : std::min(wanted, p.keys / kShortestPart);
    params.part_keys = static_cast<int32_t>(divided_up(divided_up(p.keys, parts), kLanes) * kLanes);
    params.parts = static_cast<int32_t>(divided_up(p.keys, int64_t{params.part_keys}));
    simdgroups =
        std::clamp<int64_t>(divided_up(int64_t{params.part_keys}, kLanes), 1, kMostRowSimdgroups);
  }
  // Of the kernel's name: the lanes of a key.
  const char* suffix() const {
    const AttentionParams& p = params.attention;
    const int64_t needed = divided_up(std::max(p.size, p.value_size), kNumbers);
    return needed <= 8 ? "_rows_8" : needed <= 16 ? "_rows_16" : "_rows_32";
  }
};

void dispatch_rows(
    const Call& call,
    const AttentionParams& p,
    std::initializer_list<Place> inputs,
    Place result,
    Place statistics,
    Dispatches& dispatches) {
  const AttentionRows way(p);
  const bool has_parts = way.params.parts > 1;
  Dispatch& first = dispatches.add(base_name(call.kernel), 0);
  first.kernel += way.suffix();
  first.set_places(inputs);
  first.places[first.place_count++] = has_parts ? Place{kScratch} : statistics;
  first.places[first.place_count++] = result;
  first.places[first.place_count++] = statistics;
  first.written = has_parts ? 3 : 2;
  first.threads = static_cast<uint32_t>(kLanes * way.simdgroups);
  first.set_groups(way.rows * way.params.parts);
  first.set_params(way.params);
  if (has_parts) {
    Dispatch& second = dispatches.add(base_name(call.kernel), 0);
    second.kernel += "_together";
    second.set_places({{kScratch}, result, statistics});
    second.written = 2;
    second.threads = static_cast<uint32_t>(divided_up(p.value_size, kLanes) * kLanes);
    second.set_groups(way.rows);
    second.set_params(way.params);
  }
}

int64_t attention_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const auto p = Call{kernel, {}, params}.params_as<AttentionParams>();
  if (!may_go_in_rows(kernel, p)) {
    return 0;
  }
  const AttentionRows way(p);
  const int64_t parts = way.params.parts;
  return parts == 1 ? 0 : way.rows * parts * (p.value_size + 2) * size_of(float32);
}

void dispatch_attention(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<AttentionParams>();
  const uint32_t rest = first_rest(p);
  const uint32_t outputs = rest + (p.has_sinks ? 1 : 0);
  const uint32_t statistics = outputs + 1;
  const std::initializer_list<Place> inputs = {
      unless_empty(0, {p.size}, statistics),
      unless_empty(1, {p.size, p.keys}, statistics),
      unless_empty(2, {p.value_size, p.keys}, statistics),
      mask_place(p, AttentionMask::additive, statistics),
      mask_place(p, AttentionMask::boolean, statistics),
      {p.has_sinks ? rest : statistics}};
  const Place result = unless_empty(outputs, {p.value_size}, statistics);
  if (goes_in_rows(call, p)) {
    dispatch_rows(call, p, inputs, result, {statistics}, dispatches);
    return;
  }
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 0);
  dispatch.set_places(inputs);
  dispatch.places[dispatch.place_count++] = result;
  dispatch.places[dispatch.place_count++] = {statistics};
  dispatch.written = 2;
  // Statistics are written even if values have no columns.
  if (p.queries < kFewestTiledQueries) {
    set_queries(dispatch, p);
  } else if (has_blocks(call.kernel, p)) {
    dispatch.kernel = blocks_name(call.kernel, p);
    p.packed = is_packed(call, p, 1, p.key, p.size) && is_packed(call, p, 2, p.value, p.value_size);
    set_blocks(dispatch, p, p.heads, p.queries);
  } else {
    dispatch.kernel += "_tiled";
    set_tiles(dispatch, call.kernel, p, p.heads, p.queries, p.value_size);
  }
}

void dispatch_attention_gradient(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<AttentionParams>();
  const uint32_t rest = first_rest(p);
  const bool blocks = has_blocks(call.kernel, p);
  const std::string name = blocks ? blocks_name(call.kernel, p) : base_name(call.kernel);
  if (blocks) {
    p.packed = is_packed(call, p, 0, p.query, p.size) && is_packed(call, p, 1, p.key, p.size) &&
               is_packed(call, p, 2, p.value, p.value_size) &&
               is_packed(call, p, rest + 2, p.cotangent, p.value_size);
  }
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
  Dispatch& queries = dispatches.add(name + "_queries", 0);
  add_inputs(queries, outputs);
  queries.places[queries.place_count++] = {outputs};
  if (blocks) {
    set_blocks(queries, p, p.heads, p.queries);
  } else {
    set_tiles(queries, call.kernel, p, p.heads, p.queries, p.size);
  }
  Dispatch& keys = dispatches.add(name + "_keys", 0);
  const uint32_t written = p.size > 0 ? outputs + 1 : outputs + 2;
  add_inputs(keys, written);
  keys.places[keys.place_count++] = {written};
  keys.places[keys.place_count++] = unless_empty(outputs + 2, {p.value_size}, written);
  keys.written = 2;
  if (blocks) {
    set_blocks(keys, p, p.key_heads, p.keys);
  } else {
    set_tiles(keys, call.kernel, p, p.key_heads, p.keys, std::max(p.size, p.value_size));
  }
}

} // namespace

const Row attention_row = {attention_name, "", dispatch_attention, attention_scratch};
const Row attention_gradient_row = {attention_name, "_queries", dispatch_attention_gradient};

} // namespace narrows::gpu
