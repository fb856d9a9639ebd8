#include "narrows/ops/fast.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "bindings/arguments.h"
#include "bindings/define.h"
#include "narrows/ops/attention.h"
#include "narrows/ops/batch_norm.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/gated_delta.h"

namespace narrows::python {
namespace {

void bind_norms(nb::module_& m) {
  define<
      "rms_norm(x: array, weight: array | None, eps: float, *, stream: StreamOrDevice = None) -> "
      "array">(
      m,
      [](const array& x, const std::optional<array>& weight, double eps, const StreamArg& s) {
        return fast::rms_norm(x, weight, eps, s);
      },
      R"(Rows divided by the root of their mean square, then times a weight.

      Computed in float32, or float64, whatever the dtype.

      Args:
        x: A floating-point array of shape (..., n); the rows are along the last axis.
        weight: An array of shape (n,), or None.
        eps: What is added to the mean square.

      Returns:
        The shape of `x`; the dtype of `x` and `weight` promoted.

      Raises:
        ValueError: If `x` is a scalar or not floating point, or `weight` has another shape.

      Example:
        >>> mx.fast.rms_norm(mx.array([3.0, 4.0]), None, 0.0)
        array([0.848528, 1.13137], dtype=float32)
      )");
  define<
      "layer_norm(x: array, weight: array | None, bias: array | None, eps: float, *, stream: "
      "StreamOrDevice = None) -> array">(
      m,
      [](const array& x,
         const std::optional<array>& weight,
         const std::optional<array>& bias,
         double eps,
         const StreamArg& s) { return fast::layer_norm(x, weight, bias, eps, s); },
      R"(Rows with mean 0 and variance 1, then times a weight and plus a bias.

      Computed in float32, or float64, whatever the dtype.

      Args:
        x: A floating-point array of shape (..., n); the rows are along the last axis.
        weight: An array of shape (n,), or None.
        bias: An array of shape (n,), or None.
        eps: What is added to the variance.

      Returns:
        The shape of `x`; the dtype of all arrays promoted.

      Raises:
        ValueError: If `x` is a scalar or not floating point, or `weight` or `bias` has another
          shape.

      Example:
        >>> mx.fast.layer_norm(mx.array([1.0, 3.0]), None, mx.array([0.0, 10.0]), 0.0)
        array([-1, 11], dtype=float32)
      )");
}

void bind_rope(nb::module_& m) {
  define<
      "rope(a: array, dims: int, *, traditional: bool, base: float | None, scale: float, offset: "
      "int | array, freqs: array | None = None, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         int dims,
         bool traditional,
         std::optional<double> base,
         double scale,
         const std::variant<int64_t, array>& offset,
         const std::optional<array>& freqs,
         const StreamArg& s) {
        const auto* position = std::get_if<int64_t>(&offset);
        const array start = position ? number(*position, int64) : std::get<array>(offset);
        return fast::rope(a, dims, traditional, {base, freqs}, scale, start, s);
      },
      R"(Rotary position embeddings (arXiv:2104.09864).

      Pairs of elements of a row are turned by angles that grow with the row's position. On the CPU
      that is one step, which may take the place of `a`; for float64 it is several.

      Args:
        a: A floating-point array of shape (batch, ..., length, size).
        dims: How many elements of the last axis are turned; the others stay. Even.
        traditional: Whether pairs are neighbours. Else they lie `dims / 2` apart.
        base: Pair i is turned by `base**(-2 * i / dims)` at position 1. None if `freqs` is given.
        scale: The position of row t is `(offset + t) * scale`.
        offset: An integer, an integer array of one element, or one of shape (batch,).
        freqs: An array of shape (dims / 2,): pair i is turned by `1 / freqs[i]` at position 1.

      Returns:
        The shape and dtype of `a`. Angles are computed in float32 at least.

      Raises:
        ValueError: If a shape or dtype does not fit, or not one of `base` and `freqs` is given.

      Example:
        >>> a = mx.array([[[1.0, 0.0], [1.0, 0.0]]])
        >>> mx.fast.rope(a, 2, traditional=True, base=10000, scale=1.0, offset=0)
        array([[[1, 0],
                [0.540302, 0.841471]]], dtype=float32)
      )");
}

void bind_batch_norm(nb::module_& m) {
  define<
      "batch_norm(x: array, weight: array | None, bias: array | None, eps: float, *, stream: "
      "StreamOrDevice = None) -> tuple[array, array, array]">(
      m,
      [](const array& x,
         const std::optional<array>& weight,
         const std::optional<array>& bias,
         double eps,
         const StreamArg& s) {
        fast::BatchNormed normed = fast::batch_norm(x, weight, bias, eps, s);
        return std::make_tuple(normed.result, normed.mean, normed.variance);
      },
      R"(Channels with mean 0 and variance 1 over all places, then times a weight and plus a bias.

      Computed in float32, or float64, whatever the dtype. On the CPU that is one step, and so is
      its gradient, which keeps `x` and nothing else of its size.

      Args:
        x: An array of real numbers of shape (..., channels), with two dimensions at least.
        weight: A floating-point array of shape (channels,), or None.
        bias: A floating-point array of shape (channels,), or None.
        eps: What is added to the variance.

      Returns:
        The shape of `x`, in the dtype of `x`, `weight` and `bias` promoted; the means and the
        variances of the channels, of shape (channels,) and float32 (float64 for float64).

      Raises:
        ValueError: If `x` has fewer than two dimensions or is complex, or `weight` or `bias` has
          another shape or no floats.

      Example:
        >>> y, mean, variance = mx.fast.batch_norm(mx.array([[1.0], [3.0]]), None, None, 0.0)
        >>> y.tolist(), mean.tolist(), variance.tolist()
        ([[-1.0], [1.0]], [2.0], [1.0])
      )");
}

void bind_losses(nb::module_& m) {
  define<"cross_entropy(logits: array, targets: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& logits, const array& targets, const StreamArg& s) {
        return fast::cross_entropy(logits, targets, s);
      },
      R"(The cross entropy of rows of logits and their classes.

      That is `logsumexp(logits, -1) - logits[..., target]`, computed in float32, or float64.

      Args:
        logits: A floating-point array of shape (..., n).
        targets: Integers of [0, n) of shape (...,).

      Returns:
        The shape of `targets`, float32 (float64 for float64 logits).

      Raises:
        ValueError: If `logits` is a scalar or not floating point, or `targets` are no integers
          or of another shape.

      Example:
        >>> mx.fast.cross_entropy(mx.array([[0.0, 0.0], [9.0, 9.0]]), mx.array([0, 1]))
        array([0.693147, 0.693147], dtype=float32)
      )");
}

void bind_attention(nb::module_& m) {
  define<
      "scaled_dot_product_attention(q: array, k: array, v: array, *, scale: float, mask: None | "
      "str | array = None, sinks: array | None = None, force_fused: bool = False, stream: "
      "StreamOrDevice = None) -> array">(
      m,
      [](const array& q,
         const array& k,
         const array& v,
         double scale,
         const fast::Mask& mask,
         const std::optional<array>& sinks,
         bool,
         const StreamArg& s) {
        return fast::scaled_dot_product_attention(
            q, k, v, static_cast<float>(scale), mask, sinks, s);
      },
      R"(Attention with several heads: `softmax(scale * q @ k.T) @ v`.

      Computed in float32, or float64, whatever the dtype, and a block of queries and keys at a
      time: there is never a matrix of all scores, forward or backward. Derivatives of derivatives
      do keep the scores, and the gradient of a mask is as large as that mask.

      Args:
        q: Queries of shape (batch, heads, queries, size). Any strides, as for keys and values.
        k: Keys of shape (batch, key_heads, keys, size), where `heads` is a multiple of `key_heads`:
          neighbours among the heads share one of the keys.
        v: Values of shape (batch, key_heads, keys, value_size).
        scale: What scores are multiplied by, as a float32.
        mask: None; "causal", under which the last query sees all keys, and each one before it one
          key less; or an array that broadcasts to (batch, heads, queries, keys): of bool, true
          where a query sees a key, or numbers that are added to the scores. A query from which
          all keys are hidden weighs them alike.
        sinks: An array of shape (heads,): for each head the score of one more key, whose value is
          zero.
        force_fused: Changes nothing: this always is one kernel.

      Returns:
        Shape (batch, heads, queries, value_size), the dtype of `q`, `k` and `v` promoted.

      Raises:
        ValueError: If shapes or dtypes do not fit, or `mask` is another string.

      Example:
        >>> k = mx.array([[[[1.0], [2.0]]]])
        >>> mx.fast.scaled_dot_product_attention(k, k, k, scale=0.0, mask="causal")
        array([[[[1],
                 [1.5]]]], dtype=float32)
      )");
}

void bind_gated_delta(nb::module_& m) {
  define<
      "gated_delta_update(q: array, k: array, v: array, gamma: array, beta: array, initial_state: "
      "array | None = None, mask: array | None = None, stream: StreamOrDevice = None) -> "
      "list[array]">(
      m,
      [](const array& q,
         const array& k,
         const array& v,
         const array& gamma,
         const array& beta,
         const std::optional<array>& initial_state,
         const std::optional<array>& mask,
         const StreamArg& s) {
        auto [result, state] =
            fast::gated_delta_update(q, k, v, gamma, beta, initial_state, mask, s);
        return std::vector<array>{std::move(result), std::move(state)};
      },
      R"(The gated delta rule (arXiv:2412.06464): a state that is read, decays and is written.

      Each head has a state `S` of shape (value_size, key_size). At each time it becomes
      `S = gamma * S`, then `S = S + beta * outer(v - S @ k, k)`, and the result is `S @ q`.
      Computed in float32, or float64. Derivatives are those of products of matrices over chunks of
      32 times; they suit keys whose norm is about 1, for which the rule is meant.

      Args:
        q: Queries of shape (batch, length, key_heads, key_size).
        k: Keys of the shape of `q`.
        v: Values of shape (batch, length, heads, value_size), where `heads` is a multiple of
          `key_heads`: neighbours among the heads share one of the queries and keys.
        gamma: What states are multiplied by, of shape (batch, length, heads).
        beta: Rates of shape (batch, length, heads).
        initial_state: The states before the first time, of shape (batch, heads, value_size,
          key_size). Default: zeros.
        mask: A bool array of shape (batch, length). Where it is false the state stays and the
          result is zero.

      Returns:
        Results of the shape of `v` in the dtype of `q`, `k` and `v` promoted, and the states after
        the last time, in float32 (float64 if that is the dtype of results).

      Raises:
        ValueError: If shapes or dtypes do not fit.

      Example:
        >>> k = mx.array([1.0, 0.0, 1.0, 0.0]).reshape(1, 2, 1, 2)
        >>> v, half = mx.array([4.0, 8.0]).reshape(1, 2, 1, 1), mx.full((1, 2, 1), 0.5)
        >>> result, state = mx.fast.gated_delta_update(k, k, v, half, half)
        >>> result.tolist(), state.tolist()
        ([[[[2.0]], [[4.5]]]], [[[[4.5, 0.0]]]])
      )");
}

void bind_fast(nb::module_& parent) {
  nb::module_ m = parent.def_submodule("fast", "Operations of neural networks, each in one pass.");
  bind_norms(m);
  bind_rope(m);
  bind_attention(m);
  bind_gated_delta(m);
  bind_batch_norm(m);
  bind_losses(m);
}

const Binding binding{&bind_fast};

} // namespace
} // namespace narrows::python
