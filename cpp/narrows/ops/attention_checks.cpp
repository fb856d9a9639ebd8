// What inputs of attention have to be, whether a program gives them or a file.
#include <algorithm>

#include "metal_kernels/limits.h"
#include "narrows/ops/attention_parts.h"

namespace narrows {
namespace {

constexpr const char* kName = "scaled_dot_product_attention";

// Whether a dimension is as expected, or one for all.
bool fits(int64_t n, int64_t expected) {
  return n == expected || n == 1;
}

// ValueError unless the inputs are what primitives take: also of files.
void check_inputs(std::span<const array> inputs, const AttentionFields& fields, size_t more) {
  if (inputs.size() != fields.count() + more) {
    fail<ValueError>(
        "[", kName, "] ", inputs.size(), " inputs, expected ", fields.count() + more, ".");
  }
  const size_t ndim = inputs[0].shape().size();
  const size_t batch = ndim - std::min<size_t>(ndim, 3);
  if (ndim < 4 || batch > NARROWS_MAX_DIMS) {
    fail<ValueError>(
        "[",
        kName,
        "] queries of shape ",
        to_string(inputs[0].shape()),
        ", expected (batch, heads, queries, size), and at most ",
        NARROWS_MAX_DIMS,
        " dimensions of a batch.");
  }
  for (const array& input : inputs) {
    if (input.shape().size() != ndim) {
      fail<ValueError>(
          "[",
          kName,
          "] inputs of shapes ",
          to_string(inputs[0].shape()),
          " and ",
          to_string(input.shape()),
          ", expected as many dimensions.");
    }
  }
  const Shape& q = inputs[0].shape();
  const Shape& k = inputs[1].shape();
  const Shape& v = inputs[2].shape();
  const int64_t heads = q[batch];
  const int64_t key_heads = k[batch];
  const auto refuse = [&](const char* name, const Shape& shape, const auto&... expected) {
    fail<ValueError>(
        "[",
        kName,
        "] ",
        name,
        " of shape ",
        to_string(shape),
        " for queries of shape ",
        to_string(q),
        ", expected ",
        expected...,
        ".");
  };
  if (k.back() != q.back()) {
    refuse("keys", k, "the same last dimension");
  }
  if (key_heads == 0 ? heads != 0 : heads % key_heads != 0) {
    refuse("keys", k, "a number of heads that divides ", heads);
  }
  if (v[batch] != key_heads || v[batch + 1] != k[batch + 1]) {
    refuse("values", v, "heads and length of the keys' shape ", to_string(k));
  }
  if (fields.has_mask_) {
    const Shape& mask = inputs[fields.mask_at()].shape();
    if (!fits(mask[batch], heads) || !fits(mask[batch + 1], q[batch + 1]) ||
        !fits(mask[batch + 2], k[batch + 1])) {
      refuse("a mask", mask, "one that broadcasts to their scores with ", k[batch + 1], " keys");
    }
  }
  if (fields.has_sinks_) {
    const Shape& sinks = inputs[fields.sinks_at()].shape();
    if (sinks[batch] != heads || sinks[batch + 1] != 1 || sinks[batch + 2] != 1) {
      refuse("sinks", sinks, "one for each head");
    }
  }
}

void check_dtypes(std::span<const array> inputs, const AttentionFields& fields) {
  const Dtype dtype = inputs[0].dtype();
  for (size_t i = 0; i < fields.count(); ++i) {
    const bool is_mask = fields.has_mask_ && i == fields.mask_at();
    const Dtype found = inputs[i].dtype();
    if (!is_floating(dtype) || (found != dtype && !(is_mask && found == bool_))) {
      fail<ValueError>(
          "[", kName, "] an input of dtype ", name_of(found), ", expected one floating dtype.");
    }
  }
}

} // namespace

void check_attention(std::span<const array> inputs, const AttentionFields& fields) {
  check_inputs(inputs, fields, 0);
  check_dtypes(inputs, fields);
}

void check_attention_gradient(std::span<const array> inputs, const AttentionFields& fields) {
  check_inputs(inputs, fields, 3);
  check_dtypes(inputs, fields);
  const AttentionSizes sizes = attention_sizes(inputs);
  const Dtype dtype = inputs[0].dtype();
  const auto expect = [&](const array& a, int64_t columns, Dtype of) {
    const Shape expected = sizes.of_heads(sizes.queries, columns);
    bool right = a.dtype() == of;
    for (size_t d = 0; d < expected.size(); ++d) {
      right &=
          d < sizes.batch.size() ? fits(a.shape()[d], expected[d]) : a.shape()[d] == expected[d];
    }
    if (!right) {
      fail<ValueError>(
          "[",
          kName,
          "] an input of the gradient of shape ",
          to_string(a.shape()),
          " and dtype ",
          name_of(a.dtype()),
          ", expected ",
          to_string(expected),
          " and ",
          name_of(of),
          ".");
    }
  };
  expect(inputs[fields.count()], 2, attention_precision(dtype));
  expect(inputs[fields.count() + 1], 1, attention_precision(dtype));
  expect(inputs[fields.count() + 2], sizes.value_size, dtype);
}

} // namespace narrows
