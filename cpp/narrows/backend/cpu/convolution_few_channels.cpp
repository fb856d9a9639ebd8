#include <array>

#include "narrows/backend/cpu/convolution_tiles.h"

namespace narrows::cpu::tiles {
namespace {

constexpr int64_t kManyGroups = 8;
constexpr int64_t kFewChannels = 4;

// out[g] += a[g * step] * b[g] for all groups.
template <typename T>
void add_products(const T* a, int64_t step, const T* b, T* out, int64_t groups) {
  if (step == 1) {
    for (int64_t g = 0; g < groups; ++g) {
      out[g] += a[g] * b[g];
    }
  } else {
    for (int64_t g = 0; g < groups; ++g) {
      out[g] += a[g * step] * b[g];
    }
  }
}

// Rows of what filters see, with all channels side by side. T is the type that is computed in.
// Weights and sums have the groups innermost: [tap][channel of the source][channel of the
// sums][group].
template <typename T>
class FewChannels {
 public:
  FewChannels(const ConvolutionCall& call, void* scratch)
      : s_(call),
        backward_(call.op == ConvolutionOp::input_gradient),
        rules_(call.params, !backward_),
        groups_(s_.p.groups),
        source_group_(backward_ ? s_.y_group : s_.x_group),
        out_group_(backward_ ? s_.x_group : s_.y_group),
        out_channels_(groups_ * out_group_),
        threads_(thread_count()),
        scratch_(scratch) {
  }

  int64_t scratch_bytes() const {
    int64_t most = 0;
    for (int64_t i = 0; i < rules_.classes(); ++i) {
      ScratchPieces memory(nullptr);
      take_all(rows_of(i), threads_, memory);
      most = std::max(most, memory.used());
    }
    return most;
  }

  // Into places: out = sums of what filters see times weights.
  void sum_places(const std::byte* source, const std::byte* weights, std::byte* out) const {
    if (!rules_.reach_all()) {
      s_.clear_places(backward_ ? s_.p.x_size : s_.p.y_size, out_channels_, out);
    }
    for (int64_t i = 0; i < rules_.classes(); ++i) {
      const PlaceRows rows = rows_of(i);
      ScratchPieces memory(scratch_);
      const All all = take_all(rows, threads_, memory);
      move_weights(rows, [&](int64_t weight, int64_t packed) {
        T* to = all.packed + packed;
        s_.widen(weights + weight * s_.item, reinterpret_cast<std::byte*>(to), 1);
      });
      each_row(rows, all, source, [&](int64_t, const Part& part, int64_t place, const T* seen) {
        std::fill_n(part.sums, out_channels_, T{});
        multiply_places(rows.taps(), seen, all.packed, part.sums);
        store_row(part, out + place * out_channels_ * s_.item);
      });
    }
  }

  // Into weights: out = sums over all places of what filters see times y.
  void sum_weights(const std::byte* x, const std::byte* y, std::byte* out) const {
    std::memset(out, 0, static_cast<size_t>(s_.p.y_channels * s_.filter * s_.x_group * s_.item));
    for (int64_t i = 0; i < rules_.classes(); ++i) {
      const PlaceRows rows = rows_of(i);
      ScratchPieces memory(scratch_);
      const All all = take_all(rows, threads_, memory);
      const int64_t size = packed_size(rows);
      std::fill_n(all.packed, size * threads_, T{});
      each_row(rows, all, x, [&](int64_t index, const Part& part, int64_t place, const T* seen) {
        load_row(part, y + place * out_channels_ * s_.item);
        multiply_weights(rows.taps(), seen, part.sums, all.packed + index * size);
      });
      for (int64_t part = 1; part < threads_; ++part) { // always in the same order
        for (int64_t k = 0; k < size; ++k) {
          all.packed[k] += all.packed[part * size + k];
        }
      }
      move_weights(rows, [&](int64_t weight, int64_t packed) {
        const T* from = all.packed + packed;
        s_.store(reinterpret_cast<const std::byte*>(from), out + weight * s_.item, 1);
      });
    }
  }

 private:
  // The scratch of one thread.
  struct Part {
    std::byte* narrow; // rows as they are stored, if that is not the type T
    T* seen;
    T* sums; // a row of out, or of y: [channel][group]
    T* row;  // the same in the stored type: [group][channel]
  };
  struct All {
    T* packed; // the weights, or each thread's sums of them
    std::byte* parts;
    int64_t part_bytes;
  };

  PlaceRows rows_of(int64_t index) const {
    return PlaceRows(
        rules_.place_classes(index), s_.p.batch, groups_ * source_group_, /*groups=*/1, s_.item);
  }
  int64_t packed_size(const PlaceRows& rows) const {
    return rows.columns() * out_group_;
  }
  int64_t tile_rows(const PlaceRows& rows) const {
    return std::clamp<int64_t>(kTileElements / std::max<int64_t>(1, rows.columns()), 1, kLeastRows);
  }
  Part take_part(const PlaceRows& rows, ScratchPieces& memory) const {
    const int64_t elements = tile_rows(rows) * rows.columns();
    const auto take = [&](int64_t count) {
      return reinterpret_cast<T*>(memory.take(count * s_.wide_item));
    };
    std::byte* narrow = s_.is_narrow() ? memory.take(elements * s_.item) : nullptr;
    T* seen = take(elements);
    T* sums = take(out_channels_);
    return {narrow, seen, sums, take(out_channels_)};
  }
  All take_all(const PlaceRows& rows, int64_t parts, ScratchPieces& memory) const {
    const int64_t copies = s_.op == ConvolutionOp::weight_gradient ? parts : 1;
    auto* packed = reinterpret_cast<T*>(memory.take(copies * packed_size(rows) * s_.wide_item));
    ScratchPieces counted(nullptr);
    take_part(rows, counted);
    return {packed, memory.take(parts * counted.used()), counted.used()};
  }

  // Calls f(index of the part, part, place, what its filter sees) for all rows, on several threads.
  template <typename F>
  void each_row(const PlaceRows& rows, const All& all, const std::byte* source, F&& f) const {
    const int64_t height = tile_rows(rows);
    const int64_t columns = rows.columns();
    const int64_t* place_size = backward_ ? s_.p.x_size : s_.p.y_size;
    const int64_t tasks = divided_up(rows.rows(), height);
    run_tasks(tasks, std::min<int64_t>(threads_, tasks), [&](int64_t task, int64_t index) {
      ScratchPieces own(all.parts + index * all.part_bytes);
      const Part part = take_part(rows, own);
      const int64_t first = task * height;
      const int64_t end = std::min(first + height, rows.rows());
      auto* seen = reinterpret_cast<std::byte*>(part.seen);
      if (columns > 0) {
        rows.gather(source, 0, first, end, 0, columns, part.narrow ? part.narrow : seen);
      }
      if (part.narrow) {
        s_.widen(part.narrow, seen, (end - first) * columns);
      }
      for (int64_t row = first; row < end; ++row) {
        f(index, part, rows.place(row, place_size), part.seen + (row - first) * columns);
      }
    });
  }

  // Calls f(place in the weights, place among the packed weights) for each weight of the taps.
  template <typename F>
  void move_weights(const PlaceRows& rows, F&& f) const {
    for (int64_t tap = 0; tap < rows.taps(); ++tap) {
      const int64_t element = rows.filter_element(tap, s_.p.w_size);
      for (int64_t c = 0; c < source_group_; ++c) {
        for (int64_t j = 0; j < out_group_; ++j) {
          for (int64_t g = 0; g < groups_; ++g) {
            const int64_t of_y = g * s_.y_group + (backward_ ? c : j);
            const int64_t of_x = backward_ ? j : c;
            const int64_t packed = ((tap * source_group_ + c) * out_group_ + j) * groups_ + g;
            f((of_y * s_.filter + element) * s_.x_group + of_x, packed);
          }
        }
      }
    }
  }

  void multiply_places(int64_t taps, const T* seen, const T* packed, T* sums) const {
    for (int64_t tap = 0; tap < taps; ++tap, seen += groups_ * source_group_) {
      for (int64_t c = 0; c < source_group_; ++c) {
        for (int64_t j = 0; j < out_group_; ++j, packed += groups_) {
          add_products(seen + c, source_group_, packed, sums + j * groups_, groups_);
        }
      }
    }
  }
  void multiply_weights(int64_t taps, const T* seen, const T* y_row, T* packed) const {
    for (int64_t tap = 0; tap < taps; ++tap, seen += groups_ * source_group_) {
      for (int64_t c = 0; c < source_group_; ++c) {
        for (int64_t j = 0; j < out_group_; ++j, packed += groups_) {
          add_products(seen + c, source_group_, y_row + j * groups_, packed, groups_);
        }
      }
    }
  }

  // Moves the groups of a row of channels from innermost to outermost, and back.
  void store_row(const Part& part, std::byte* to) const {
    for (int64_t j = 0; j < out_group_; ++j) {
      for (int64_t g = 0; g < groups_; ++g) {
        part.row[g * out_group_ + j] = part.sums[j * groups_ + g];
      }
    }
    s_.store(reinterpret_cast<const std::byte*>(part.row), to, out_channels_);
  }
  void load_row(const Part& part, const std::byte* from) const {
    s_.widen(from, reinterpret_cast<std::byte*>(part.row), out_channels_);
    for (int64_t j = 0; j < out_group_; ++j) {
      for (int64_t g = 0; g < groups_; ++g) {
        part.sums[j * groups_ + g] = part.row[g * out_group_ + j];
      }
    }
  }

  Setting s_;
  bool backward_;
  PlaceRules rules_;
  int64_t groups_;
  int64_t source_group_; // channels of a group
  int64_t out_group_;
  int64_t out_channels_;
  int64_t threads_;
  void* scratch_;
};

} // namespace

bool has_few_channels(const ConvolutionCall& call) {
  const ConvolutionParams& p = call.params;
  return p.groups >= kManyGroups && p.x_channels / p.groups <= kFewChannels &&
         p.y_channels / p.groups <= kFewChannels;
}

int64_t few_channels_scratch(const ConvolutionCall& call) {
  return call.dtype == Dtype::float64 ? FewChannels<double>(call, nullptr).scratch_bytes()
                                      : FewChannels<float>(call, nullptr).scratch_bytes();
}

void few_channels(
    const ConvolutionCall& call,
    const std::byte* a,
    const std::byte* b,
    std::byte* out,
    void* scratch) {
  const auto run = [&](const auto& channels) {
    call.op == ConvolutionOp::weight_gradient ? channels.sum_weights(a, b, out)
                                              : channels.sum_places(a, b, out);
  };
  call.dtype == Dtype::float64 ? run(FewChannels<double>(call, scratch))
                               : run(FewChannels<float>(call, scratch));
}

} // namespace narrows::cpu::tiles
