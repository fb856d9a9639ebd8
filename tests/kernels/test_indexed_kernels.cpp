// gather and scatter.
#include "harness.h"
#include "metal_kernels/indexed.h"

namespace narrows::testing {
namespace {

class IndexedKernels : public KernelTest {};

constexpr Dtype kIndexDtypes[] = {int32, uint32, int64};

// A walk over an array of (3, 40, 24) elements and the array beside it.
struct IndexedWalkCase {
  const char* name;
  IndexedParams params;
  int64_t array_offset = 0;
};
constexpr int64_t kArrayElements = 3 * 40 * 24;
constexpr int64_t kOtherElements = 4096;
constexpr int64_t kIndexElements = 512;

// The dimensions that are not given stay 0.
IndexedParams walk(
    int32_t line_dims,
    int32_t position_dims,
    std::vector<int64_t> shape,
    std::vector<int64_t> array_strides,
    std::vector<int64_t> other_strides) {
  IndexedParams p{};
  p.lines = p.positions = p.columns = p.rows = 1;
  p.line_dims = line_dims;
  p.position_dims = position_dims;
  p.ndim = static_cast<int32_t>(shape.size());
  for (int d = 0; d < p.ndim; ++d) {
    p.shape[d] = shape[d];
    p.array_strides[d] = array_strides[d];
    p.other_strides[d] = other_strides[d];
    (d < line_dims ? p.lines : d < line_dims + position_dims ? p.positions : p.columns) *= shape[d];
  }
  return p;
}

IndexedParams with_index(
    IndexedParams p, int64_t size, int64_t window, int64_t step, std::vector<int64_t> strides) {
  const int k = p.indices++;
  p.sizes[k] = size;
  p.limits[k] = size - window;
  p.steps[k] = step;
  p.pitches[k] = p.rows;
  p.rows *= size;
  std::copy(strides.begin(), strides.end(), p.index_strides[k]);
  return p;
}

std::vector<IndexedWalkCase> cases() {
  std::vector<IndexedWalkCase> result;
  // Rows of 24 elements, aligned and not, at indices along the middle dimension.
  const IndexedParams rows = with_index(walk(0, 1, {31, 24}, {0, 1}, {24, 1}), 120, 1, 24, {1, 0});
  result.push_back({"rows", rows});
  result.push_back({"rows with an offset", rows, 3});
  result.push_back(
      {"elements", with_index(walk(0, 1, {300}, {0}, {1}), kArrayElements, 1, 1, {1})});
  // Along the middle dimension, with indices for each line.
  result.push_back(
      {"lines",
       with_index(walk(2, 1, {3, 24, 7}, {960, 1, 0}, {168, 1, 24}), 40, 1, 24, {168, 1, 24})});
  // A batch that shares the indices.
  result.push_back(
      {"shared",
       with_index(walk(0, 1, {9, 3, 24}, {0, 960, 1}, {72, 24, 1}), 40, 1, 24, {1, 0, 0})});
  // Two arrays of indices, one broadcast.
  IndexedParams pairs = walk(0, 2, {5, 6, 24}, {0, 0, 1}, {144, 24, 1});
  pairs = with_index(pairs, 3, 1, 960, {1, 0, 0});
  result.push_back({"pairs", with_index(pairs, 40, 1, 24, {0, 2, 0})});
  IndexedParams triples = walk(0, 1, {200}, {0}, {2});
  triples = with_index(triples, 3, 1, 960, {1});
  triples = with_index(triples, 40, 1, 24, {2});
  result.push_back({"triples", with_index(triples, 24, 1, 1, {0})});
  // Windows of five rows that overlap.
  IndexedParams windows =
      with_index(walk(0, 2, {6, 5, 24}, {0, 24, 1}, {120, 24, 1}), 120, 5, 24, {1, 0, 0});
  windows.row_pitches[1] = 1;
  result.push_back({"windows", windows});
  return result;
}

// Indices within the range of each axis or, if `wild`, anywhere.
Memory indices_of(Dtype dtype, int64_t size, bool wild, bool unique) {
  std::mt19937_64 random(9);
  TypedBuffer indices(dtype, kIndexElements);
  for (int64_t i = 0; i < kIndexElements; ++i) {
    const auto n = static_cast<uint64_t>(size);
    int64_t index =
        static_cast<int64_t>(unique ? static_cast<uint64_t>(i + i / 24) * 7 % n : random() % n);
    if (!is_unsigned(dtype) && !unique && random() % 2 == 0) {
      index -= size;
    }
    if (wild && random() % 3 == 0) {
      index = static_cast<int64_t>(random() % 100000) - (is_unsigned(dtype) ? 0 : 50000);
    }
    indices.set(i, static_cast<double>(index));
  }
  return memory_of(indices);
}

std::vector<Memory> operands_of(
    const IndexedParams& p,
    const TypedBuffer& read,
    const TypedBuffer& written,
    Dtype index,
    bool unique) {
  std::vector<Memory> operands{memory_of(read)};
  for (int k = 0; k < p.indices; ++k) {
    operands.push_back(indices_of(index, p.sizes[k], !unique, unique));
  }
  operands.push_back(memory_of(written));
  return operands;
}

TEST_P(IndexedKernels, gather) {
  for (const Dtype dtype : {uint8, float16, float32, complex64}) {
    TypedBuffer array(dtype, kArrayElements + 3), result(dtype, kOtherElements);
    fill_varied(array, 1);
    fill_varied(result, 2);
    for (const Dtype index : kIndexDtypes) {
      for (IndexedWalkCase walk : cases()) {
        for (walk.params.clamp = 0; walk.params.clamp < 2; ++walk.params.clamp) {
          std::vector<int64_t> offsets(static_cast<size_t>(walk.params.indices) + 2, 0);
          offsets[0] = walk.array_offset;
          expect_launch_same(
              {KernelFamily::gather, 0, dtype, dtype, index},
              walk.name,
              operands_of(walk.params, array, result, index, false),
              offsets,
              walk.params,
              {0, 0});
        }
      }
    }
  }
}

TEST_P(IndexedKernels, scatter) {
  for (const Dtype dtype : kAllDtypes) {
    for (int op = 0; op < operation_count(KernelFamily::scatter); ++op) {
      const bool assigns = static_cast<ScatterOp>(op) == ScatterOp::assign;
      TypedBuffer updates(dtype, kOtherElements), array(dtype, kArrayElements + 3);
      if (static_cast<ScatterOp>(op) == ScatterOp::multiply) {
        fill_units(updates, 1);
        fill_units(array, 2);
      } else {
        fill_small(updates, 1);
        fill_small(array, 2);
      }
      for (const Dtype index : kIndexDtypes) {
        for (IndexedWalkCase walk : cases()) {
          // Any of several assigned values may stay.
          const bool once = walk.params.indices == 1 && walk.params.row_pitches[1] == 0;
          if (assigns && !once) {
            continue;
          }
          for (walk.params.clamp = 0; walk.params.clamp < 2; ++walk.params.clamp) {
            std::vector<int64_t> offsets(static_cast<size_t>(walk.params.indices) + 2, 0);
            offsets.back() = walk.array_offset;
            expect_launch_same(
                {KernelFamily::scatter, static_cast<uint8_t>(op), dtype, dtype, index},
                walk.name,
                operands_of(walk.params, updates, array, index, assigns),
                offsets,
                walk.params,
                default_tolerance(dtype));
          }
        }
      }
    }
  }
}

NARROWS_IN_ALL_ORDERS(IndexedKernels)

} // namespace
} // namespace narrows::testing
