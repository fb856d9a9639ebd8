#include "narrows/backend/cpu/kernels/fft_lanes.h"

#include "narrows/backend/cpu/kernels/lanes.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr int kWidth = kLanes<float>;
using V = Vector<float, kWidth>;

struct Number {
  V re;
  V im;
};

NARROWS_INLINE Number add(Number a, Number b) {
  return {a.re + b.re, a.im + b.im};
}
NARROWS_INLINE Number subtract(Number a, Number b) {
  return {a.re - b.re, a.im - b.im};
}
// Times -i.
NARROWS_INLINE Number turned(Number a) {
  return {a.im, -a.re};
}
NARROWS_INLINE Number product(Number a, V re, V im) {
  return {a.re * re - a.im * im, a.re * im + a.im * re};
}
NARROWS_INLINE Number load(FftParts from, int64_t at) {
  return {load_as<V>(from.re + at), load_as<V>(from.im + at)};
}
NARROWS_INLINE void store(FftParts to, int64_t at, Number x) {
  std::memcpy(to.re + at, &x.re, sizeof(V));
  std::memcpy(to.im + at, &x.im, sizeof(V));
}

// cos(2 pi k / R) and sin(2 pi k / R) for k from 1 to R / 2.
template <int R>
struct Roots;
#define NARROWS_ROOTS(R, ...)                           \
  template <>                                           \
  struct Roots<R> {                                     \
    static constexpr float values[][2] = {__VA_ARGS__}; \
  };
NARROWS_ROOTS(3, {-0.5F, 0.86602540378443865F})
NARROWS_ROOTS(
    5, {0.30901699437494742F, 0.95105651629515357F}, {-0.80901699437494742F, 0.58778525229247313F})
NARROWS_ROOTS(
    7,
    {0.62348980185873353F, 0.78183148246802981F},
    {-0.22252093395631440F, 0.97492791218182361F},
    {-0.90096886790241913F, 0.43388373911755812F})
NARROWS_ROOTS(
    11,
    {0.84125353283118117F, 0.54064081745559758F},
    {0.41541501300188643F, 0.90963199535451837F},
    {-0.14231483827328514F, 0.98982144188093273F},
    {-0.65486073394528506F, 0.75574957435425828F},
    {-0.95949297361449739F, 0.28173255684142970F})
NARROWS_ROOTS(
    13,
    {0.88545602565320990F, 0.46472317204376855F},
    {0.56806474673115580F, 0.82298386589365640F},
    {0.12053668025532306F, 0.99270887409805399F},
    {-0.35460488704253557F, 0.93501624268541483F},
    {-0.74851074817110109F, 0.66312265824079520F},
    {-0.97094181742605203F, 0.23931566428755777F})
#undef NARROWS_ROOTS

template <int R>
NARROWS_INLINE void transform(Number* x) {
  if constexpr (R == 2) {
    const Number a = x[0];
    x[0] = add(a, x[1]);
    x[1] = subtract(a, x[1]);
  } else if constexpr (R == 4) {
    const Number a = add(x[0], x[2]);
    const Number b = subtract(x[0], x[2]);
    const Number c = add(x[1], x[3]);
    const Number d = turned(subtract(x[1], x[3]));
    x[0] = add(a, c);
    x[1] = add(b, d);
    x[2] = subtract(a, c);
    x[3] = subtract(b, d);
  } else if constexpr (R == 8) {
    Number even[4] = {x[0], x[2], x[4], x[6]};
    Number odd[4] = {x[1], x[3], x[5], x[7]};
    transform<4>(even);
    transform<4>(odd);
    constexpr float kHalfRoot = 0.70710678118654752F;
    const Number one = {(odd[1].re + odd[1].im) * kHalfRoot, (odd[1].im - odd[1].re) * kHalfRoot};
    const Number three = {
        (odd[3].im - odd[3].re) * kHalfRoot, -(odd[3].re + odd[3].im) * kHalfRoot};
    odd[1] = one;
    odd[2] = turned(odd[2]);
    odd[3] = three;
    for (int k = 0; k < 4; ++k) {
      x[k] = add(even[k], odd[k]);
      x[k + 4] = subtract(even[k], odd[k]);
    }
  } else {
    // Elements j and R - j have conjugate roots.
    constexpr int kHalf = R / 2;
    Number sums[kHalf];
    Number differences[kHalf];
    Number total = x[0];
    for (int j = 0; j < kHalf; ++j) {
      sums[j] = add(x[j + 1], x[R - 1 - j]);
      differences[j] = turned(subtract(x[j + 1], x[R - 1 - j]));
      total = add(total, sums[j]);
    }
    const Number first = x[0];
    x[0] = total;
#pragma GCC unroll 8
    for (int k = 1; k <= kHalf; ++k) {
      Number even = first;
      Number odd = {V{}, V{}};
#pragma GCC unroll 8
      for (int j = 1; j <= kHalf; ++j) {
        const int power = j * k % R;
        const bool mirrored = power > kHalf;
        const float* root = Roots<R>::values[(mirrored ? R - power : power) - 1];
        const float sine = mirrored ? -root[1] : root[1];
        even.re += sums[j - 1].re * root[0];
        even.im += sums[j - 1].im * root[0];
        odd.re += differences[j - 1].re * sine;
        odd.im += differences[j - 1].im * sine;
      }
      x[k] = add(even, odd);
      x[R - k] = subtract(even, odd);
    }
  }
}

template <int R>
void run_stage(const FftStage& stage, FftParts from, FftParts to) {
  const int64_t width = stage.width;
  const int64_t distance = stage.blocks * width;
  for (int64_t p = 0; p < stage.blocks; ++p) {
    const float* powers = stage.powers + p * 2 * (R - 1);
    const int64_t in = p * width;
    const int64_t out = p * R * width;
    for (int64_t q = 0; q < width; q += kWidth) {
      Number x[R];
#pragma GCC unroll 16
      for (int j = 0; j < R; ++j) {
        x[j] = load(from, in + j * distance + q);
      }
      transform<R>(x);
      store(to, out + q, x[0]);
      if (p == 0) { // powers of 1
#pragma GCC unroll 16
        for (int j = 1; j < R; ++j) {
          store(to, out + j * width + q, x[j]);
        }
        continue;
      }
#pragma GCC unroll 16
      for (int j = 1; j < R; ++j) {
        const V re = splat<float, kWidth>(powers[2 * j - 2]);
        const V im = splat<float, kWidth>(powers[2 * j - 1]);
        store(to, out + j * width + q, product(x[j], re, im));
      }
    }
  }
}

void stage(const FftStage& stage, FftParts from, FftParts to) {
  switch (stage.radix) {
    case 2:
      return run_stage<2>(stage, from, to);
    case 3:
      return run_stage<3>(stage, from, to);
    case 4:
      return run_stage<4>(stage, from, to);
    case 5:
      return run_stage<5>(stage, from, to);
    case 7:
      return run_stage<7>(stage, from, to);
    case 8:
      return run_stage<8>(stage, from, to);
    case 11:
      return run_stage<11>(stage, from, to);
    default:
      return run_stage<13>(stage, from, to);
  }
}

template <size_t... kIndex>
NARROWS_INLINE Number apart(V low, V high, std::index_sequence<kIndex...>) {
  return {
      __builtin_shufflevector(low, high, (2 * static_cast<int>(kIndex))...),
      __builtin_shufflevector(low, high, (2 * static_cast<int>(kIndex) + 1)...)};
}
template <size_t... kIndex>
NARROWS_INLINE V together_low(Number x, std::index_sequence<kIndex...>) {
  return __builtin_shufflevector(
      x.re, x.im, (static_cast<int>(kIndex) / 2 + (static_cast<int>(kIndex) % 2 ? kWidth : 0))...);
}
template <size_t... kIndex>
NARROWS_INLINE V together_high(Number x, std::index_sequence<kIndex...>) {
  return __builtin_shufflevector(
      x.re,
      x.im,
      (kWidth / 2 + static_cast<int>(kIndex) / 2 + (static_cast<int>(kIndex) % 2 ? kWidth : 0))...);
}
constexpr auto kAllOf = std::make_index_sequence<kWidth>();

// kWidth complex numbers.
NARROWS_INLINE Number load_pairs(const float* from) {
  return apart(load_as<V>(from), load_as<V>(from + kWidth), kAllOf);
}
NARROWS_INLINE void store_pairs(float* to, Number x) {
  const V low = together_low(x, kAllOf);
  const V high = together_high(x, kAllOf);
  std::memcpy(to, &low, sizeof(V));
  std::memcpy(to + kWidth, &high, sizeof(V));
}

using Four = Vector<float, 4>;
struct FourRows {
  Four rows[4];
};
NARROWS_INLINE FourRows transposed(Four a, Four b, Four c, Four d) {
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return {
      {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
       __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
       __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
       __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)}};
}
NARROWS_INLINE void store_four(float* to, Four value) {
  std::memcpy(to, &value, sizeof(Four));
}

// Contiguous rows, one for each lane: two elements of four rows at once.
void load_rows(const float* from, int64_t n, int64_t lane_step, FftParts to) {
  for (int64_t lane = 0; lane < kFftLanes; lane += 4) {
    const float* row = from + 2 * lane * lane_step;
    for (int64_t i = 0; i < n - 1; i += 2) {
      const float* at = row + 2 * i;
      const FourRows x = transposed(
          load_as<Four>(at),
          load_as<Four>(at + 2 * lane_step),
          load_as<Four>(at + 4 * lane_step),
          load_as<Four>(at + 6 * lane_step));
      const int64_t place = i * kFftLanes + lane;
      store_four(to.re + place, x.rows[0]);
      store_four(to.im + place, x.rows[1]);
      store_four(to.re + place + kFftLanes, x.rows[2]);
      store_four(to.im + place + kFftLanes, x.rows[3]);
    }
    for (int64_t k = 0; n % 2 != 0 && k < 4; ++k) {
      const int64_t place = (n - 1) * kFftLanes + lane + k;
      to.re[place] = row[2 * (n - 1 + k * lane_step)];
      to.im[place] = row[2 * (n - 1 + k * lane_step) + 1];
    }
  }
}

void store_rows(FftParts from, int64_t n, int64_t lane_step, float scale, float* to) {
  const Four factor = splat<float, 4>(scale);
  for (int64_t lane = 0; lane < kFftLanes; lane += 4) {
    float* row = to + 2 * lane * lane_step;
    for (int64_t i = 0; i < n - 1; i += 2) {
      const int64_t place = i * kFftLanes + lane;
      const FourRows x = transposed(
          load_as<Four>(from.re + place),
          load_as<Four>(from.im + place),
          load_as<Four>(from.re + place + kFftLanes),
          load_as<Four>(from.im + place + kFftLanes));
      for (int k = 0; k < 4; ++k) {
        store_four(row + 2 * (i + k * lane_step), x.rows[k] * factor);
      }
    }
    for (int64_t k = 0; n % 2 != 0 && k < 4; ++k) {
      const int64_t place = (n - 1) * kFftLanes + lane + k;
      row[2 * (n - 1 + k * lane_step)] = from.re[place] * scale;
      row[2 * (n - 1 + k * lane_step) + 1] = from.im[place] * scale;
    }
  }
}

void load_lines(
    const float* from, int64_t n, int64_t step, int64_t lanes, int64_t lane_step, FftParts to) {
  if (lanes == kFftLanes && step == 1) {
    return load_rows(from, n, lane_step, to);
  }
  const bool is_dense = lanes == kFftLanes && lane_step == 1;
  for (int64_t i = 0; i < n; ++i) {
    const float* line = from + 2 * i * step;
    if (is_dense) {
      for (int64_t q = 0; q < kFftLanes; q += kWidth) {
        store(to, i * kFftLanes + q, load_pairs(line + 2 * q));
      }
      continue;
    }
    for (int64_t lane = 0; lane < kFftLanes; ++lane) {
      const bool is_there = lane < lanes;
      to.re[i * kFftLanes + lane] = is_there ? line[2 * lane * lane_step] : 0;
      to.im[i * kFftLanes + lane] = is_there ? line[2 * lane * lane_step + 1] : 0;
    }
  }
}

void load_real_lines(
    const float* from, int64_t n, int64_t step, int64_t lanes, int64_t lane_step, FftParts to) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t lane = 0; lane < kFftLanes; ++lane) {
      to.re[i * kFftLanes + lane] = lane < lanes ? from[i * step + lane * lane_step] : 0;
      to.im[i * kFftLanes + lane] = 0;
    }
  }
}

void store_lines(
    FftParts from,
    int64_t n,
    int64_t step,
    int64_t lanes,
    int64_t lane_step,
    float scale,
    float* to) {
  if (lanes == kFftLanes && step == 1) {
    return store_rows(from, n, lane_step, scale, to);
  }
  const bool is_dense = lanes == kFftLanes && lane_step == 1;
  const V factor = splat<float, kWidth>(scale);
  for (int64_t i = 0; i < n; ++i) {
    float* line = to + 2 * i * step;
    if (is_dense) {
      for (int64_t q = 0; q < kFftLanes; q += kWidth) {
        const Number x = load(from, i * kFftLanes + q);
        store_pairs(line + 2 * q, {x.re * factor, x.im * factor});
      }
      continue;
    }
    for (int64_t lane = 0; lane < lanes; ++lane) {
      line[2 * lane * lane_step] = from.re[i * kFftLanes + lane] * scale;
      line[2 * lane * lane_step + 1] = from.im[i * kFftLanes + lane] * scale;
    }
  }
}

void store_real_lines(
    FftParts from,
    int64_t n,
    int64_t step,
    int64_t lanes,
    int64_t lane_step,
    float scale,
    float* to) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      to[i * step + lane * lane_step] = from.re[i * kFftLanes + lane] * scale;
    }
  }
}

void load_parts(FftParts from, int64_t n, int64_t step, int64_t lanes, FftParts to) {
  for (int64_t i = 0; i < n; ++i) {
    if (lanes == kFftLanes) {
      for (int64_t q = 0; q < kFftLanes; q += kWidth) {
        store(to, i * kFftLanes + q, load(from, i * step + q));
      }
      continue;
    }
    for (int64_t lane = 0; lane < kFftLanes; ++lane) {
      to.re[i * kFftLanes + lane] = lane < lanes ? from.re[i * step + lane] : 0;
      to.im[i * kFftLanes + lane] = lane < lanes ? from.im[i * step + lane] : 0;
    }
  }
}

void multiply(FftParts lanes, int64_t n, const float* factors) {
  for (int64_t i = 0; i < n; ++i) {
    const V re = splat<float, kWidth>(factors[2 * i]);
    const V im = splat<float, kWidth>(factors[2 * i + 1]);
    for (int64_t q = 0; q < kFftLanes; q += kWidth) {
      store(lanes, i * kFftLanes + q, product(load(lanes, i * kFftLanes + q), re, im));
    }
  }
}

void turn(FftParts lanes, int64_t n, int64_t fine, const float* a, const float* b) {
  for (int64_t i = 0; i < n; ++i) {
    const float* first = a + i % fine * 2 * kFftLanes;
    const float* second = b + i / fine * 2 * kFftLanes;
    for (int64_t q = 0; q < kFftLanes; q += kWidth) {
      const Number factor = product(
          {load_as<V>(first + q), load_as<V>(first + kFftLanes + q)},
          load_as<V>(second + q),
          load_as<V>(second + kFftLanes + q));
      const int64_t at = i * kFftLanes + q;
      store(lanes, at, product(load(lanes, at), factor.re, factor.im));
    }
  }
}

void turn_by(FftParts lanes, int64_t n, const float* factors) {
  for (int64_t i = 0; i < n; ++i) {
    const float* factor = factors + i * 2 * kFftLanes;
    for (int64_t q = 0; q < kFftLanes; q += kWidth) {
      const int64_t at = i * kFftLanes + q;
      store(
          lanes,
          at,
          product(load(lanes, at), load_as<V>(factor + q), load_as<V>(factor + kFftLanes + q)));
    }
  }
}

void transpose_part(const float* lanes, int64_t n, int64_t count, int64_t step, float* to) {
  const int64_t whole = n / 4 * 4;
  int64_t lane = 0;
  for (; lane + 4 <= count; lane += 4) {
    for (int64_t i = 0; i < whole; i += 4) {
      const float* from = lanes + i * kFftLanes + lane;
      const FourRows x = transposed(
          load_as<Four>(from),
          load_as<Four>(from + kFftLanes),
          load_as<Four>(from + 2 * kFftLanes),
          load_as<Four>(from + 3 * kFftLanes));
      for (int k = 0; k < 4; ++k) {
        store_four(to + (lane + k) * step + i, x.rows[k]);
      }
    }
  }
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = j < lane ? whole : 0; i < n; ++i) {
      to[j * step + i] = lanes[i * kFftLanes + j];
    }
  }
}

void transpose(FftParts lanes, int64_t n, int64_t count, int64_t step, FftParts to) {
  transpose_part(lanes.re, n, count, step, to.re);
  transpose_part(lanes.im, n, count, step, to.im);
}

NARROWS_INLINE Number exchanged_if(bool exchange, Number x) {
  return exchange ? Number{x.im, x.re} : x;
}

void multiply_row(
    const float* from,
    int64_t n,
    const float* factors,
    bool exchange_in,
    bool exchange_out,
    float scale,
    float* to) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    const Number factor = load_pairs(factors + 2 * i);
    const Number x = exchanged_if(exchange_in, load_pairs(from + 2 * i));
    const Number y = product(x, factor.re, factor.im);
    store_pairs(to + 2 * i, exchanged_if(exchange_out, {y.re * scale, y.im * scale}));
  }
  for (; i < n; ++i) {
    const float re = from[2 * i + (exchange_in ? 1 : 0)];
    const float im = from[2 * i + (exchange_in ? 0 : 1)];
    const float* factor = factors + 2 * i;
    to[2 * i + (exchange_out ? 1 : 0)] = (re * factor[0] - im * factor[1]) * scale;
    to[2 * i + (exchange_out ? 0 : 1)] = (re * factor[1] + im * factor[0]) * scale;
  }
}

} // namespace

FftLanes fft_lanes() {
  return {
      stage,
      load_lines,
      load_real_lines,
      store_lines,
      store_real_lines,
      load_parts,
      multiply,
      turn,
      turn_by,
      transpose,
      multiply_row};
}

} // namespace narrows::cpu::NARROWS_ISA
