// Attention in blocks. Queries lie in the lanes of vectors: everything that is done for each query
// is done down columns, and keys and values are read one number at a time, as they lie.
//
// What belongs to the queries of a block lies in panels: those of neighbouring queries, row by row,
// one panel after another. A panel of few vectors and what it is multiplied by fit into the first
// cache, however many queries a block has.
#pragma once

#include "narrows/backend/cpu/kernels/attention_tiles.h"
#include "narrows/backend/cpu/kernels/exponential_lanes.h"
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
  // Queries of a panel: vectors that a tile of a product has.
  static constexpr int64_t kPanel = int64_t{kTileVectors} * N;

  AttentionLoop(const AttentionOperands& operands, const AttentionBlock& block, void* scratch)
      : operands_(operands),
        p_(*operands.params),
        block_(block),
        rows_(block.heads * block.queries),
        lanes_((rows_ + N - 1) / N * N),
        scratch_{static_cast<T*>(scratch)} {
  }

  // What was found stays in `state`, if there is one, for merge().
  void forward(AttentionRange keys, T* state, Stored* result, T* statistics) {
    read_queries();
    const State found = state_in(state ? state : take_state());
    start(found, keys.begin == 0);
    const int64_t end = keys_end(keys);
    for (int64_t first = keys.begin; first < end; first += kAttentionKeys) {
      const int64_t count = end - first < kAttentionKeys ? end - first : kAttentionKeys;
      score(first, count);
      const LeftFactor<T> values =
          rows_of(operands_.value, p_.value, p_.value_size, first, count, values_);
      const int64_t left = end - first - count;
      const int64_t after = left < kAttentionKeys ? left : kAttentionKeys;
      each_panel([&](int64_t lane, int64_t width) {
        const int64_t seen = keys_seen(lane + width, first, count);
        prefetch(operands_.key, p_.key, p_.size, first + count, after, lane, width);
        if (seen > 0) {
          weigh_panel(lane, width, seen, found);
          small_product<T, N>(
              {values.data, values.column, values.row},
              p_.value_size,
              seen,
              scores_ + lane * kAttentionKeys,
              width,
              width / N,
              found.results + lane * p_.value_size,
              width,
              true);
        }
      });
    }
    if (!state) {
      finish(found, result, statistics);
    }
  }

  // Makes results of `count` states, which lie `distance` elements apart.
  void merge(T* states, int64_t distance, int64_t count, Stored* result, T* statistics) {
    const State found = state_in(states);
    for (int64_t i = 1; i < count; ++i) {
      const State other = state_in(states + i * distance);
      each_panel([&](int64_t lane, int64_t width) {
        for (int64_t at = 0; at < width; at += N) {
          merge_vector(found, other, lane, width, at);
        }
      });
    }
    finish(found, result, statistics);
  }

  // Of these keys, whose sums begin with the first of them. One panel has all queries.
  template <typename Element>
  void backward(AttentionRange keys, Element* query_cotangent, T* key_sums, T* value_sums) {
    panel_ = lanes_;
    const int64_t row_size = attention_row_size(p_.size);
    const int64_t value_row_size = attention_row_size(p_.value_size);
    read_queries();
    maximum_ = scratch_.take(lanes_);
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
    const int64_t end = keys_end(keys);
    for (int64_t first = keys.begin; first < end; first += kAttentionKeys) {
      const int64_t count = end - first < kAttentionKeys ? end - first : kAttentionKeys;
      const LeftFactor<T> seen = score(first, count);
      const LeftFactor<T> values =
          rows_of(operands_.value, p_.value, p_.value_size, first, count, values_);
      small_product<T, N>(
          values, count, p_.value_size, cotangents, lanes_, lanes_ / N, changes, lanes_, false);
      change(count, inverse, correction, hides_all, changes);
      const int64_t place = first - keys.begin;
      add_rows(scores_, count, cotangent_rows, value_row_size, value_sums + place * value_row_size);
      add_rows(changes, count, query_rows, row_size, key_sums + place * row_size);
      small_product<T, N>(
          {seen.data, seen.column, seen.row},
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
  // The largest score of each query so far, and the sums of weights relative to it.
  struct State {
    T* maximum;
    T* sums;
    T* results;
  };

  T* take_state() {
    return scratch_.take(attention_state_size(rows_, p_.value_size));
  }
  State state_in(T* memory) const {
    ScratchPieces<T> pieces{memory};
    T* maximum = pieces.take(lanes_);
    T* sums = pieces.take(lanes_);
    return {maximum, sums, pieces.take(p_.value_size * lanes_)};
  }

  void read_queries() {
    queries_ = scratch_.take(p_.size * lanes_);
    scores_ = scratch_.take(kAttentionKeys * lanes_);
    if (kConverts) {
      keys_ = scratch_.take(kAttentionKeys * p_.size);
      values_ = scratch_.take(kAttentionKeys * p_.value_size);
    }
    transpose_rows(operands_.query, p_.query, p_.size, p_.scale, queries_);
  }

  // Calls visit(first lane, lanes) for each panel.
  template <typename Visit>
  void each_panel(Visit&& visit) const {
    for (int64_t lane = 0; lane < lanes_; lane += panel_) {
      visit(lane, lanes_ - lane < panel_ ? lanes_ - lane : panel_);
    }
  }

  // What belongs to one query, in panels of as many rows as it has elements.
  struct Column {
    T* data;
    int64_t stride;
    T& operator[](int64_t i) const {
      return data[i * stride];
    }
  };
  Column column(T* base, int64_t rows, int64_t query) const {
    const int64_t lane = query / panel_ * panel_;
    const int64_t width = lanes_ - lane < panel_ ? lanes_ - lane : panel_;
    return {base + lane * rows + query - lane, width};
  }

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
      const Column y = column(to, size, row);
      for (int64_t d = 0; d < size; ++d) {
        y[d] = widen<T>(x[d * view.column]) * scale;
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

  // Fetches the lane's share of rows that are wanted next: other panels fetch the rest.
  void prefetch(
      const void* base,
      const AttentionView& view,
      int64_t size,
      int64_t first,
      int64_t count,
      int64_t lane,
      int64_t width) const {
    if (view.column != 1) {
      return;
    }
    constexpr int64_t kLine = 64;
    for (int64_t j = count * lane / lanes_; j < count * (lane + width) / lanes_; ++j) {
      const auto* row = reinterpret_cast<const char*>(at(base, view, 0, first + j));
      for (int64_t b = 0; b < size * static_cast<int64_t>(sizeof(Stored)); b += kLine) {
        __builtin_prefetch(row + b);
      }
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
  // The end of those of `keys` that some query sees.
  int64_t keys_end(AttentionRange keys) const {
    if (p_.mask_kind != AttentionMask::causal || has_blind_query()) {
      return keys.end;
    }
    const int64_t visible = visible_keys(block_.first + block_.queries - 1);
    return visible < keys.end ? visible : keys.end;
  }

  // Of `count` keys from `first` on, those that some query before lane `lanes` sees.
  int64_t keys_seen(int64_t lanes, int64_t first, int64_t count) const {
    if (p_.mask_kind != AttentionMask::causal || has_blind_query()) {
      return count;
    }
    const int64_t last = block_.heads == 1 && lanes < block_.queries ? lanes : block_.queries;
    const int64_t seen = visible_keys(block_.first + last - 1) - first;
    return seen < 0 ? 0 : seen < count ? seen : count;
  }

  // Row j of scores_: of key first + j. Returns the keys.
  LeftFactor<T> score(int64_t first, int64_t count) {
    const LeftFactor<T> keys = rows_of(operands_.key, p_.key, p_.size, first, count, keys_);
    each_panel([&](int64_t lane, int64_t width) {
      prefetch(operands_.value, p_.value, p_.value_size, first, count, lane, width);
      small_product<T, N>(
          keys,
          keys_seen(lane + width, first, count),
          p_.size,
          queries_ + lane * p_.size,
          width,
          width / N,
          scores_ + lane * kAttentionKeys,
          width,
          false);
    });
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
      const Column scores = column(scores_, kAttentionKeys, row);
      for (int64_t j = visible > 0 ? visible : 0; j < count; ++j) {
        scores[j] = kHidden;
      }
    });
  }

  template <typename Element, typename Apply>
  void apply_mask(int64_t first, int64_t count, Apply&& apply) {
    each_row([&](int64_t row, int64_t h, int64_t t) {
      const auto* mask = at<Element>(operands_.mask, p_.mask, h, t) + first * p_.mask.column;
      const Column scores = column(scores_, kAttentionKeys, row);
      for (int64_t j = 0; j < count; ++j) {
        scores[j] = apply(scores[j], mask[j * p_.mask.column]);
      }
    });
  }

  // Before the first key: a sink counts as one that has been seen, and whose value is zero.
  void start(const State& state, bool with_sinks) const {
    fill(state.results, p_.value_size * lanes_, 0);
    fill(state.maximum, lanes_, -kInfinity);
    fill(state.sums, lanes_, 0);
    if (!p_.has_sinks || !with_sinks) {
      return;
    }
    each_row([&](int64_t row, int64_t h, int64_t) {
      state.maximum[row] = widen<T>(at(operands_.sinks, p_.sinks, h, 0)[0]);
      state.sums[row] = 1;
    });
  }

  // What scores are relative to. Nothing but -inf so far: exp(-inf - -inf) would be NaN.
  static V shift_of(V largest) {
    return largest == -kInfinity ? V{} : largest;
  }

  static bool any_but_one(V factors) {
    bool found = false;
    for (int i = 0; i < N; ++i) {
      found |= factors[i] != 1;
    }
    return found;
  }

  void weigh_panel(int64_t lane, int64_t width, int64_t count, const State& state) {
    int64_t at = 0;
    for (; at + kPanel <= width; at += kPanel) {
      weigh<kTileVectors>(lane, width, at, count, state);
    }
    for (; at < width; at += N) {
      weigh<1>(lane, width, at, count, state);
    }
  }

  // Turns scores of M vectors of a panel into weights relative to the largest score so far, and
  // what was summed before, too.
  template <int M>
  void weigh(int64_t lane, int64_t width, int64_t at, int64_t count, const State& state) {
    T* scores = scores_ + lane * kAttentionKeys + at;
    V shift[M];
    V sum[M];
    for (int m = 0; m < M; ++m) {
      shift[m] = load_as<V>(state.maximum + lane + at + m * N);
    }
    for (int64_t j = 0; j < count; ++j) {
      for (int m = 0; m < M; ++m) {
        const V score = load_as<V>(scores + j * width + m * N);
        shift[m] = score > shift[m] ? score : shift[m];
      }
    }
    for (int m = 0; m < M; ++m) {
      const int64_t place = lane + at + m * N;
      const V before = load_as<V>(state.maximum + place);
      store_lanes<N>(state.maximum + place, shift[m]);
      shift[m] = shift_of(shift[m]);
      const V factor = exponential_lanes<T, N>(before - shift[m]);
      sum[m] = load_as<V>(state.sums + place) * factor;
      if (any_but_one(factor)) {
        T* results = state.results + lane * p_.value_size + at + m * N;
        for (int64_t d = 0; d < p_.value_size; ++d) {
          store_lanes<N>(results + d * width, load_as<V>(results + d * width) * factor);
        }
      }
    }
    for (int64_t j = 0; j < count; ++j) {
      for (int m = 0; m < M; ++m) {
        T* score = scores + j * width + m * N;
        const V weight = exponential_lanes<T, N>(load_as<V>(score) - shift[m]);
        store_lanes<N>(score, weight);
        sum[m] += weight;
      }
    }
    for (int m = 0; m < M; ++m) {
      store_lanes<N>(state.sums + lane + at + m * N, sum[m]);
    }
  }

  // Adds what another part of the keys gave a vector of queries.
  void merge_vector(
      const State& to, const State& other, int64_t lane, int64_t width, int64_t at) const {
    T* maximum = to.maximum + lane + at;
    const V before = load_as<V>(maximum);
    const V added = load_as<V>(other.maximum + lane + at);
    const V largest = added > before ? added : before;
    store_lanes<N>(maximum, largest);
    const V factor = exponential_lanes<T, N>(before - shift_of(largest));
    const V other_factor = exponential_lanes<T, N>(added - shift_of(largest));
    const auto add = [&](T* sum, const T* more) {
      store_lanes<N>(sum, load_as<V>(sum) * factor + load_as<V>(more) * other_factor);
    };
    add(to.sums + lane + at, other.sums + lane + at);
    const int64_t results = lane * p_.value_size + at;
    for (int64_t d = 0; d < p_.value_size; ++d) {
      add(to.results + results + d * width, other.results + results + d * width);
    }
  }

  void finish(const State& state, Stored* result, T* statistics) const {
    for (int64_t i = 0; i < rows_; ++i) {
      state.sums[i] = T{1} / state.sums[i];
    }
    each_row([&](int64_t row, int64_t h, int64_t t) {
      T* place = statistics + (h * p_.queries + t) * 2;
      place[0] = state.maximum[row];
      place[1] = state.sums[row];
    });
    // Without keys there is nothing to weigh.
    write_rows(
        state.results,
        p_.value_size,
        [&](int64_t row) { return p_.keys > 0 ? state.sums[row] : 0; },
        result);
  }

  // Columns as rows of a row-contiguous array, times a factor for each.
  template <typename Factor, typename Element>
  void write_rows(T* from, int64_t size, Factor&& factor_of, Element* to) const {
    each_row([&](int64_t row, int64_t h, int64_t t) {
      Element* y = to + (h * p_.queries + t) * size;
      const T factor = factor_of(row);
      const Column x = column(from, size, row);
      for (int64_t d = 0; d < size; ++d) {
        y[d] = narrow<Element>(x[d] * factor);
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
      T* weight = scores_ + j * lanes_;
      T* cotangent = changes + j * lanes_;
      for (int64_t i = 0; i < lanes_; i += N) {
        const V relative = load_as<V>(weight + i) - load_as<V>(maximum_ + i);
        const V w = exponential_lanes<T, N>(relative) * load_as<V>(inverse + i);
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
  int64_t panel_ = kPanel;
  ScratchPieces<T> scratch_;
  T* queries_ = nullptr;
  T* scores_ = nullptr;
  T* maximum_ = nullptr; // of the gradient
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
      AttentionRange keys,
      void* scratch,
      void* state,
      void* result,
      void* statistics) {
    with_loop(operands, block, scratch, [&](auto&& loop) {
      loop.forward(
          keys, static_cast<T*>(state), static_cast<Stored*>(result), static_cast<T*>(statistics));
    });
  }
  static void merge(
      const AttentionOperands& operands,
      const AttentionBlock& block,
      void* states,
      int64_t distance,
      int64_t count,
      void* result,
      void* statistics) {
    with_loop(operands, block, nullptr, [&](auto&& loop) {
      loop.merge(
          static_cast<T*>(states),
          distance,
          count,
          static_cast<Stored*>(result),
          static_cast<T*>(statistics));
    });
  }
  static void backward(
      const AttentionOperands& operands,
      const AttentionBlock& block,
      AttentionRange keys,
      void* scratch,
      void* query_cotangent,
      void* query_part,
      void* key_sums,
      void* value_sums) {
    with_loop(operands, block, scratch, [&](auto&& loop) {
      auto* keys_to = static_cast<T*>(key_sums);
      auto* values_to = static_cast<T*>(value_sums);
      if (query_part) {
        loop.backward(keys, static_cast<T*>(query_part), keys_to, values_to);
      } else {
        loop.backward(keys, static_cast<Stored*>(query_cotangent), keys_to, values_to);
      }
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
  static void add_parts(const void* parts, int64_t distance, int64_t count, int64_t n, void* to) {
    for (int64_t i = 0; i < n; ++i) {
      const T* part = static_cast<const T*>(parts) + i;
      T sum = *part;
      for (int64_t k = 1; k < count; ++k) {
        sum += part[k * distance];
      }
      static_cast<Stored*>(to)[i] = narrow<Stored>(sum);
    }
  }
  static constexpr AttentionTile tile() {
    return {forward, merge, backward, store, add_parts, sizeof(T)};
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
