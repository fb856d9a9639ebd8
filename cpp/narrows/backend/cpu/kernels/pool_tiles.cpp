#include "narrows/backend/cpu/kernels/pool_tiles.h"

#include "narrows/backend/cpu/kernels/lanes.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr int kTogether = 4; // vectors of channels

// The places of window `i` along a dimension that exist.
struct Reach {
  int64_t begin;
  int64_t end;

  Reach(const PoolParams& p, int d, int64_t i) {
    const int64_t first = i * p.stride[d] - p.padding[d];
    const int64_t last = first + p.size[d];
    begin = first < 0 ? 0 : first;
    end = last < p.places[d] ? last : p.places[d];
  }
};

// Calls visit(place) for each place of the window, counted in row-major order.
template <typename Visit>
void each_place(const PoolParams& p, const int64_t* window, Visit&& visit) {
  const Reach planes(p, 0, window[0]);
  const Reach rows(p, 1, window[1]);
  const Reach columns(p, 2, window[2]);
  for (int64_t i = planes.begin; i < planes.end; ++i) {
    for (int64_t j = rows.begin; j < rows.end; ++j) {
      const int64_t row = (i * p.places[1] + j) * p.places[2];
      for (int64_t k = columns.begin; k < columns.end; ++k) {
        visit(row + k);
      }
    }
  }
}

// NaN stays.
inline float larger(float a, float b) {
  return b > a || b != b ? b : a;
}

void maximum(const PoolParams& p, const float* in, int64_t begin, int64_t end, float* out) {
  const int64_t channels = p.channels;
  for (int64_t row = begin; row < end; ++row) {
    int64_t window[] = {row / p.windows[1], row % p.windows[1], 0};
    for (; window[2] < p.windows[2]; ++window[2]) {
      float* to = out + (row * p.windows[2] + window[2]) * channels;
      for (int64_t c = 0; c < channels; ++c) {
        to[c] = -kInfinity;
      }
      each_place(p, window, [&](int64_t place) {
        const float* from = in + place * channels;
        for (int64_t c = 0; c < channels; ++c) {
          to[c] = larger(to[c], from[c]);
        }
      });
    }
  }
}

template <int N>
using Bits = Vector<int32_t, N>;

// Which values are the largest of a window; NaN is, too, where there is one.
template <int N>
NARROWS_INLINE Bits<N> are_largest(Vector<float, N> x, Vector<float, N> largest) {
  return (x == largest) | ((x != x) & (largest != largest));
}
template <int N>
NARROWS_INLINE Vector<float, N> where(Bits<N> chosen, Vector<float, N> x) {
  return bits_as<Vector<float, N>>(chosen & bits_as<Bits<N>>(x));
}

// Of M vectors of channels of one window: each of its largest values gets its share.
template <int N, int M>
NARROWS_INLINE void share_cotangent(
    const PoolParams& p,
    const int64_t* window,
    const float* in,
    const float* largest,
    const float* cotangent,
    float* out) {
  using V = Vector<float, N>;
  V highest[M];
  V counts[M];
  V shares[M];
  for (int m = 0; m < M; ++m) {
    highest[m] = load_as<V>(largest + m * N);
    counts[m] = V{};
  }
  each_place(p, window, [&](int64_t place) {
    const float* x = in + place * p.channels;
    for (int m = 0; m < M; ++m) {
      const auto chosen = are_largest<N>(load_as<V>(x + m * N), highest[m]);
      counts[m] += where<N>(chosen, splat<float, N>(1));
    }
  });
  for (int m = 0; m < M; ++m) {
    shares[m] = load_as<V>(cotangent + m * N) / counts[m];
  }
  each_place(p, window, [&](int64_t place) {
    const float* x = in + place * p.channels;
    float* y = out + place * p.channels;
    for (int m = 0; m < M; ++m) {
      const auto chosen = are_largest<N>(load_as<V>(x + m * N), highest[m]);
      store_lanes<N>(y + m * N, load_as<V>(y + m * N) + where<N>(chosen, shares[m]));
    }
  });
}

void gradient(
    const PoolParams& p,
    const float* in,
    const float* largest,
    const float* cotangent,
    int64_t begin,
    int64_t end,
    float* out) {
  // Planes, or rows where there is one plane, are zero before the first window reaches them.
  const int d = p.places[0] > 1 ? 0 : 1;
  const int64_t line = d == 0 ? p.places[1] * p.places[2] : p.places[2];
  int64_t zeroed = 0;
  const auto zero_until = [&](int64_t lines) {
    for (; zeroed < lines * line; ++zeroed) {
      for (int64_t c = begin; c < end; ++c) {
        out[zeroed * p.channels + c] = 0;
      }
    }
  };
  int64_t at = 0;
  int64_t window[3];
  for (window[0] = 0; window[0] < p.windows[0]; ++window[0]) {
    for (window[1] = 0; window[1] < p.windows[1]; ++window[1]) {
      zero_until(Reach(p, d, window[d]).end);
      for (window[2] = 0; window[2] < p.windows[2]; ++window[2], at += p.channels) {
        constexpr int N = kLanes<float>;
        int64_t c = begin;
        for (; c + kTogether * N <= end; c += kTogether * N) {
          share_cotangent<N, kTogether>(
              p, window, in + c, largest + at + c, cotangent + at + c, out + c);
        }
        for (; c + N <= end; c += N) {
          share_cotangent<N, 1>(p, window, in + c, largest + at + c, cotangent + at + c, out + c);
        }
        for (; c < end; ++c) {
          share_cotangent<1, 1>(p, window, in + c, largest + at + c, cotangent + at + c, out + c);
        }
      }
    }
  }
  zero_until(p.places[d]);
}

} // namespace

PoolTile pool_tile() {
  return {maximum, gradient};
}

} // namespace narrows::cpu::NARROWS_ISA
