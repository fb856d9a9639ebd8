#include "narrows/ops/attention_parts.h"

#include <algorithm>
#include <limits>

#include "metal_kernels/attention.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/softmax.h"
#include "narrows/ops/strided.h"

namespace narrows {
namespace {

// Scores that a block has at most, unless those of a single query are more.
constexpr int64_t kBlockScores = int64_t{1} << 21;

// Elements [begin, end) of a dimension that counts from the last.
array part(const array& a, int axis, int64_t begin, int64_t end, Stream s) {
  Shape starts(a.shape().size(), 0);
  Shape stops = a.shape();
  const auto at = static_cast<size_t>(a.ndim() + axis);
  starts[at] = begin;
  stops[at] = end;
  return slice(a, starts, stops, Strides(a.shape().size(), 1), s);
}

// Rows [begin, end) of an array that has them, or one for all.
array rows_of(const array& a, int64_t begin, int64_t end, Stream s) {
  return a.shape(-2) == 1 ? a : part(a, -2, begin, end, s);
}

// Attention of some queries to all keys.
class Composition {
 public:
  Composition(std::span<const array> inputs, const AttentionFields& fields, Stream s)
      : inputs_(inputs),
        fields_(fields),
        sizes_(attention_sizes(inputs)),
        dtype_(attention_precision(inputs[0].dtype())),
        s_(s),
        keys_(shared(inputs[1])),
        values_(shared(inputs[2])) {
  }

  const AttentionSizes& sizes() const {
    return sizes_;
  }
  Dtype dtype() const {
    return dtype_;
  }

  // Calls visit(first, end) for the blocks of queries.
  template <typename Visit>
  void each_block(Visit&& visit) const {
    const int64_t row = element_count(sizes_.batch) * sizes_.heads * sizes_.keys;
    const int64_t rows = std::max<int64_t>(1, kBlockScores / std::max<int64_t>(1, row));
    for (int64_t first = 0; first < sizes_.queries; first += rows) {
      visit(first, std::min(sizes_.queries, first + rows));
    }
  }

  struct Block {
    array queries; // times the scale
    array sees;    // where a query sees a key, if that is known
    array scores;  // the sink's is the last
    array weights;
  };
  Block block(int64_t first, int64_t end) const {
    Block result;
    const array rows = astype(part(inputs_[0], -2, first, end, s_), dtype_, s_);
    result.queries = multiply(rows, number(fields_.scale_), s_);
    array scores = matmul(grouped(result.queries), matrix_transpose(keys_, s_), s_);
    scores = flatten_heads(scores);
    if (fields_.causal_) {
      result.sees = expand_dims(causal(first, end), behind(), s_);
    } else if (fields_.has_mask_) {
      const array mask = rows_of(inputs_[fields_.mask_at()], first, end, s_);
      if (mask.dtype() == bool_) {
        result.sees = mask;
      } else {
        scores = add(scores, astype(mask, dtype_, s_), s_);
      }
    }
    if (result.sees) {
      scores = where(result.sees, scores, number(NARROWS_HIDDEN_SCORE), s_);
    }
    Shape shape = sizes_.of_heads(end - first, sizes_.keys);
    scores = broadcast_to(scores, shape, s_);
    if (fields_.has_sinks_) {
      shape.back() = 1;
      const array sinks = astype(inputs_[fields_.sinks_at()], dtype_, s_);
      scores = concatenate({scores, broadcast_to(sinks, shape, s_)}, -1, s_);
    }
    result.scores = scores;
    result.weights = part(softmax(scores, Axes{-1}, true, s_), -1, 0, sizes_.keys, s_);
    return result;
  }

  // What a block's weights make of the values.
  array results(const array& weights) const {
    return flatten_heads(matmul(grouped(weights), values_, s_));
  }
  // The cotangents of a block's scores.
  array score_cotangents(const Block& block, const array& cotangent) const {
    const array weights = matmul(grouped(cotangent), matrix_transpose(values_, s_), s_);
    const array product = multiply(block.weights, flatten_heads(weights), s_);
    const array total = sum(product, Axes{-1}, true, s_);
    const array change = subtract(product, multiply(block.weights, total, s_), s_);
    return block.sees ? where(block.sees, change, number(0), s_) : change;
  }
  // Of queries, given those of scores.
  array query_cotangents(const array& scores) const {
    return multiply(flatten_heads(matmul(grouped(scores), keys_, s_)), number(fields_.scale_), s_);
  }
  // left.T @ right, summed over the heads that share a head of keys.
  array over_heads(const array& left, const array& right) const {
    return sum(
        matmul(matrix_transpose(grouped(left), s_), grouped(right), s_), Axes{-3}, false, s_);
  }

 private:
  array number(double value) const {
    return narrows::number(value, dtype_);
  }
  // Keys and values as one head for several: (batch..., key_heads, 1, keys, columns).
  array shared(const array& a) const {
    return expand_dims(astype(a, dtype_, s_), {-3}, s_);
  }
  // Heads that share keys beside each other: (batch..., key_heads, shared, rows, columns).
  array grouped(const array& a) const {
    Shape shape(a.shape().begin(), a.shape().end() - 3);
    shape.push_back(sizes_.key_heads);
    shape.push_back(sizes_.heads / std::max<int64_t>(1, sizes_.key_heads));
    shape.push_back(a.shape(-2));
    shape.push_back(a.shape(-1));
    return reshape(a, shape, s_);
  }
  array flatten_heads(const array& a) const {
    Shape shape(a.shape().begin(), a.shape().end() - 4);
    shape.push_back(sizes_.heads);
    shape.push_back(a.shape(-2));
    shape.push_back(a.shape(-1));
    return reshape(a, shape, s_);
  }
  // Dimensions of batch and heads.
  Axes behind() const {
    Axes axes;
    for (int i = 0; i + 2 < inputs_[0].ndim(); ++i) {
      axes.push_back(i);
    }
    return axes;
  }
  array causal(int64_t first, int64_t end) const {
    const int64_t more = sizes_.keys - sizes_.queries;
    const array last = arange(first + more, end + more, int64_t{1}, int64, s_);
    const array key = arange(int64_t{0}, sizes_.keys, int64_t{1}, int64, s_);
    return less_equal(key, expand_dims(last, {-1}, s_), s_);
  }

  std::span<const array> inputs_;
  const AttentionFields& fields_;
  AttentionSizes sizes_;
  Dtype dtype_;
  Stream s_;
  array keys_;
  array values_;
};

array plus(const array& sum, const array& more, Stream s) {
  return sum ? add(sum, more, s) : more;
}

} // namespace

Shape AttentionSizes::with_batch_dims(int64_t count, int64_t rows, int64_t columns) const {
  Shape shape = batch;
  shape.push_back(count);
  shape.push_back(rows);
  shape.push_back(columns);
  return shape;
}

AttentionSizes::AttentionSizes(std::span<const Shape* const> shapes) {
  const Shape& query = *shapes[0];
  const Shape& key = *shapes[1];
  const size_t ndim = query.size();
  heads = query[ndim - 3];
  key_heads = key[ndim - 3];
  queries = query[ndim - 2];
  keys = key[ndim - 2];
  size = query[ndim - 1];
  value_size = (*shapes[2])[ndim - 1];
  std::vector<Shape> batches;
  for (const Shape* shape : shapes) {
    batches.emplace_back(shape->begin(), shape->end() - 3);
  }
  batch = broadcast_shapes(batches);
}

AttentionSizes attention_sizes(std::span<const array> inputs) {
  std::vector<const Shape*> shapes;
  for (const array& input : inputs) {
    shapes.push_back(&input.shape());
  }
  return AttentionSizes(shapes);
}

std::vector<array> composed_attention(
    std::span<const array> inputs, const AttentionFields& fields, Stream s) {
  const Composition whole(inputs, fields, s);
  const AttentionSizes& sizes = whole.sizes();
  if (sizes.queries == 0 || sizes.keys == 0) {
    return {
        zeros(sizes.of_heads(sizes.queries, sizes.value_size), inputs[0].dtype(), s),
        zeros(sizes.of_heads(sizes.queries, 2), whole.dtype(), s)};
  }
  std::vector<array> results;
  std::vector<array> statistics;
  whole.each_block([&](int64_t first, int64_t end) {
    const Composition::Block block = whole.block(first, end);
    results.push_back(astype(whole.results(block.weights), inputs[0].dtype(), s));
    const array largest = max(block.scores, Axes{-1}, true, s);
    const array total = logsumexp(block.scores, Axes{-1}, true, s);
    statistics.push_back(concatenate({largest, exp(subtract(largest, total, s), s)}, -1, s));
  });
  return {concatenate(results, -2, s), concatenate(statistics, -2, s)};
}

std::vector<array> composed_attention_gradient(
    std::span<const array> inputs,
    const array& cotangent,
    const AttentionFields& fields,
    Stream s) {
  const Composition whole(inputs, fields, s);
  const AttentionSizes& sizes = whole.sizes();
  const Dtype dtype = inputs[0].dtype();
  if (sizes.queries == 0 || sizes.keys == 0) {
    return {
        zeros(sizes.of_heads(sizes.queries, sizes.size), dtype, s),
        zeros(sizes.of_key_heads(sizes.size), dtype, s),
        zeros(sizes.of_key_heads(sizes.value_size), dtype, s)};
  }
  std::vector<array> queries;
  array keys;
  array values;
  whole.each_block([&](int64_t first, int64_t end) {
    const Composition::Block block = whole.block(first, end);
    const array rows = astype(part(cotangent, -2, first, end, s), whole.dtype(), s);
    const array scores = whole.score_cotangents(block, rows);
    queries.push_back(astype(whole.query_cotangents(scores), dtype, s));
    keys = plus(keys, whole.over_heads(scores, block.queries), s);
    values = plus(values, whole.over_heads(block.weights, rows), s);
  });
  return {concatenate(queries, -2, s), astype(keys, dtype, s), astype(values, dtype, s)};
}

array composed_mask_gradient(
    std::span<const array> inputs,
    const array& cotangent,
    const AttentionFields& fields,
    Stream s) {
  const Composition whole(inputs, fields, s);
  const array& mask = inputs[fields.mask_at()];
  if (mask.size() == 0 || whole.sizes().queries == 0 || whole.sizes().keys == 0) {
    return zeros_like(mask, s);
  }
  std::vector<array> parts;
  array total;
  whole.each_block([&](int64_t first, int64_t end) {
    const Composition::Block block = whole.block(first, end);
    const array rows = astype(part(cotangent, -2, first, end, s), whole.dtype(), s);
    const Shape shape = rows_of(mask, first, end, s).shape();
    const array found = sum_to(whole.score_cotangents(block, rows), shape, s);
    if (mask.shape(-2) == 1) {
      total = plus(total, found, s);
    } else {
      parts.push_back(found);
    }
  });
  return total ? total : concatenate(parts, -2, s);
}

} // namespace narrows
