// Operations of neural networks under one name each. They are made of others, which an evaluation
// fuses: one pass over the rows, without intermediate arrays.
#pragma once

#include <optional>

#include "narrows/ops/common.h"

namespace narrows::fast {

// Rows, along the last dimension, divided by the root of their mean square plus `eps`, then times
// `weight`, which has one dimension of the rows' length. Computed in float32 or better; the dtype
// is that of `x` and `weight` promoted. ValueError for scalars and for what is not floating point.
array rms_norm(
    const array& x, const std::optional<array>& weight, double eps, StreamOrDevice s = {});

// Rows less their mean, divided by the root of their variance plus `eps`, then times `weight` and
// plus `bias`: as above.
array layer_norm(
    const array& x,
    const std::optional<array>& weight,
    const std::optional<array>& bias,
    double eps,
    StreamOrDevice s = {});

// Which angles rope() turns by at position 1: base^(-2i / dims), or one over each of `freqs`.
struct RopeAngles {
  std::optional<double> base;
  std::optional<array> freqs; // of shape (dims / 2,)
};

// Rotary position embeddings (arXiv:2104.09864) of an array (batch, ..., length, size): the first
// `dims` elements of the last dimension, in pairs, are turned by an angle that grows with the
// position. Pairs are neighbours if `traditional`, else they lie dims / 2 apart. The position of
// row t is (offset + t) * scale; `offset` is an integer, or one for each entry of the batch.
array rope(
    const array& a,
    int dims,
    bool traditional,
    const RopeAngles& angles,
    double scale,
    const array& offset,
    StreamOrDevice s = {});

// logsumexp(logits, -1) - logits[..., target], as float32 or better: the loss of each row for its
// class. ValueError if `targets` are no integers of the shape of `logits` without the last
// dimension.
array cross_entropy(const array& logits, const array& targets, StreamOrDevice s = {});

} // namespace narrows::fast
