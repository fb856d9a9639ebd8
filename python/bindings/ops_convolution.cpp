#include "narrows/ops/convolution.h"

#include <nanobind/stl/string.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

// Parts of docstrings that the functions over two and over three dimensions share.
const std::string kConvolved = R"(
        stride: How far the filters move from one output to the next; one number, or one for each
          dimension.
        padding: How many zeros are added at each end; a negative number cuts elements off.
        dilation: How far apart the filters' elements lie.
        groups: In how many groups the channels are: outputs of a group see its inputs only.

      Returns:
        Shape (batch, places..., out_channels), in the common dtype, with places =
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1.

      Raises:
        ValueError: If the shapes do not fit together, a setting is not positive, the filters reach
          beyond the padded input, or for integers and complex numbers.)";
const std::string kTransposed = R"(
        stride: How far apart the inputs lie in the output; one number, or one for each dimension.
        padding: How much is cut off at each end of the output.
        dilation: How far apart the filters' elements lie.
        output_padding: How much is added at the end of the output.
        groups: In how many groups the channels are.

      Returns:
        Shape (batch, places..., out_channels), in the common dtype, with places = (size - 1) *
        stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding.

      Raises:
        ValueError: If the shapes do not fit together, a setting has no sense, nothing remains of
          the output, or for integers and complex numbers.)";

// One setting for all dimensions, or one for each of them.
Shape sizes_of(int64_t value) {
  return {value};
}
Shape sizes_of(const ShapeOrInt& value) {
  return value.shape;
}

// `Size` is the type of a setting in Python: an integer, or one for each dimension.
template <int ndim, typename Size>
auto convolve_over(const char* name) {
  return [name](
             const array& input,
             const array& weight,
             const Size& stride,
             const Size& padding,
             const Size& dilation,
             int groups,
             const StreamArg& s) {
    ConvolutionSettings settings;
    settings.stride = sizes_of(stride);
    settings.padding_low = settings.padding_high = sizes_of(padding);
    settings.dilation = sizes_of(dilation);
    settings.groups = groups;
    return convolution(name, ndim, input, weight, settings, s);
  };
}

template <int ndim, typename Size>
auto transpose_over(const char* name) {
  return [name](
             const array& input,
             const array& weight,
             const Size& stride,
             const Size& padding,
             const Size& dilation,
             const Size& output_padding,
             int groups,
             const StreamArg& s) {
    return conv_transpose(
        name,
        ndim,
        input,
        weight,
        sizes_of(stride),
        sizes_of(padding),
        sizes_of(dilation),
        sizes_of(output_padding),
        groups,
        s);
  };
}

// `padding` is one number, one for each dimension, or those in front and those behind.
void read_padding(nb::handle padding, ConvolutionSettings& settings) {
  int64_t width = 0;
  if (detail::read_integer(padding.ptr(), width)) {
    settings.padding_low = settings.padding_high = {width};
    return;
  }
  if (detail::read_integers(padding.ptr(), settings.padding_low)) {
    settings.padding_high = settings.padding_low;
    return;
  }
  if (!PySequence_Check(padding.ptr()) || nb::len(padding) != 2 ||
      !detail::read_integers(nb::object(padding[0]).ptr(), settings.padding_low) ||
      !detail::read_integers(nb::object(padding[1]).ptr(), settings.padding_high)) {
    fail<TypeError>(
        "[conv_general] padding, expected an integer, a sequence of integers or two of them.");
  }
}

array convolve_in_general(
    const array& input,
    const array& weight,
    const ShapeOrInt& stride,
    nb::handle padding,
    const ShapeOrInt& kernel_dilation,
    const ShapeOrInt& input_dilation,
    int groups,
    bool flip,
    const StreamArg& s) {
  ConvolutionSettings settings;
  read_padding(padding, settings);
  settings.stride = stride.shape;
  settings.dilation = kernel_dilation.shape;
  settings.input_dilation = input_dilation.shape;
  settings.groups = groups;
  settings.flip = flip;
  return conv_general(input, weight, settings, s);
}

void bind_convolutions(nb::module_& m) {
  define<
      "conv1d(input: array, weight: array, /, stride: int = 1, padding: int = 0, "
      "dilation: int = 1, groups: int = 1, *, stream: StreamOrDevice = None) -> array">(
      m,
      convolve_over<1, int64_t>("conv1d"),
      R"(Convolution over one dimension: sums of what each filter sees.

      Filters are not turned around; channels come last.

      Args:
        input: Shape (batch, length, in_channels), of a floating point dtype.
        weight: Shape (out_channels, kernel, in_channels / groups).
        stride: How far the filters move from one output to the next.
        padding: How many zeros are added at each end; a negative number cuts elements off.
        dilation: How far apart the filters' elements lie.
        groups: In how many groups the channels are: outputs of a group see its inputs only.

      Returns:
        Shape (batch, places, out_channels), in the common dtype, with places =
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1.

      Raises:
        ValueError: If the shapes do not fit together, a setting is not positive, the filters reach
          beyond the padded input, or for integers and complex numbers.

      Example:
        >>> x = mx.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 4, 1)
        >>> mx.conv1d(x, mx.array([1.0, 10.0]).reshape(1, 2, 1)).flatten()
        array([21, 42, 84], dtype=float32)
      )");
  define<
      "conv2d(input: array, weight: array, /, stride: int | tuple[int, int] = 1, "
      "padding: int | tuple[int, int] = 0, dilation: int | tuple[int, int] = 1, "
      "groups: int = 1, *, stream: StreamOrDevice = None) -> array">(
      m,
      convolve_over<2, ShapeOrInt>("conv2d"),
      R"(Convolution over two dimensions: sums of what each filter sees.

      Filters are not turned around; channels come last.

      Args:
        input: Shape (batch, height, width, in_channels), of a floating point dtype.
        weight: Shape (out_channels, kernel_height, kernel_width, in_channels / groups).)" +
          kConvolved + R"(

      Example:
        >>> mx.conv2d(mx.ones((1, 4, 5, 3)), mx.ones((8, 3, 3, 3)), padding=1).shape
        (1, 4, 5, 8)
      )");
  define<
      "conv3d(input: array, weight: array, /, stride: int | tuple[int, int, int] = 1, "
      "padding: int | tuple[int, int, int] = 0, dilation: int | tuple[int, int, int] = 1, "
      "groups: int = 1, *, stream: StreamOrDevice = None) -> array">(
      m,
      convolve_over<3, ShapeOrInt>("conv3d"),
      R"(Convolution over three dimensions: sums of what each filter sees.

      Filters are not turned around; channels come last.

      Args:
        input: Shape (batch, depth, height, width, in_channels), of a floating point dtype.
        weight: Shape (out_channels, kernel_depth, kernel_height, kernel_width,
          in_channels / groups).)" +
          kConvolved + R"(

      Example:
        >>> mx.conv3d(mx.ones((1, 4, 4, 4, 2)), mx.ones((5, 2, 2, 2, 2)), stride=2).shape
        (1, 2, 2, 2, 5)
      )");
  define<
      "conv_general(input: array, weight: array, /, stride: int | Sequence[int] = 1, "
      "padding: int | Sequence[int] | tuple[Sequence[int], Sequence[int]] = 0, "
      "kernel_dilation: int | Sequence[int] = 1, input_dilation: int | Sequence[int] = 1, "
      "groups: int = 1, flip: bool = False, *, stream: StreamOrDevice = None) -> array">(
      m,
      &convolve_in_general,
      R"(Convolution over one to three dimensions, with all settings.

      Args:
        input: Shape (batch, sizes..., in_channels) with one to three sizes, of a floating point
          dtype.
        weight: Shape (out_channels, kernel..., in_channels / groups).
        stride: How far the filters move from one output to the next; one number, or one for each
          dimension.
        padding: How many zeros are added at each end: one number, one for each dimension, or two
          sequences of them, for the fronts and for the ends. Negative numbers cut elements off.
        kernel_dilation: How far apart the filters' elements lie.
        input_dilation: How far apart the elements of the input are put, with zeros in between.
        groups: In how many groups the channels are: outputs of a group see its inputs only.
        flip: Turns the filters around, as convolution does in mathematics.

      Returns:
        Shape (batch, places..., out_channels), in the common dtype.

      Raises:
        ValueError: If the shapes do not fit together, a setting is not positive, the filters reach
          beyond the padded input, or for integers and complex numbers.

      Example:
        >>> x = mx.array([1.0, 2.0]).reshape(1, 2, 1)
        >>> w = mx.array([1.0, 10.0]).reshape(1, 2, 1)
        >>> mx.conv_general(x, w, padding=([1], [0]), input_dilation=2).flatten()
        array([10, 1, 20], dtype=float32)
      )");
}

void bind_transposed(nb::module_& m) {
  define<
      "conv_transpose1d(input: array, weight: array, /, stride: int = 1, padding: int = 0, "
      "dilation: int = 1, output_padding: int = 0, groups: int = 1, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      transpose_over<1, int64_t>("conv_transpose1d"),
      R"(Transposed convolution over one dimension: each element spreads what a filter would see.

      Args:
        input: Shape (batch, length, in_channels), of a floating point dtype.
        weight: Shape (out_channels, kernel, in_channels / groups).
        stride: How far apart the inputs lie in the output.
        padding: How much is cut off at each end of the output.
        dilation: How far apart the filters' elements lie.
        output_padding: How much is added at the end of the output.
        groups: In how many groups the channels are.

      Returns:
        Shape (batch, places, out_channels), in the common dtype, with places = (length - 1) *
        stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding.

      Raises:
        ValueError: If the shapes do not fit together, a setting has no sense, nothing remains of
          the output, or for integers and complex numbers.

      Example:
        >>> x = mx.array([1.0, 2.0]).reshape(1, 2, 1)
        >>> w = mx.array([1.0, 10.0]).reshape(1, 2, 1)
        >>> mx.conv_transpose1d(x, w, stride=2).flatten()
        array([1, 10, 2, 20], dtype=float32)
      )");
  define<
      "conv_transpose2d(input: array, weight: array, /, stride: int | tuple[int, int] = 1, "
      "padding: int | tuple[int, int] = 0, dilation: int | tuple[int, int] = 1, "
      "output_padding: int | tuple[int, int] = 0, groups: int = 1, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      transpose_over<2, ShapeOrInt>("conv_transpose2d"),
      R"(Transposed convolution over two dimensions: each element spreads what a filter would see.

      Args:
        input: Shape (batch, height, width, in_channels), of a floating point dtype.
        weight: Shape (out_channels, kernel_height, kernel_width, in_channels / groups).)" +
          kTransposed + R"(

      Example:
        >>> mx.conv_transpose2d(mx.ones((1, 4, 5, 3)), mx.ones((8, 2, 2, 3)), stride=2).shape
        (1, 8, 10, 8)
      )");
  define<
      "conv_transpose3d(input: array, weight: array, /, stride: int | tuple[int, int, int] = 1, "
      "padding: int | tuple[int, int, int] = 0, dilation: int | tuple[int, int, int] = 1, "
      "output_padding: int | tuple[int, int, int] = 0, groups: int = 1, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      transpose_over<3, ShapeOrInt>("conv_transpose3d"),
      R"(Transposed convolution over three dimensions: each element spreads what a filter would see.

      Args:
        input: Shape (batch, depth, height, width, in_channels), of a floating point dtype.
        weight: Shape (out_channels, kernel_depth, kernel_height, kernel_width,
          in_channels / groups).)" +
          kTransposed + R"(

      Example:
        >>> mx.conv_transpose3d(mx.ones((1, 2, 2, 2, 3)), mx.ones((4, 2, 2, 2, 3)), stride=2).shape
        (1, 4, 4, 4, 4)
      )");
  define<
      "convolve(a: array, v: array, /, mode: str = 'full', *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, const array& v, const std::string& mode, const StreamArg& s) {
        return convolve(a, v, mode, s);
      },
      R"(Convolution of two vectors.

      Args:
        a: Shape (n,), of a floating point dtype.
        v: Shape (m,).
        mode: "full": wherever the vectors overlap; "same": as many places as the longer vector has,
          in the middle; "valid": where they overlap wholly.

      Returns:
        Shape (n + m - 1,), (max(n, m),) or (max(n, m) - min(n, m) + 1,), in the common dtype.

      Raises:
        ValueError: For other modes, for empty vectors, for other numbers of dimensions, and for
          integers and complex numbers.

      Example:
        >>> mx.convolve(mx.array([1.0, 2.0, 3.0]), mx.array([1.0, 10.0]))
        array([1, 12, 23, 30], dtype=float32)
      )");
}

void bind_all(nb::module_& m) {
  bind_convolutions(m);
  bind_transposed(m);
}

const Binding binding{&bind_all};

} // namespace
} // namespace narrows::python
