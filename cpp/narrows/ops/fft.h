// Fourier transforms, in complex64 and float32.
#pragma once

#include <string_view>

#include "narrows/ops/common.h"

namespace narrows::fft {

// The number that sums over n elements are divided by.
enum class Norm : uint8_t {
  backward, // transforms: 1, inverse transforms: n
  ortho,    // both: the square root of n
  forward,  // transforms: n, inverse transforms: 1
};
// ValueError "[op] ..." for other names.
Norm norm_named(const char* op, std::string_view name);

// Along each axis the array is cut, or filled up with zeros, to the length in `n` or `lengths`, and
// transformed. If no axes are given, they are the last ones, as many as there are lengths, or all.
// IndexError if an axis is out of range. ValueError for scalars, for lengths below 1 or above 2^40,
// for repeated axes, and unless there are as many lengths as axes.

// Transforms of complex numbers.
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

// Transforms of real numbers: of n numbers along the last axis, n / 2 + 1 complex ones result,
// because the others are their conjugates.
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

// The inverse: n real numbers, by default an even number of them.
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

// fftshift() exchanges both halves of the axes (by default all), so that frequency zero is in the
// middle. ifftshift() is its inverse.
array fftshift(
    const array& a, const std::optional<Axes>& axes = std::nullopt, StreamOrDevice s = {});
array ifftshift(
    const array& a, const std::optional<Axes>& axes = std::nullopt, StreamOrDevice s = {});

// The frequencies, in float32, that belong to the elements of fft() and of rfft(), for n elements
// at distance `d`. ValueError unless `n` is positive and `d` is not zero.
array fftfreq(int64_t n, double d = 1, StreamOrDevice s = {});
array rfftfreq(int64_t n, double d = 1, StreamOrDevice s = {});

// How a signal is cut into frames, each of which is transformed.
struct Frames {
  std::optional<int64_t> n_fft; // the length of a frame
  std::optional<int64_t> hop;   // distance of frames; by default a quarter of n_fft
  std::optional<int64_t> window_length;
  std::optional<array> window; // by default ones
  bool center = true;          // the first element is in the middle of the first frame
  Norm norm = Norm::backward;
  std::optional<bool> onesided; // half of the frequencies; by default for real signals
};

// (..., samples) becomes (..., frequencies, frames). ValueError if the settings do not fit.
array stft(
    const array& a,
    const Frames& frames,
    std::string_view pad_mode = "reflect",
    StreamOrDevice s = {});

// The inverse: adds the frames up and divides by the sum of their squared windows.
array istft(
    const array& a,
    const Frames& frames,
    std::optional<int64_t> length = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows::fft
