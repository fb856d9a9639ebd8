// Where the results of shape operations lie: what is a view, what is copied, what is overwritten.
#include <gtest/gtest.h>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/pad.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"
#include "narrows/ops/subscript.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

array numbers(const Shape& shape) {
  return reshape(arange(int64_t{0}, element_count(shape), int64_t{1}, int32), shape).eval();
}

// The elements in row-major order.
std::vector<int32_t> values(const array& a) {
  const array flat = contiguous(astype(a, int32)).eval();
  return {flat.data<int32_t>(), flat.data<int32_t>() + flat.size()};
}

using Values = std::vector<int32_t>;

// The bytes that evaluating the array would allocate.
int64_t allocated_bytes(const array& a) {
  std::lock_guard lock(graph_mutex());
  Tape tape;
  Plan planned;
  plan_outputs({&a, 1}, tape, planned);
  int64_t bytes = 0;
  for (uint32_t buffer : planned.allocated) {
    bytes += planned.buffers[buffer].bytes;
  }
  return bytes;
}

TEST(Shape, ViewsDoNotAllocate) {
  const array a = numbers({2, 3, 4});
  const std::vector<array> views = {
      reshape(a, {4, -1}),
      flatten(a, 1),
      unflatten(a, 2, {2, 2}),
      reshape(transpose(a, {1, 0, 2}), {3, 2, 2, 2}),
      reshape(broadcast_to(a, {5, 2, 3, 4}), {5, 6, 4}),
      reshape(broadcast_to(array(1), {4, 6}), {3, 8}),
      transpose(a),
      moveaxis(a, 0, -1),
      squeeze(expand_dims(a, {0, -1})),
      slice(a, {1, 2, 3}, {2, -1, -1}, {1, -1, -2}),
      flip(a),
      split(a, 2, 2)[1],
      diagonal(a, 1, 0, 2),
      as_strided(a, {5, 4}, {4, 1}, 3),
      view(a, int8),
      view(split(a, 2, 2)[1], int64),
  };
  for (const array& v : views) {
    EXPECT_EQ(allocated_bytes(v), 0) << to_string(v.shape());
  }
}

TEST(Shape, ReshapeCopiesWhereStridesCannotExpressIt) {
  const array a = numbers({2, 3});
  const array b = reshape(transpose(a), {6});
  EXPECT_EQ(allocated_bytes(b), rounded_bytes(b.nbytes()));
  EXPECT_EQ(values(b), (Values{0, 3, 1, 4, 2, 5}));
}

TEST(Shape, ReshapeInfersOneDimension) {
  EXPECT_EQ(reshape(numbers({0, 3}), {3, -1}).shape(), (Shape{3, 0}));
  EXPECT_THROW(reshape(numbers({0, 3}), {0, -1}), ValueError);
  EXPECT_THROW(reshape(numbers({6}), {4, -1}), ValueError);
  EXPECT_THROW(reshape(numbers({6}), {-1, -1}), ValueError);
  EXPECT_THROW(reshape(numbers({6}), {-2, -3}), ValueError);
}

TEST(Shape, AsStridedStaysInside) {
  const array a = numbers({4, 3});
  EXPECT_EQ(values(as_strided(a, {3}, {-3}, 11)), (Values{11, 8, 5}));
  EXPECT_EQ(values(as_strided(transpose(a), {3}, {1}, 0)), (Values{0, 3, 6}));
  EXPECT_THROW(as_strided(a, {13}, {1}), ValueError);
  EXPECT_THROW(as_strided(a, {2}, {-1}, 0), ValueError);
  EXPECT_THROW(as_strided(a, {3, 3}, {INT64_MAX, INT64_MAX}), ValueError);
}

TEST(Shape, SliceUpdateOverwritesWhatNobodyUses) {
  array cache = zeros({1000, 1024});
  eval(cache);
  const Buffer* const buffer = cache.buffer().get();
  const array row = ones({1, 1024}, float16).eval();
  const int64_t active = get_active_memory();
  reset_peak_memory();
  const IndexItem position = int64_t{7};
  cache = index_update(cache, {&position, 1}, row);
  EXPECT_EQ(allocated_bytes(cache), 0);
  eval(cache);
  EXPECT_EQ(cache.buffer().get(), buffer);
  EXPECT_EQ(get_peak_memory(), active);
  EXPECT_EQ(index(cache, {&position, 1}).eval().data<float>()[1023], 1.0f);
}

TEST(Shape, SliceUpdateCopiesWhatOthersHold) {
  const array a = numbers({4});
  // A value in the updated array must not be read after it was overwritten.
  const array shifted = slice_update(a, slice(a, {0}, {3}, {1}), {1}, {4}, {1});
  EXPECT_EQ(values(shifted), (Values{0, 0, 1, 2}));
  EXPECT_EQ(values(a), (Values{0, 1, 2, 3}));

  array b = numbers({4});
  b = slice_update(b, slice(b, {0}, {3}, {1}), {1}, {4}, {1});
  EXPECT_EQ(values(b), (Values{0, 0, 1, 2}));
  b = slice_update(b, b, {3}, {-1}, {-1});
  EXPECT_EQ(values(b), (Values{2, 1, 0, 0}));
}

TEST(Shape, JoinsAllocateTheirResultOnly) {
  const array a = numbers({64, 64});
  for (const array& joined :
       {concatenate({transpose(a), astype(a, float32)}, 1),
        stack({a, flip(a)}, 1),
        repeat(a, 3, 0),
        tile(a, {2, 3}),
        pad(a, {{1, 2}}, "constant", array(7)),
        pad(a, {{1, 2}, {0, 0}}, "reflect"),
        roll(a, {5}, {1})}) {
    const int64_t converted = joined.dtype() == float32 ? a.nbytes() : 0;
    EXPECT_EQ(allocated_bytes(joined), rounded_bytes(joined.nbytes()) + converted);
  }
  EXPECT_TRUE(concatenate({a}).same_as(a));
  EXPECT_TRUE(concatenate({numbers({0, 64}), a}).same_as(a));
}

TEST(Shape, Subscripts) {
  const array a = numbers({2, 3, 4});
  const IndexItem items[] = {NewAxis{}, int64_t{-1}, Ellipsis{}, IndexRange{{}, {}, -2}, NewAxis{}};
  EXPECT_EQ(index(a, items).shape(), (Shape{1, 3, 2, 1}));
  EXPECT_EQ(values(index(a, items)), (Values{15, 13, 19, 17, 23, 21}));
  EXPECT_EQ(values(index(index_update(a, items, array(1.5f)), items)), Values(6, 1));
  const IndexItem far[] = {int64_t{2}};
  EXPECT_THROW(index(a, far), IndexError);
  const IndexItem many[] = {int64_t{0}, int64_t{0}, int64_t{0}, int64_t{0}};
  EXPECT_THROW(index(a, many), ValueError);
  const IndexItem still[] = {IndexRange{{}, {}, 0}};
  EXPECT_THROW(index(a, still), ValueError);
}

} // namespace
} // namespace narrows
