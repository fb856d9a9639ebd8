// Rotary position embeddings: the cosines and sines of a call's rows, then one pass over its
// numbers.
#include <algorithm>
#include <cmath>

#include "metal_kernels/rope.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/core/dispatch.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The least number of angles, and of numbers that are turned, for a thread.
constexpr int64_t kThreadAngles = 1 << 10;
constexpr int64_t kThreadNumbers = 1 << 14;

int64_t pairs(const RopeParams& p) {
  return p.dims / 2;
}
// Rows that have angles of their own: those of all heads have the same.
int64_t angle_rows(const RopeParams& p) {
  return std::min(p.offsets, p.batch) * p.length;
}
// Frequencies, then of each row the cosines and the sines.
int64_t scratch_bytes(const RopeParams& p) {
  return pairs(p) * int64_t{sizeof(double)} + angle_rows(p) * p.dims * int64_t{sizeof(float)};
}

void find_frequencies(const RopeParams& p, const float* divisors, double* frequencies) {
  for (int64_t i = 0; i < pairs(p); ++i) {
    frequencies[i] = divisors ? 1.0 / static_cast<double>(divisors[i])
                              : std::exp(
                                    -std::log(double{p.base}) * static_cast<double>(i) /
                                    static_cast<double>(pairs(p)));
  }
}

void find_turns(const RopeParams& p, const void* offsets, const double* frequencies, float* turns) {
  const auto offset = [&](int64_t i) {
    return p.offset_bytes == 4 ? int64_t{static_cast<const int32_t*>(offsets)[i]}
                               : static_cast<const int64_t*>(offsets)[i];
  };
  parallel_for(angle_rows(p), kThreadAngles / p.dims, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = offset(row / p.length) + row % p.length;
      const double position = static_cast<double>(at) * double{p.scale};
      float* cosines = turns + row * p.dims;
      float* sines = cosines + pairs(p);
      for (int64_t i = 0; i < pairs(p); ++i) {
        cosines[i] = static_cast<float>(std::cos(position * frequencies[i]));
        sines[i] = static_cast<float>(std::sin(position * frequencies[i]));
      }
    }
  });
}

// `to` may be `from`.
template <typename T>
void turn_row(const RopeParams& p, const T* from, const float* cosines, T* to) {
  const int64_t count = pairs(p);
  const float* sines = cosines + count;
  const int64_t step = p.traditional ? 2 : 1;
  const int64_t apart = p.traditional ? 1 : count;
  const auto turn = [&](int64_t i, int64_t first, int64_t second) {
    const auto x = static_cast<float>(from[first]);
    const auto y = static_cast<float>(from[second]);
    to[first] = T(x * cosines[i] - y * sines[i]);
    to[second] = T(y * cosines[i] + x * sines[i]);
  };
  for (int64_t i = 0; i < count; ++i) {
    turn(i, step * i, step * i + apart);
  }
  if (to != from) {
    std::copy(from + p.dims, from + p.size, to + p.dims);
  }
}

template <typename T>
void turn_rows(const RopeParams& p, const T* from, const float* turns, T* to) {
  const int64_t rows = p.batch * p.heads * p.length;
  parallel_for(
      rows, std::max<int64_t>(1, kThreadNumbers / p.size), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t t = row % p.length;
          const int64_t head = row / p.length % p.heads;
          const int64_t entry = row / p.length / p.heads;
          const int64_t angles = (p.offsets > 1 ? entry * p.length : 0) + t;
          turn_row(
              p,
              from + entry * p.in[0] + head * p.in[1] + t * p.in[2],
              turns + angles * p.dims,
              to + entry * p.out[0] + head * p.out[1] + t * p.out[2]);
        }
      });
}

void run_rope(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const RopeParams*>(params);
  SmallScratch small;
  std::byte* memory = small.unless(planned_scratch(scratch_bytes(p)) ? scratch : nullptr);
  auto* frequencies = reinterpret_cast<double*>(memory);
  auto* turns = reinterpret_cast<float*>(frequencies + pairs(p));
  const bool has_base = p.base != 0;
  find_frequencies(p, has_base ? nullptr : static_cast<const float*>(operands[2]), frequencies);
  find_turns(p, operands[1], frequencies, turns);
  void* out = operands[has_base ? 2 : 3];
  const auto turn = [&](auto tag) {
    using T = typename decltype(tag)::type;
    turn_rows(p, static_cast<const T*>(operands[0]), turns, static_cast<T*>(out));
  };
  if (id.out == Dtype::float16) {
    turn(TypeTag<float16_t>{});
  } else if (id.out == Dtype::bfloat16) {
    turn(TypeTag<bfloat16_t>{});
  } else {
    turn(TypeTag<float>{});
  }
}

} // namespace

const Row rope_row = {
    run_rope,
    [](const KernelId& id) {
      return id.out == Dtype::float16 || id.out == Dtype::bfloat16 || id.out == Dtype::float32;
    },
    [](const KernelId&, std::span<const std::byte> params) {
      return planned_scratch(scratch_bytes(*reinterpret_cast<const RopeParams*>(params.data())));
    }};

} // namespace narrows::cpu
