#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <limits>

#include "metal_kernels/softmax.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"
#include "narrows/core/half.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

SoftmaxTile softmax_tile(Dtype dtype) {
  return NARROWS_AT_BEST_ISA(softmax_tile(dtype));
}

namespace {

// The least number of elements for a thread.
constexpr int64_t kThreadElements = 1 << 13;
// Rows of at least this length are shared by several threads if there are fewer rows than threads.
constexpr int64_t kLongRow = 1 << 16;

int64_t grain_of(const RowParams& p) {
  return std::max<int64_t>(1, kThreadElements / std::max<int64_t>(1, p.length));
}

bool shares_rows(const RowParams& p) {
  return p.length >= kLongRow && p.rows < thread_count();
}

RowSummary merged(RowSummary a, RowSummary b) {
  const double maximum =
      std::isnan(a.maximum) || std::isnan(b.maximum) ? NAN : std::max(a.maximum, b.maximum);
  // Parts that are all -inf have no sum: exp(-inf - -inf) would be NaN.
  const auto scaled = [&](RowSummary part) {
    return part.sum == 0 ? 0 : part.sum * std::exp(part.maximum - maximum);
  };
  return {maximum, scaled(a) + scaled(b)};
}

RowSummary shared_summary(
    const SoftmaxTile& tile, const char* row, int64_t length, int64_t item_size) {
  std::array<RowSummary, 1024> parts;
  const int64_t pieces = std::min<int64_t>(thread_count(), parts.size());
  parallel_for(pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t begin = length * piece / pieces;
      const int64_t end = length * (piece + 1) / pieces;
      parts[piece] = tile.summary(row + begin * item_size, end - begin);
    }
  });
  RowSummary result = parts[0];
  for (int64_t piece = 1; piece < pieces; ++piece) {
    result = merged(result, parts[piece]);
  }
  return result;
}

double logsumexp_of(RowSummary row) {
  return std::isinf(row.maximum) ? row.maximum : row.maximum + std::log(row.sum);
}

void store_value(Dtype dtype, double value, char* out) {
  switch (dtype) {
    case Dtype::float16:
      *reinterpret_cast<float16_t*>(out) = float16_t(static_cast<float>(value));
      break;
    case Dtype::bfloat16:
      *reinterpret_cast<bfloat16_t*>(out) = bfloat16_t(static_cast<float>(value));
      break;
    case Dtype::float64:
      *reinterpret_cast<double*>(out) = value;
      break;
    default:
      *reinterpret_cast<float*>(out) = static_cast<float>(value);
      break;
  }
}

// Complex rows are shifted by their largest real part, which bounds the magnitude of exp.
struct ComplexSummary {
  double maximum;
  std::complex<double> sum;
};

ComplexSummary complex_summary(const complex64_t* row, int64_t length) {
  double maximum = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < length; ++i) {
    maximum = std::max<double>(maximum, row[i].real());
  }
  std::complex<double> sum = 0;
  for (int64_t i = 0; i < length; ++i) {
    sum += std::exp(std::complex<double>(row[i]) - maximum);
  }
  return {maximum, sum};
}

void complex_softmax(const complex64_t* in, int64_t length, complex64_t* out) {
  const ComplexSummary row = complex_summary(in, length);
  for (int64_t i = 0; i < length; ++i) {
    out[i] = complex64_t(std::exp(std::complex<double>(in[i]) - row.maximum) / row.sum);
  }
}

complex64_t complex_logsumexp(const complex64_t* in, int64_t length) {
  const ComplexSummary row = complex_summary(in, length);
  if (std::isinf(row.maximum)) {
    return complex64_t(static_cast<float>(row.maximum), 0);
  }
  return complex64_t(std::log(row.sum) + row.maximum);
}

void run_softmax(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const RowParams*>(params);
  const auto* in = static_cast<const char*>(operands[0]);
  auto* out = static_cast<char*>(operands[1]);
  if (id.in == Dtype::complex64) {
    parallel_for(p.rows, grain_of(p), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        complex_softmax(
            reinterpret_cast<const complex64_t*>(in) + r * p.length,
            p.length,
            reinterpret_cast<complex64_t*>(out) + r * p.length);
      }
    });
    return;
  }
  const SoftmaxTile tile = softmax_tile(id.in);
  const int64_t row_size = p.length * size_of(id.in);
  if (!shares_rows(p)) {
    parallel_for(p.rows, grain_of(p), [&](int64_t begin, int64_t end) {
      tile.rows(in + begin * row_size, end - begin, p.length, out + begin * row_size);
    });
    return;
  }
  for (int64_t r = 0; r < p.rows; ++r) {
    const char* row = in + r * row_size;
    char* out_row = out + r * row_size;
    const RowSummary summary = shared_summary(tile, row, p.length, size_of(id.in));
    parallel_for(p.length, kThreadElements, [&](int64_t begin, int64_t end) {
      const int64_t offset = begin * size_of(id.in);
      tile.normalize(row + offset, end - begin, summary, out_row + offset);
    });
  }
}

void run_logsumexp(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const RowParams*>(params);
  const auto* in = static_cast<const char*>(operands[0]);
  auto* out = static_cast<char*>(operands[1]);
  if (id.in == Dtype::complex64) {
    parallel_for(p.rows, grain_of(p), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        reinterpret_cast<complex64_t*>(out)[r] =
            complex_logsumexp(reinterpret_cast<const complex64_t*>(in) + r * p.length, p.length);
      }
    });
    return;
  }
  const SoftmaxTile tile = softmax_tile(id.in);
  const int64_t item_size = size_of(id.in);
  if (!shares_rows(p)) {
    parallel_for(p.rows, grain_of(p), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const RowSummary summary = tile.summary(in + r * p.length * item_size, p.length);
        store_value(id.in, logsumexp_of(summary), out + r * item_size);
      }
    });
    return;
  }
  for (int64_t r = 0; r < p.rows; ++r) {
    const RowSummary summary =
        shared_summary(tile, in + r * p.length * item_size, p.length, item_size);
    store_value(id.in, logsumexp_of(summary), out + r * item_size);
  }
}

} // namespace

const Row softmax_row = {run_softmax};
const Row logsumexp_row = {run_logsumexp};

} // namespace narrows::cpu
