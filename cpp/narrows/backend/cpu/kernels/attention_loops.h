// Attention in blocks. Queries lie in the lanes of vectors: everything that is done for each query
// is done down columns, and keys and values are read one number at a time, as they lie.
#pragma once

#include "narrows/backend/cpu/kernels/attention_tiles.h"
#include "narrows/backend/cpu/kernels/product_loops.h"
#include "narrows/backend/cpu/kernels/softmax_loops.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Takes memory of the scratch, piece by piece.
template <typename T>
struct ScratchPieces {
  T* next;

  T* take(int64_t size) {
    T* piece = next;
    next += (size + 15) / 16 * 16;
    return piece;
  }
};

// N: how many queries a vector holds.
template <typename T, typename Stored, int N>
class AttentionLoop {
  static constexpr bool kConverts = !std::is_same_v<T, Stored>;
  static constexpr T kHidden = NARROWS_HIDDEN_SCORE;
  static constexpr T kInfinity = static_cast<T>(__builtin_inff());
  using V = Vector<T, N>;

 public:
  AttentionLoop(const AttentionOperands& operands, const AttentionBlock& block, void* scratch)
      : operands_(operands),
        p_(*operands.params),
        block_(block),
        rows_(block.heads * block.queries),
        lanes_((rows_ + N - 1) / N * N),
        scratch_{static_cast<T*>(scratch)} {
    queries_ = scratch_.take(p_.size * lanes_);
    scores_ = scratch_.take(kAttentionKeys * lanes_);
    maximum_ = scratch_.take(lanes_);
    if (kConverts) {
      keys_ = scratch_.take(kAttentionKeys * p_.size);
      values_ = scratch_.take(kAttentionKeys * p_.value_size);
    }
    transpose_rows(operands_.query, p_.query, p_.size, p_.scale, queries_);
  }

  void forward(Stored* result, T* statistics) {
    T* sums = scratch_.take(lanes_);
    T* results = scratch_.take(p_.value_size * lanes_);
    begin(sums, results);
    const int64_t end = keys_end();
    for (int64_t first = 0; first < end; first += kAttentionKeys) {
      const int64_t count = end - first < kAttentionKeys ? end - first : kAttentionKeys;
      score(first, count);
      weigh(count, sums, results);
      const LeftFactor<T> values =
          rows_of(operands_.value, p_.value, p_.value_size, first, count, values_);
      small_product<T, N>(
          {values.data, values.column, values.row},
          p_.value_size,
          count,
          scores_,
          lanes_,
          lanes_ / N,
          results,
          lanes_,
          true);
    }
    finish(sums, results, result, statistics);
  }

  void backward(Stored* query_cotangent, T* key_sums, T* value_sums) {
    const int64_t row_size = attention_row_size(p_.size);
    const int64_t value_row_size = attention_row_size(p_.value_size);
    T* changes = scratch_.take(kAttentionKeys * lanes_);
    T* inverse = scratch_.take(lanes_);
    T* correction = scratch_.take(lanes_);
    T* sums = scratch_.take(p_.size * lanes_);
    T* cotangents = scratch_.take(p_.value_size * lanes_);
    T* query_rows = scratch_.take(rows_ * row_size);
    T* cotangent_rows = scratch_.take(rows_ * value_row_size);
    read_statistics(inverse, correction);
    transpose_rows(operands_.cotangent, p_.cotangent, p_.value_size, 1, cotangents);
    copy_rows(operands_.query, p_.query, p_.size, p_.scale, query_rows, row_size);
    copy_rows(operands_.cotangent, p_.cotangent, p_.value_size, 1, cotangent_rows, value_row_size);
    fill(sums, p_.size * lanes_, 0);
    const bool hides_all = hides_all_keys();
    const int64_t end = keys_end();
    for (int64_t first = 0; first < end; first += kAttentionKeys) {
      const int64_t count = end - first < kAttentionKeys ? end - first : kAttentionKeys;
      const LeftFactor<T> keys = score(first, count);
      const LeftFactor<T> values =
          rows_of(operands_.value, p_.value, p_.value_size, first, count, values_);
      small_product<T, N>(
          values, count, p_.value_size, cotangents, lanes_, lanes_ / N, changes, lanes_, false);
      change(count, inverse, correction, hides_all, changes);
      add_rows(scores_, count, cotangent_rows, value_row_size, value_sums + first * value_row_size);
      add_rows(changes, count, query_rows, row_size, key_sums + first * row_size);
      small_product<T, N>(
          {keys.data, keys.column, keys.row},
          p_.size,
          count,
          changes,
          lanes_,
          lanes_ / N,
          sums,
          lanes_,
          true);
    }
    write_rows(
        sums, p_.size, [&](int64_t) { return static_cast<T>(p_.scale); }, query_cotangent);
  }

 private:
  static void fill(T* to, int64_t size, T value) {
    for (int64_t i = 0; i < size; ++i) {
      to[i] = value;
    }
  }

  // Calls visit(row of the block, head, query).
  template <typename Visit>
  void each_row(Visit&& visit) const {
    int64_t row = 0;
    for (int64_t h = block_.first_head; h < block_.first_head + block_.heads; ++h) {
      for (int64_t t = block_.first; t < block_.first + block_.queries; ++t, ++row) {
        visit(row, h, t);
      }
    }
  }

  template <typename Element = Stored>
  static const Element* at(const void* base, const AttentionView& view, int64_t head, int64_t row) {
    return static_cast<const Element*>(base) + head * view.head + row * view.row;
  }

  // The block's rows of an operand as columns, times a factor.
  void transpose_rows(
      const void* from, const AttentionView& view, int64_t size, float factor, T* to) const {
    const T scale = factor;
    if (rows_ < lanes_) {
      fill(to, size * lanes_, 0);
    }
    each_row([&](int64_t row, int64_t h, int64_t t) {
      const Stored* x = at(from, view, h, t);
      for (int64_t d = 0; d < size; ++d) {
        to[d * lanes_ + row] = widen<T>(x[d * view.column]) * scale;
      }
    });
  }

  void copy_rows(
      const void* from,
      const AttentionView& view,
      int64_t size,
      float factor,
      T* to,
      int64_t row_size) const {
    const T scale = factor;
    each_row([&](int64_t row, int64_t h, int64_t t) {
      T* y = to + row * row_size;
      widen_row(at(from, view, h, t), view.column, size, y);
      for (int64_t d = 0; d < size; ++d) {
        y[d] *= scale;
      }
      fill(y + size, row_size - size, 0);
    });
  }

  static void widen_row(const Stored* from, int64_t stride, int64_t size, T* to) {
    if (stride == 1) {
      Softmax<T, Stored>::widen_all(from, size, to);
      return;
    }
    for (int64_t d = 0; d < size; ++d) {
      to[d] = widen<T>(from[d * stride]);
    }
  }

  // Rows of keys or values: as they lie, where that is how they are computed with.
  static LeftFactor<T> rows_of(
      const void* base,
      const AttentionView& view,
      int64_t size,
      int64_t first,
      int64_t count,
      T* converted) {
    const Stored* from = at(base, view, 0, first);
    if constexpr (!kConverts) {
      return {from, view.row, view.column};
    } else {
      for (int64_t j = 0; j < count; ++j) {
        widen_row(from + j * view.row, view.column, size, converted + j * size);
      }
      return {converted, size, 1};
    }
  }

  // How many keys query `t` sees at most under a causal mask.
  int64_t visible_keys(int64_t t) const {
    return t + 1 + p_.keys - p_.queries;
  }
  // Whether a causal mask hides all keys from a query: it weighs all alike.
  bool has_blind_query() const {
    return p_.mask_kind == AttentionMask::causal && visible_keys(block_.first) <= 0;
  }
  int64_t keys_end() const {
    return p_.mask_kind != AttentionMask::causal || has_blind_query()
               ? p_.keys
               : visible_keys(block_.first + block_.queries - 1);
  }

  // scores_[j * lanes_ + i]: of key first + j and row i. Returns the keys.
  LeftFactor<T> score(int64_t first, int64_t count) {
    const LeftFactor<T> keys = rows_of(operands_.key, p_.key, p_.size, first, count, keys_);
    small_product<T, N>(keys, count, p_.size, queries_, lanes_, lanes_ / N, scores_, lanes_, false);
    switch (p_.mask_kind) {
      case AttentionMask::none:
        break;
      case AttentionMask::causal:
        hide_later_keys(first, count);
        break;
      case AttentionMask::boolean:
        apply_mask<uint8_t>(
            first, count, [](T score, uint8_t sees) { return sees ? score : kHidden; });
        break;
      case AttentionMask::additive:
        apply_mask<Stored>(
            first, count, [](T score, Stored bias) { return score + widen<T>(bias); });
        break;
    }
    return keys;
  }

  void hide_later_keys(int64_t first, int64_t count) {
    if (first + count <= visible_keys(block_.first)) {
      return;
    }
    each_row([&](int64_t row, int64_t, int64_t t) {
      const int64_t visible = visible_keys(t) - first;
      for (int64_t j = visible > 0 ? visible : 0; j < count; ++j) {
        scores_[j * lanes_ + row] = kHidden;
      }
    });
  }

  template <typename Element, typename Apply>
  void apply_mask(int64_t first, int64_t count, Apply&& apply) {
    each_row([&](int64_t row, int64_t h, int64_t t) {
      const auto* mask = at<Element>(operands_.mask, p_.mask, h, t) + first * p_.mask.column;
      for (int64_t j = 0; j < count; ++j) {
        T& score = scores_[j * lanes_ + row];
        score = apply(score, mask[j * p_.mask.column]);
      }
    });
  }

  // Before the first key: a sink counts as one that has been seen, and whose value is zero.
  void begin(T* sums, T* results) {
    fill(results, p_.value_size * lanes_, 0);
    fill(maximum_, lanes_, -kInfinity);
    fill(sums, lanes_, 0);
    if (!p_.has_sinks) {
      return;
    }
    each_row([&](int64_t row, int64_t h, int64_t) {
      maximum_[row] = widen<T>(at(operands_.sinks, p_.sinks, h, 0)[0]);
      sums[row] = 1;
    });
  }

  static void exponentials(T* x, int64_t size) {
    for (int64_t i = 0; i < size; ++i) {
      x[i] = exponential(x[i]);
    }
  }

  // Turns scores into weights relative to the largest score so far, and what was summed before,
  // too.
  void weigh(int64_t count, T* sums, T* results) {
    T factors[kAttentionQueries + N];
    for (int64_t i = 0; i < lanes_; i += N) {
      V largest = load_as<V>(maximum_ + i);
      const V before = largest;
      for (int64_t j = 0; j < count; ++j) {
        const V score = load_as<V>(scores_ + j * lanes_ + i);
        largest = score > largest ? score : largest;
      }
      store_lanes<N>(maximum_ + i, largest);
      // Nothing but -inf so far: exp(-inf - -inf) would be NaN.
      const V shift = largest == -kInfinity ? V{} : largest;
      store_lanes<N>(factors + i, before - shift);
      for (int64_t j = 0; j < count; ++j) {
        T* score = scores_ + j * lanes_ + i;
        store_lanes<N>(score, load_as<V>(score) - shift);
      }
    }
    exponentials(factors, lanes_);
    exponentials(scores_, count * lanes_);
    bool changes = false;
    for (int64_t i = 0; i < lanes_; ++i) {
      changes |= factors[i] != 1;
    }
    for (int64_t i = 0; i < lanes_; i += N) {
      V sum = load_as<V>(sums + i) * load_as<V>(factors + i);
      for (int64_t j = 0; j < count; ++j) {
        sum += load_as<V>(scores_ + j * lanes_ + i);
      }
      store_lanes<N>(sums + i, sum);
    }
    for (int64_t d = 0; changes && d < p_.value_size; ++d) {
      T* row = results + d * lanes_;
      for (int64_t i = 0; i < lanes_; i += N) {
        store_lanes<N>(row + i, load_as<V>(row + i) * load_as<V>(factors + i));
      }
    }
  }

  void finish(T* sums, const T* results, Stored* result, T* statistics) {
    for (int64_t i = 0; i < rows_; ++i) {
      sums[i] = T{1} / sums[i];
    }
    each_row([&](int64_t row, int64_t h, int64_t t) {
      T* place = statistics + (h * p_.queries + t) * 2;
      place[0] = maximum_[row];
      place[1] = sums[row];
    });
    // Without keys there is nothing to weigh.
    write_rows(
        results, p_.value_size, [&](int64_t row) { return p_.keys > 0 ? sums[row] : 0; }, result);
  }

  // Columns as rows of a row-contiguous array, times a factor for each.
  template <typename Factor>
  void write_rows(const T* from, int64_t size, Factor&& factor_of, Stored* to) const {
    each_row([&](int64_t row, int64_t h, int64_t t) {
      Stored* y = to + (h * p_.queries + t) * size;
      const T factor = factor_of(row);
      for (int64_t d = 0; d < size; ++d) {
        y[d] = narrow<Stored>(from[d * lanes_ + row] * factor);
      }
    });
  }

  void read_statistics(T* inverse, T* correction) {
    fill(maximum_, lanes_, 0);
    fill(inverse, lanes_, 0);
    fill(correction, lanes_, 0);
    each_row([&](int64_t row, int64_t h, int64_t t) {
      const T* statistics = at<T>(operands_.statistics, p_.statistics, h, t);
      maximum_[row] = statistics[0];
      inverse[row] = statistics[p_.statistics.column];
      correction[row] = at<T>(operands_.correction, p_.correction, h, t)[0];
    });
  }

  // Whether no key is seen by a query of the block.
  bool hides_all_keys() const {
    if (p_.mask_kind != AttentionMask::causal && p_.mask_kind != AttentionMask::boolean) {
      return false;
    }
    bool found = false;
    for (int64_t i = 0; i < rows_; ++i) {
      found |= maximum_[i] == kHidden;
    }
    return found;
  }

  // Turns scores into weights, and the cotangents of weights into those of scores.
  void change(int64_t count, const T* inverse, const T* correction, bool hides_all, T* changes) {
    for (int64_t j = 0; j < count; ++j) {
      T* score = scores_ + j * lanes_;
      for (int64_t i = 0; i < lanes_; i += N) {
        store_lanes<N>(score + i, load_as<V>(score + i) - load_as<V>(maximum_ + i));
      }
    }
    exponentials(scores_, count * lanes_);
    for (int64_t j = 0; j < count; ++j) {
      T* weight = scores_ + j * lanes_;
      T* cotangent = changes + j * lanes_;
      for (int64_t i = 0; i < lanes_; i += N) {
        const V w = load_as<V>(weight + i) * load_as<V>(inverse + i);
        store_lanes<N>(weight + i, w);
        store_lanes<N>(cotangent + i, w * (load_as<V>(cotangent + i) - load_as<V>(correction + i)));
      }
    }
    // Scores that are hidden do not change with queries and keys.
    for (int64_t i = 0; hides_all && i < rows_; ++i) {
      for (int64_t j = 0; maximum_[i] == kHidden && j < count; ++j) {
        changes[j * lanes_ + i] = 0;
      }
    }
  }

  // sums += columns @ rows
  void add_rows(const T* columns, int64_t count, const T* rows, int64_t row_size, T* sums) {
    constexpr int kWide = kLanes<T>;
    small_product<T, kWide>(
        {columns, lanes_, 1}, count, rows_, rows, row_size, row_size / kWide, sums, row_size, true);
  }

  const AttentionOperands& operands_;
  const AttentionParams& p_;
  const AttentionBlock& block_;
  const int64_t rows_;
  const int64_t lanes_;
  ScratchPieces<T> scratch_;
  T* queries_;
  T* scores_;
  T* maximum_;
  T* keys_ = nullptr;
  T* values_ = nullptr;
};

template <typename T, typename Stored>
struct Attention {
  // Calls run() with a loop whose vectors are no longer than the block needs.
  template <typename Run>
  static void with_loop(
      const AttentionOperands& operands, const AttentionBlock& block, void* scratch, Run&& run) {
    if (kLanes < T >> 4 && block.heads * block.queries <= 4) {
      run(AttentionLoop<T, Stored, 4>(operands, block, scratch));
    } else {
      run(AttentionLoop<T, Stored, kLanes<T>>(operands, block, scratch));
    }
  }
  static void forward(
      const AttentionOperands& operands,
      const AttentionBlock& block,
      void* scratch,
      void* result,
      void* statistics) {
    with_loop(operands, block, scratch, [&](auto&& loop) {
      loop.forward(static_cast<Stored*>(result), static_cast<T*>(statistics));
    });
  }
  static void backward(
      const AttentionOperands& operands,
      const AttentionBlock& block,
      void* scratch,
      void* query_cotangent,
      void* key_sums,
      void* value_sums) {
    with_loop(operands, block, scratch, [&](auto&& loop) {
      loop.backward(
          static_cast<Stored*>(query_cotangent),
          static_cast<T*>(key_sums),
          static_cast<T*>(value_sums));
    });
  }
  static void store(const void* sums, int64_t rows, int64_t size, void* to) {
    for (int64_t j = 0; j < rows; ++j) {
      Softmax<T, Stored>::scale_all(
          static_cast<const T*>(sums) + j * attention_row_size(size),
          size,
          T{1},
          static_cast<Stored*>(to) + j * size);
    }
  }
  static constexpr AttentionTile tile() {
    return {forward, backward, store, sizeof(T)};
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
