// Fourier transforms, in complex64 and float32.
#pragma once

#include <string_view>

#include "narrows/ops/common.h"

namespace narrows::fft {

// By what the sum of a transform over n elements is divided.
enum class Norm : uint8_t {
  backward, // transforms by 1, inverse ones by n
  ortho,    // both by the square root of n
  forward,  // transforms by n, inverse ones by 1
};
// ValueError "[op] ..." for other names.
Norm norm_named(const char* op, std::string_view name);

// Along each of the axes the array is cut, or filled up with zeros, to the length that `n` or
// `lengths` say, and transformed. No axes: the last ones for which there are lengths, or all.
// IndexError if an axis is out of range; ValueError for scalars, lengths below 1, repeated axes,
// and unless there are as many lengths as axes.

// Of complex numbers.
array fft(
    const array& a,
    std::optional<int64_t> n = std::nullopt,
    int axis = -1,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});
array ifft(
    const array& a,
    std::optional<int64_t> n = std::nullopt,
    int axis = -1,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});
array fftn(
    const array& a,
    const std::optional<Shape>& lengths = std::nullopt,
    const std::optional<Axes>& axes = std::nullopt,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});
array ifftn(
    const array& a,
    const std::optional<Shape>& lengths = std::nullopt,
    const std::optional<Axes>& axes = std::nullopt,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});

// Of n real numbers, along the last of the axes: n / 2 + 1 complex ones, as the others are their
// conjugates.
array rfft(
    const array& a,
    std::optional<int64_t> n = std::nullopt,
    int axis = -1,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});
array rfftn(
    const array& a,
    const std::optional<Shape>& lengths = std::nullopt,
    const std::optional<Axes>& axes = std::nullopt,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});

// The way back to n real numbers, by default an even number of them.
array irfft(
    const array& a,
    std::optional<int64_t> n = std::nullopt,
    int axis = -1,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});
array irfftn(
    const array& a,
    const std::optional<Shape>& lengths = std::nullopt,
    const std::optional<Axes>& axes = std::nullopt,
    Norm norm = Norm::backward,
    StreamOrDevice s = {});

// The parts exchanged so that frequency zero is in the middle of the axes (not given: of all), and
// the way back.
array fftshift(
    const array& a, const std::optional<Axes>& axes = std::nullopt, StreamOrDevice s = {});
array ifftshift(
    const array& a, const std::optional<Axes>& axes = std::nullopt, StreamOrDevice s = {});

// The frequencies (float32) of the elements of fft() and rfft() of n elements that are `d` apart.
// ValueError unless `n` is positive and `d` is not zero.
array fftfreq(int64_t n, double d = 1, StreamOrDevice s = {});
array rfftfreq(int64_t n, double d = 1, StreamOrDevice s = {});

// How a signal is cut into frames, and each of them transformed.
struct Frames {
  std::optional<int64_t> n_fft; // the length of a frame
  std::optional<int64_t> hop;   // from one to the next; not given: a quarter
  std::optional<int64_t> window_length;
  std::optional<array> window; // not given: ones
  bool center = true;          // the first frame has the first element in its middle
  Norm norm = Norm::backward;
  std::optional<bool> onesided; // half of the frequencies; not given: of real signals
};

// (..., samples) becomes (..., frequencies, frames). ValueError if numbers do not fit.
array stft(
    const array& a,
    const Frames& frames,
    std::string_view pad_mode = "reflect",
    StreamOrDevice s = {});

// The way back: the frames are added up, and divided by the sum of the squares of their windows.
array istft(
    const array& a,
    const Frames& frames,
    std::optional<int64_t> length = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows::fft
