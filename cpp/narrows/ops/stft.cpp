// Fourier transforms of the frames of a signal, and their inverse.
#include <algorithm>
#include <functional>
#include <numeric>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/fft.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/pad.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"

namespace narrows::fft {
namespace {

// The settings of frames, checked.
struct Frame {
  int64_t length;
  int64_t hop;
  array window; // float32, as long as the frame
};

Frame checked_frame(const char* op, const Frames& frames, int64_t length, StreamOrDevice s) {
  if (length < 1) {
    fail<ValueError>("[", op, "] n_fft ", length, ", expected at least 1.");
  }
  const int64_t hop = frames.hop.value_or(std::max<int64_t>(1, length / 4));
  if (hop < 1) {
    fail<ValueError>("[", op, "] hop_length ", hop, ", expected at least 1.");
  }
  array window =
      frames.window
          ? *frames.window
          : ones({std::max<int64_t>(0, frames.window_length.value_or(length))}, float32, s);
  const int64_t wanted = frames.window_length.value_or(window.size());
  if (window.ndim() != 1 || window.size() != wanted || wanted < 1 || wanted > length) {
    fail<ValueError>(
        "[",
        op,
        "] a window of shape ",
        to_string(window.shape()),
        " and win_length ",
        wanted,
        ", expected one dimension of that length, 1 to ",
        length,
        ".");
  }
  // Shorter windows stand in the middle of a frame.
  const int64_t before = (length - window.size()) / 2;
  window =
      pad(astype(window, float32, s),
          {{before, length - window.size() - before}},
          "constant",
          number(0, float32),
          s);
  return {length, hop, window};
}

int64_t product_of(const Shape& shape, int64_t dims) {
  return std::accumulate(shape.begin(), shape.begin() + dims, int64_t{1}, std::multiplies<>());
}

// Adds the frames up, which are of shape (batch, frames, length), for each sample.
array added_up(const array& framed, int64_t hop, StreamOrDevice s) {
  const int64_t count = framed.shape()[1];
  const int64_t length = framed.shape()[2];
  const int64_t batch = framed.shape()[0];
  const auto counted = [&](int64_t n, int64_t step) {
    return multiply(arange(int64_t{0}, n, int64_t{1}, int64, s), number(step, int64), s);
  };
  const array places = add(expand_dims(counted(count, hop), {1}, s), counted(length, 1), s);
  return scatter_add_axis(
      zeros({batch, (count - 1) * hop + length}, framed.dtype(), s),
      reshape(places, {1, count * length}, s),
      reshape(framed, {batch, count * length}, s),
      1,
      s);
}

} // namespace

array stft(const array& a, const Frames& frames, std::string_view pad_mode, StreamOrDevice s) {
  if (a.ndim() == 0) {
    fail<ValueError>("[stft] a scalar, expected at least one dimension.");
  }
  const Frame frame = checked_frame("stft", frames, frames.n_fft.value_or(2048), s);
  const bool onesided = frames.onesided.value_or(!is_complex(a.dtype()));
  const Shape& shape = a.shape();
  const int64_t batch = product_of(shape, shape.ndim() - 1);
  array x = astype(a, is_complex(a.dtype()) ? complex64 : float32, s);
  x = reshape(x, {batch, shape.back()}, s);
  if (frames.center) {
    if (pad_mode != "reflect" && pad_mode != "constant" && pad_mode != "edge") {
      fail<ValueError>(
          "[stft] pad_mode '", pad_mode, "', expected 'reflect', 'constant' or 'edge'.");
    }
    const int64_t half = frame.length / 2;
    x = pad(x, {{0, 0}, {half, half}}, pad_mode, number(0, x.dtype()), s);
  }
  const int64_t samples = x.shape()[1];
  if (samples < frame.length) {
    fail<ValueError>(
        "[stft] ", samples, " samples, expected at least one frame of ", frame.length, ".");
  }
  const int64_t count = 1 + (samples - frame.length) / frame.hop;
  const array framed = as_strided(x, {batch, count, frame.length}, {samples, frame.hop, 1}, 0, s);
  const array weighted = multiply(framed, astype(frame.window, x.dtype(), s), s);
  const array spectra = onesided ? rfft(weighted, std::nullopt, -1, frames.norm, s)
                                 : fft(weighted, std::nullopt, -1, frames.norm, s);
  Shape result(shape.begin(), shape.end() - 1);
  result.push_back(count);
  result.push_back(spectra.shape()[2]);
  return swapaxes(reshape(spectra, result, s), -1, -2, s);
}

array istft(const array& a, const Frames& frames, std::optional<int64_t> length, StreamOrDevice s) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[istft] an array of shape ",
        to_string(a.shape()),
        ", expected frequencies and frames as its last dimensions.");
  }
  const Shape& shape = a.shape();
  const int64_t frequencies = shape[shape.size() - 2];
  const int64_t count = shape.back();
  const bool onesided = frames.onesided.value_or(true);
  const int64_t n_fft = frames.n_fft.value_or(onesided ? 2 * (frequencies - 1) : frequencies);
  const Frame frame = checked_frame("istft", frames, n_fft, s);
  const int64_t expected = onesided ? frame.length / 2 + 1 : frame.length;
  if (frequencies != expected || count < 1) {
    fail<ValueError>(
        "[istft] ",
        frequencies,
        " frequencies and ",
        count,
        " frames, expected ",
        expected,
        " frequencies of frames of ",
        frame.length,
        " and at least one of them.");
  }
  if (length && *length < 0) {
    fail<ValueError>("[istft] length ", *length, ", expected 0 or more.");
  }
  const int64_t batch = product_of(shape, shape.ndim() - 2);
  const array spectra = swapaxes(reshape(a, {batch, frequencies, count}, s), 1, 2, s);
  array framed = onesided ? irfft(spectra, frame.length, -1, frames.norm, s)
                          : real(ifft(spectra, std::nullopt, -1, frames.norm, s), s);
  framed = multiply(framed, frame.window, s);
  array signal = added_up(framed, frame.hop, s);
  const array squares =
      broadcast_to(multiply(frame.window, frame.window, s), {1, count, frame.length}, s);
  const array total = added_up(squares, frame.hop, s);
  // Samples that no window covers are zero.
  const array is_seen = greater(total, number(1e-11, float32), s);
  signal = divide(signal, where(is_seen, total, number(1, float32), s), s);

  const int64_t half = frames.center ? frame.length / 2 : 0;
  const int64_t samples = signal.shape()[1];
  const int64_t end = length ? std::min(samples, half + *length) : std::max(half, samples - half);
  signal = slice(signal, {0, std::min(half, end)}, {batch, end}, {1, 1}, s);
  if (length && signal.shape()[1] < *length) {
    signal =
        pad(signal, {{0, 0}, {0, *length - signal.shape()[1]}}, "constant", number(0, float32), s);
  }
  Shape result(shape.begin(), shape.end() - 2);
  result.push_back(signal.shape()[1]);
  return reshape(signal, result, s);
}

} // namespace narrows::fft
