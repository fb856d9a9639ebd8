// Operations of neural networks that have one name each. They are made of other operations, which
// an evaluation fuses into one pass over the rows, without intermediate arrays.
#pragma once

#include <optional>

#include "narrows/ops/common.h"

namespace narrows::fast {

// Divides rows, along the last dimension, by the root of their mean square plus `eps`, and
// multiplies them by `weight`, a vector of the rows' length. Computed in float32 or better; the
// dtype is that of `x` and `weight` promoted. ValueError for scalars and for dtypes that are not
// floating point.
array rms_norm(
    const array& x, const std::optional<array>& weight, double eps, StreamOrDevice s = {});

// Subtracts their mean from rows, divides by the root of their variance plus `eps`, multiplies by
// `weight` and adds `bias`. As above otherwise.
array layer_norm(
    const array& x,
    const std::optional<array>& weight,
    const std::optional<array>& bias,
    double eps,
    StreamOrDevice s = {});

// The angles of rope() at position 1: base^(-2i / dims), or one over each of `freqs`.
struct RopeAngles {
  std::optional<double> base;
  std::optional<array> freqs; // of shape (dims / 2,)
};

// Rotary position embeddings (arXiv:2104.09864) of an array (batch, ..., length, size). The first
// `dims` elements of the last dimension are turned in pairs, by angles proportional to the
// position. The elements of a pair are neighbours if `traditional`, else they lie dims / 2 apart.
// The position of row t is (offset + t) * scale. `offset` is an integer, or one for each entry of
// the batch.
array rope(
    const array& a,
    int dims,
    bool traditional,
    const RopeAngles& angles,
    double scale,
    const array& offset,
    StreamOrDevice s = {});

// logsumexp(logits, -1) - logits[..., target], in float32 or better: the loss of each row for its
// class. ValueError unless `targets` are integers of the shape of `logits` without the last
// dimension.
array cross_entropy(const array& logits, const array& targets, StreamOrDevice s = {});

} // namespace narrows::fast
