#include "narrows/backend/cpu/kernels/gated_delta_tiles.h"

#include "narrows/backend/cpu/kernels/product_loops.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Rows of the state lie in the lanes of vectors: what is done with a row is done down a column.
template <typename T, typename Stored>
struct GatedDelta {
  static constexpr int N = kLanes<T>;
  static constexpr int kVectors = kGatedDeltaRows / N;
  using V = Vector<T, N>;

  // Of scratch: the state as (key_size, rows), then a key and a query.
  static void update(const GatedDeltaOperands& o, int64_t rows) {
    const GatedDeltaParams& p = *o.params;
    T* state = static_cast<T*>(o.scratch);
    T* key = state + p.key_size * kGatedDeltaRows;
    T* query = key + p.key_size;
    load_state(o, rows, state);
    for (int64_t t = 0; t < p.length; ++t) {
      load_row(static_cast<const Stored*>(o.key) + t * p.key.time, p.key.column, p.key_size, key);
      load_row(
          static_cast<const Stored*>(o.query) + t * p.query.time,
          p.query.column,
          p.key_size,
          query);
      step(o, t, rows, key, query, state);
    }
    T* to = static_cast<T*>(o.result_state);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t d = 0; d < p.key_size; ++d) {
        to[i * p.key_size + d] = state[d * kGatedDeltaRows + i];
      }
    }
  }

 private:
  static void load_state(const GatedDeltaOperands& o, int64_t rows, T* state) {
    const GatedDeltaParams& p = *o.params;
    const T* from = static_cast<const T*>(o.state);
    for (int64_t d = 0; d < p.key_size; ++d) {
      for (int64_t i = 0; i < kGatedDeltaRows; ++i) {
        state[d * kGatedDeltaRows + i] =
            i < rows ? from[i * p.state.time + d * p.state.column] : T{0};
      }
    }
  }
  static void load_row(const Stored* from, int64_t stride, int64_t size, T* to) {
    for (int64_t d = 0; d < size; ++d) {
      to[d] = widen<T>(from[d * stride]);
    }
  }
  static void step(
      const GatedDeltaOperands& o,
      int64_t t,
      int64_t rows,
      const T* key,
      const T* query,
      T* state) {
    const GatedDeltaParams& p = *o.params;
    const V keep = splat<T, N>(static_cast<const T*>(o.decay)[t * p.decay.time]);
    const T rate = static_cast<const T*>(o.rate)[t * p.rate.time];
    const Stored* value = static_cast<const Stored*>(o.value) + t * p.value.time;
    T values[kGatedDeltaRows] = {};
    for (int64_t i = 0; i < rows; ++i) {
      values[i] = widen<T>(value[i * p.value.column]);
    }
    V known[kVectors] = {};
    for (int64_t d = 0; d < p.key_size; ++d) {
      for (int j = 0; j < kVectors; ++j) {
        T* numbers = state + d * kGatedDeltaRows + j * N;
        const V kept = load_as<V>(numbers) * keep;
        store_lanes<N>(numbers, kept);
        known[j] = multiply_add<T, N>(kept, splat<T, N>(key[d]), known[j]);
      }
    }
    V change[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      change[j] = (load_as<V>(values + j * N) - known[j]) * splat<T, N>(rate);
    }
    V sums[kVectors] = {};
    for (int64_t d = 0; d < p.key_size; ++d) {
      for (int j = 0; j < kVectors; ++j) {
        T* numbers = state + d * kGatedDeltaRows + j * N;
        const V changed = multiply_add<T, N>(change[j], splat<T, N>(key[d]), load_as<V>(numbers));
        store_lanes<N>(numbers, changed);
        sums[j] = multiply_add<T, N>(changed, splat<T, N>(query[d]), sums[j]);
      }
    }
    for (int j = 0; j < kVectors; ++j) {
      store_lanes<N>(values + j * N, sums[j]);
    }
    Stored* result = static_cast<Stored*>(o.result) + t * p.heads * p.value_size;
    for (int64_t i = 0; i < rows; ++i) {
      result[i] = narrow<Stored>(values[i]);
    }
  }
};

} // namespace

GatedDeltaTile gated_delta_tile(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return GatedDelta<float, Half>::update;
    case Dtype::bfloat16:
      return GatedDelta<float, Bfloat>::update;
    case Dtype::float64:
      return GatedDelta<double, double>::update;
    default:
      return GatedDelta<float, float>::update;
  }
}

} // namespace narrows::cpu::NARROWS_ISA
