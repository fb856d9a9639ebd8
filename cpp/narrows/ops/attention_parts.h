// What attention and its gradient have in common: their inputs and sizes, and how they are made of
// other operations.
#pragma once

#include <vector>

#include "narrows/ops/common.h"
#include "narrows/record/fields.h"

namespace narrows {

// The inputs are queries, keys, values, the mask and the sinks if there are such. All have the same
// number of dimensions: (batch..., heads, rows, columns), with ones where they are the same for
// all.
struct AttentionFields {
  double scale_; // a float32
  bool causal_;
  bool has_mask_;
  bool has_sinks_;

  static constexpr std::tuple fields{
      field("scale", &AttentionFields::scale_),
      field("causal", &AttentionFields::causal_),
      hidden_field("has_mask", &AttentionFields::has_mask_),
      hidden_field("has_sinks", &AttentionFields::has_sinks_)};

  size_t mask_at() const {
    return 3;
  }
  size_t sinks_at() const {
    return 3 + (has_mask_ ? 1 : 0);
  }
  size_t count() const {
    return sinks_at() + (has_sinks_ ? 1 : 0);
  }
};

struct AttentionSizes {
  Shape batch;
  int64_t heads;
  int64_t key_heads;
  int64_t queries;
  int64_t keys;
  int64_t size;
  int64_t value_size;

  // Of inputs that fit: queries, keys, values, and what else is there.
  explicit AttentionSizes(std::span<const Shape* const> shapes);

  // (batch..., heads, rows, columns)
  Shape of_heads(int64_t rows, int64_t columns) const {
    return with_batch_dims(heads, rows, columns);
  }
  Shape of_key_heads(int64_t columns) const {
    return with_batch_dims(key_heads, keys, columns);
  }

 private:
  Shape with_batch_dims(int64_t count, int64_t rows, int64_t columns) const;
};
AttentionSizes attention_sizes(std::span<const array> inputs);

// The dtype in which attention of this dtype is computed, and which its statistics have.
inline Dtype attention_precision(Dtype dtype) {
  return dtype == float64 ? float64 : float32;
}

// ValueError unless the inputs are those of the fields, with shapes and dtypes that fit.
void check_attention(std::span<const array> inputs, const AttentionFields& fields);
// The same with what the gradient reads besides: statistics, correction and cotangent.
void check_attention_gradient(std::span<const array> inputs, const AttentionFields& fields);

// Results and statistics (metal_kernels/attention.h), by other operations: a block of queries after
// another, so that no more than a block's scores need be in memory at a time.
std::vector<array> composed_attention(
    std::span<const array> inputs, const AttentionFields& fields, Stream s);

// The cotangents of queries, keys and values, given that of the results, in the dtype of these.
std::vector<array> composed_attention_gradient(
    std::span<const array> inputs, const array& cotangent, const AttentionFields& fields, Stream s);

// The cotangent of the mask.
array composed_mask_gradient(
    std::span<const array> inputs, const array& cotangent, const AttentionFields& fields, Stream s);

} // namespace narrows
