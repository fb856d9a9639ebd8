#include "narrows/ops/fft.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

// Parts of docstrings that several functions share.
const std::string kNorm = R"(
        norm: By what the sums are divided: 'backward' divides those of inverse transforms by the
          number of elements, 'forward' those of the others, 'ortho' both by its square root.)";
const std::string kAxes = R"(
        axes: The axes that are transformed. None transforms the last ones for which there are
          lengths, or all.)" +
                          kNorm;
const std::string kAxis = R"(
        axis: The axis that is transformed.)" +
                          kNorm;
const std::string kArray = R"(

      Args:
        a: An array of any dtype, of one dimension at least.)";
const std::string kLengthsAndAxes = kArray + R"(
        s: How long the axes become before that: they are cut, or filled up with zeros.
          None leaves them.)" + kAxes;
const std::string kLengthAndAxis = kArray + R"(
        n: How long the axis becomes before that: it is cut, or filled up with zeros. None
          leaves it.)" + kAxis;
const std::string kErrorsOfAxes = R"(

      Raises:
        IndexError: If an axis is out of range.
        ValueError: For scalars, lengths below 1 or above 2^40, repeated axes, other norms, and
          unless there are as many lengths as axes.)";
const std::string kErrorsOfAxis = R"(

      Raises:
        IndexError: If the axis is out of range.
        ValueError: For scalars, lengths below 1 or above 2^40, and other norms.)";

using Along = array (*)(const array&, std::optional<int64_t>, int, fft::Norm, StreamOrDevice);
using AlongAll = array (*)(
    const array&,
    const std::optional<Shape>&,
    const std::optional<Axes>&,
    fft::Norm,
    StreamOrDevice);

auto along(const char* name, Along apply) {
  return [name, apply](
             const array& a,
             std::optional<int64_t> n,
             int axis,
             const std::string& norm,
             const StreamArg& s) { return apply(a, n, axis, fft::norm_named(name, norm), s); };
}

auto along_all(const char* name, AlongAll apply) {
  return
      [name, apply](
          const array& a,
          const std::optional<Shape>& lengths,
          const std::optional<Axes>& axes,
          const std::string& norm,
          const StreamArg& s) { return apply(a, lengths, axes, fft::norm_named(name, norm), s); };
}

void bind_complex(nb::module_& m) {
  define<
      "fft(a: array, n: int | None = None, axis: int = -1, norm: str = 'backward', "
      "stream: StreamOrDevice = None) -> array">(
      m,
      along("fft", fft::fft),
      R"(The discrete Fourier transform along an axis.)" + kLengthAndAxis + R"(

      Returns:
        complex64 of the shape of `a`, with `n` elements along the axis.)" +
          kErrorsOfAxis + R"(

      Example:
        >>> mx.fft.fft(mx.array([1.0, 0.0, 0.0, 0.0]))
        array([1+0j, 1+0j, 1+0j, 1+0j], dtype=complex64)
      )");
  define<
      "ifft(a: array, n: int | None = None, axis: int = -1, norm: str = 'backward', "
      "stream: StreamOrDevice = None) -> array">(
      m,
      along("ifft", fft::ifft),
      R"(The inverse of fft().)" + kLengthAndAxis + R"(

      Returns:
        complex64 of the shape of `a`, with `n` elements along the axis.)" +
          kErrorsOfAxis + R"(

      Example:
        >>> mx.fft.ifft(mx.fft.fft(mx.array([1.0, 2.0]))).real
        array([1, 2], dtype=float32)
      )");
  define<
      "fft2(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = [-2, -1], "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("fft2", fft::fftn),
      R"(The discrete Fourier transform along two axes.)" + kLengthsAndAxes + R"(

      Returns:
        complex64 of the shape of `a`, with as many elements along the axes as `s` says.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.fft2(mx.array([[1.0, 2.0], [3.0, 4.0]]))
        array([[10+0j, -2+0j],
               [-4+0j, 0+0j]], dtype=complex64)
      )");
  define<
      "fftn(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("fftn", fft::fftn),
      R"(The discrete Fourier transform along several axes.)" + kLengthsAndAxes + R"(

      Returns:
        complex64 of the shape of `a`, with as many elements along the axes as `s` says.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.fftn(mx.array([[1.0, 2.0], [3.0, 4.0]]))
        array([[10+0j, -2+0j],
               [-4+0j, 0+0j]], dtype=complex64)
      )");
  define<
      "ifft2(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = [-2, -1], "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("ifft2", fft::ifftn),
      R"(The inverse of fft2().)" + kLengthsAndAxes + R"(

      Returns:
        complex64 of the shape of `a`, with as many elements along the axes as `s` says.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.ifft2(mx.fft.fft2(mx.array([[1.0, 2.0], [3.0, 4.0]]))).real
        array([[1, 2],
               [3, 4]], dtype=float32)
      )");
  define<
      "ifftn(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("ifftn", fft::ifftn),
      R"(The inverse of fftn().)" + kLengthsAndAxes + R"(

      Returns:
        complex64 of the shape of `a`, with as many elements along the axes as `s` says.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.ifftn(mx.fft.fftn(mx.array([[1.0, 2.0], [3.0, 4.0]]))).real
        array([[1, 2],
               [3, 4]], dtype=float32)
      )");
}

void bind_real(nb::module_& m) {
  define<
      "rfft(a: array, n: int | None = None, axis: int = -1, norm: str = 'backward', "
      "stream: StreamOrDevice = None) -> array">(
      m,
      along("rfft", fft::rfft),
      R"(The discrete Fourier transform of real numbers along an axis.

      Of the n results only the first n // 2 + 1 are given: the others are their conjugates. Imaginary
      parts of `a` are dropped.)" +
          kLengthAndAxis + R"(

      Returns:
        complex64 of the shape of `a`, with n // 2 + 1 elements along the axis.)" +
          kErrorsOfAxis + R"(

      Example:
        >>> mx.fft.rfft(mx.array([1.0, 2.0, 3.0, 4.0]))
        array([10+0j, -2+2j, -2+0j], dtype=complex64)
      )");
  define<
      "irfft(a: array, n: int | None = None, axis: int = -1, norm: str = 'backward', "
      "stream: StreamOrDevice = None) -> array">(
      m,
      along("irfft", fft::irfft),
      R"(The inverse of rfft(), of real numbers.

      The imaginary parts of the first element, and of element n / 2, do not count.)" +
          kArray + R"(
        n: How many elements the result has along the axis; n // 2 + 1 elements of `a` are read,
          of which missing ones count as zero. None is 2 * (m - 1) for m elements.)" +
          kAxis + R"(

      Returns:
        float32 of the shape of `a`, with `n` elements along the axis.)" +
          kErrorsOfAxis + R"(

      Example:
        >>> mx.fft.irfft(mx.fft.rfft(mx.array([1.0, 2.0, 3.0])), 3)
        array([1, 2, 3], dtype=float32)
      )");
  define<
      "rfft2(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = [-2, -1], "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("rfft2", fft::rfftn),
      R"(The discrete Fourier transform of real numbers along two axes.

      Along the last of the axes it is that of rfft(), along the others that of fft().)" +
          kLengthsAndAxes + R"(

      Returns:
        complex64 of the shape of `a`, with as many elements along the axes as `s` says, but
        s[-1] // 2 + 1 along the last of them.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.rfft2(mx.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).shape
        (2, 2)
      )");
  define<
      "rfftn(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("rfftn", fft::rfftn),
      R"(The discrete Fourier transform of real numbers along several axes.

      Along the last of the axes it is that of rfft(), along the others that of fft().)" +
          kLengthsAndAxes + R"(

      Returns:
        complex64 of the shape of `a`, with as many elements along the axes as `s` says, but
        s[-1] // 2 + 1 along the last of them.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.rfftn(mx.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).shape
        (2, 2)
      )");
  define<
      "irfft2(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = [-2, -1], "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("irfft2", fft::irfftn),
      R"(The inverse of rfft2(), of real numbers.

      Along the last of the axes it is that of irfft(), along the others that of ifft().)" +
          kArray + R"(
        s: How many elements the result has along the axes. None is as many as `a` has, and
          2 * (m - 1) for m elements of the last one.)" +
          kAxes + R"(

      Returns:
        float32 of the shape of `a`, with as many elements along the axes as `s` says.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.irfft2(mx.fft.rfft2(mx.array([[1.0, 2.0], [3.0, 4.0]])))
        array([[1, 2],
               [3, 4]], dtype=float32)
      )");
  define<
      "irfftn(a: array, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, "
      "norm: str = 'backward', stream: StreamOrDevice = None) -> array">(
      m,
      along_all("irfftn", fft::irfftn),
      R"(The inverse of rfftn(), of real numbers.

      Along the last of the axes it is that of irfft(), along the others that of ifft().)" +
          kArray + R"(
        s: How many elements the result has along the axes. None is as many as `a` has, and
          2 * (m - 1) for m elements of the last one.)" +
          kAxes + R"(

      Returns:
        float32 of the shape of `a`, with as many elements along the axes as `s` says.)" +
          kErrorsOfAxes + R"(

      Example:
        >>> mx.fft.irfftn(mx.fft.rfftn(mx.array([[1.0, 2.0], [3.0, 4.0]])))
        array([[1, 2],
               [3, 4]], dtype=float32)
      )");
}

void bind_frequencies(nb::module_& m) {
  define<
      "fftshift(a: array, axes: int | Sequence[int] | None = None, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, const AxesArg& axes, const StreamArg& s) {
        return fft::fftshift(a, axes.optional(), s);
      },
      R"(Moves frequency zero to the middle.

      Args:
        a: An array.
        axes: The axes; None is all.

      Returns:
        The shape and dtype of `a`.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.fft.fftshift(mx.fft.fftfreq(4))
        array([-0.5, -0.25, 0, 0.25], dtype=float32)
      )");
  define<
      "ifftshift(a: array, axes: int | Sequence[int] | None = None, stream: StreamOrDevice = "
      "None) -> array">(
      m,
      [](const array& a, const AxesArg& axes, const StreamArg& s) {
        return fft::ifftshift(a, axes.optional(), s);
      },
      R"(The inverse of fftshift().

      Args:
        a: An array.
        axes: The axes; None is all.

      Returns:
        The shape and dtype of `a`.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.fft.ifftshift(mx.array([3, 4, 0, 1, 2]))
        array([0, 1, 2, 3, 4], dtype=int32)
      )");
  define<"fftfreq(n: int, d: float = 1.0, stream: StreamOrDevice = None) -> array">(
      m,
      [](int64_t n, double d, const StreamArg& s) { return fft::fftfreq(n, d, s); },
      R"(The frequencies of the elements of fft().

      Args:
        n: How many elements are transformed.
        d: How far they are from each other, in seconds if frequencies are to be in hertz.

      Returns:
        float32 of shape (n,): first zero and the positive frequencies, then the negative ones.

      Raises:
        ValueError: If `n` is below 1 or `d` is zero.

      Example:
        >>> mx.fft.fftfreq(4)
        array([0, 0.25, -0.5, -0.25], dtype=float32)
      )");
  define<"rfftfreq(n: int, d: float = 1.0, stream: StreamOrDevice = None) -> array">(
      m,
      [](int64_t n, double d, const StreamArg& s) { return fft::rfftfreq(n, d, s); },
      R"(The frequencies of the elements of rfft().

      Args:
        n: How many elements are transformed.
        d: How far they are from each other, in seconds if frequencies are to be in hertz.

      Returns:
        float32 of shape (n // 2 + 1,).

      Raises:
        ValueError: If `n` is below 1 or `d` is zero.

      Example:
        >>> mx.fft.rfftfreq(4)
        array([0, 0.25, 0.5], dtype=float32)
      )");
}

void bind_frames(nb::module_& m) {
  define<
      "stft(x: array, n_fft: int = 2048, hop_length: int | None = None, win_length: int | None = "
      "None, window: array | None = None, center: bool = True, pad_mode: str = 'reflect', norm: "
      "str "
      "= 'backward', onesided: bool | None = None, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x,
         int64_t n_fft,
         std::optional<int64_t> hop_length,
         std::optional<int64_t> win_length,
         const std::optional<array>& window,
         bool center,
         const std::string& pad_mode,
         const std::string& norm,
         std::optional<bool> onesided,
         const StreamArg& s) {
        const fft::Norm by = fft::norm_named("stft", norm);
        return fft::stft(
            x, {n_fft, hop_length, win_length, window, center, by, onesided}, pad_mode, s);
      },
      R"(The Fourier transforms of overlapping frames of a signal.

      Args:
        x: The signal, of shape (..., samples).
        n_fft: The length of a frame.
        hop_length: How many samples there are from a frame to the next; None is a quarter of one.
        win_length: The length of the window; None is that of `window`, or of a frame.
        window: What frames are multiplied with, an array of one dimension. Shorter ones stand in the
          middle of a frame. None is ones.
        center: Whether both ends get n_fft // 2 samples more, so that frames stand around their
          sample.
        pad_mode: What these are: 'reflect', 'constant' or 'edge', as in pad().
        norm: By what the sums are divided, as in fft().
        onesided: Whether only the first n_fft // 2 + 1 frequencies are given, as in rfft(). None is
          True for real signals.

      Returns:
        complex64 of shape (..., frequencies, frames).

      Raises:
        ValueError: For scalars, signals shorter than a frame, windows longer than one, and numbers
          below 1.

      Example:
        >>> mx.fft.stft(mx.ones((100,)), n_fft=16).shape
        (9, 26)
      )");
  define<
      "istft(stft_matrix: array, n_fft: int | None = None, hop_length: int | None = None, "
      "win_length: int | None = None, window: array | None = None, center: bool = True, norm: str "
      "= "
      "'backward', onesided: bool | None = None, length: int | None = None, stream: "
      "StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         std::optional<int64_t> n_fft,
         std::optional<int64_t> hop_length,
         std::optional<int64_t> win_length,
         const std::optional<array>& window,
         bool center,
         const std::string& norm,
         std::optional<bool> onesided,
         std::optional<int64_t> length,
         const StreamArg& s) {
        const fft::Norm by = fft::norm_named("istft", norm);
        return fft::istft(
            a, {n_fft, hop_length, win_length, window, center, by, onesided}, length, s);
      },
      R"(The signal whose stft() is given.

      The frames are transformed back, multiplied with the window, added up, and divided by the sum of
      the squares of their windows. Samples that no window has seen are zero.

      Args:
        stft_matrix: The frames, of shape (..., frequencies, frames).
        n_fft: The length of a frame. None is the even length that the frequencies say.
        hop_length: How many samples there are from a frame to the next; None is a quarter of one.
        win_length: The length of the window; None is that of `window`, or of a frame.
        window: The window, as it was for stft().
        center: Whether frames stand around their sample.
        norm: By what the sums were divided.
        onesided: Whether only the first n_fft // 2 + 1 frequencies are given; None is True.
        length: How many samples the result has: it is cut, or filled up with zeros. None gives those
          that the frames cover, without what stft() has added.

      Returns:
        float32 of shape (..., samples).

      Raises:
        ValueError: If there are not as many frequencies as a frame has, or numbers do not fit.

      Example:
        >>> signal = mx.sin(mx.arange(64.0))
        >>> mx.allclose(mx.fft.istft(mx.fft.stft(signal, n_fft=16)), signal, atol=1e-5)
        array(True, dtype=bool)
      )");
}

void bind_fft(nb::module_& parent) {
  nb::module_ m = parent.def_submodule("fft", "Fourier transforms.");
  bind_complex(m);
  bind_real(m);
  bind_frequencies(m);
  bind_frames(m);
}

const Binding binding{&bind_fft};

} // namespace
} // namespace narrows::python
