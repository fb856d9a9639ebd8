#include "narrows/backend/cpu/program.h"

#include <atomic>
#include <memory>

#include "narrows/backend/cpu/program_tile.h"
#include "narrows/backend/cpu/reduce_split.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// Elements of a tile: its registers fit into the first caches, and what a step costs beside its
// elements does not show.
constexpr int64_t kTile = 2048;
// Of a tile of a long row: what reductions add up at once.
constexpr int64_t kRangeTile = 8192;
// Elements, times instructions, that are worth a thread.
constexpr int64_t kGrain = 32768;

// Memory for the tiles of all threads, kept by the thread that runs programs.
class Scratch {
 public:
  Scratch(int64_t bytes, int threads) : bytes_(bytes) {
    const auto size = static_cast<size_t>(bytes * threads + kAlignment);
    if (memory().size() < size) {
      memory().resize(size);
    }
    const auto address = reinterpret_cast<uintptr_t>(memory().data());
    first_ = memory().data() + (kAlignment - address % kAlignment) % kAlignment;
  }
  ~Scratch() {
    if (memory().size() > kMostKept) {
      memory() = {};
    }
  }

  // Another part at each call, `threads` times.
  std::byte* next() {
    return first_ + bytes_ * taken_++;
  }

 private:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kMostKept = size_t{16} << 20;
  static std::vector<std::byte>& memory() {
    static thread_local std::vector<std::byte> kept;
    return kept;
  }

  const int64_t bytes_;
  std::byte* first_;
  std::atomic<int> taken_{0};
};

std::vector<bool> once_operands(const ProgramCall& call, const ProgramSpace& space) {
  std::vector<bool> once(call.program.operands.size());
  for (size_t i = 0; i < once.size(); ++i) {
    once[i] = space.is_once(i);
  }
  return once;
}

// Runs f(tile, first row) on every box; a tile knows its box.
void run_boxes(
    PreparedProgram& prepared,
    int64_t tile_elements,
    int64_t grain,
    const std::vector<ProgramTile::Partial>* partials) {
  const ProgramSpace& space = prepared.space;
  const int64_t bytes = prepared.code.lay_out(space.box_rows, tile_elements);
  Scratch scratch(bytes, thread_count());
  parallel_for(space.box_count, grain, [&](int64_t begin, int64_t end) {
    ProgramTile tile(prepared, scratch.next());
    tile.begin(space.box_rows, tile_elements);
    int64_t index[ProgramSpace::kMostDims] = {};
    int64_t rest = begin;
    for (int d = space.row_ndim - 1; d >= 0; --d) {
      index[d] = rest % space.boxes[d];
      rest /= space.boxes[d];
    }
    for (int64_t box = begin; box < end; ++box) {
      if (partials) {
        int64_t row = 0;
        for (int d = 0; d < space.row_ndim; ++d) {
          row = row * space.shape[d] + index[d] * space.box[d];
        }
        tile.take_partials(partials, row);
      }
      tile.enter_box(index);
      tile.run_box();
      for (int d = space.row_ndim - 1; d >= 0 && ++index[d] == space.boxes[d]; --d) {
        index[d] = 0;
      }
    }
  });
}

// Rows that do not fit into a cache: first all reductions, in pieces; then what follows of them.
void run_long_rows(PreparedProgram& prepared) {
  const ProgramSpace& space = prepared.space;
  const int64_t length = space.length;
  const int64_t pieces = prepared.pieces;
  std::vector<const Code::Step*> reductions;
  for (const Code::Step& step : prepared.code.steps) {
    if (step.kind == Code::Step::Kind::reduce) {
      reductions.push_back(&step);
    }
  }
  std::vector<std::unique_ptr<std::byte[]>> accumulators;
  std::vector<ProgramTile::Partial> partials;
  for (const Code::Step* step : reductions) {
    const int64_t bytes = space.rows * pieces * step->reduce.accumulator_size;
    accumulators.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
    partials.push_back({accumulators.back().get(), &step->reduce});
  }
  const int64_t bytes = prepared.code.lay_out(0, kRangeTile);
  Scratch scratch(bytes, thread_count());
  parallel_for(space.rows * pieces, 1, [&](int64_t first, int64_t last) {
    ProgramTile tile(prepared, scratch.next());
    tile.begin(0, kRangeTile);
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t row = unit / pieces;
      const int64_t end = piece_begin(length, unit % pieces + 1, pieces);
      const auto accumulator = [&](size_t i) {
        return accumulators[i].get() + unit * reductions[i]->reduce.accumulator_size;
      };
      for (size_t i = 0; i < reductions.size(); ++i) {
        reductions[i]->reduce.begin(accumulator(i), 1);
      }
      for (int64_t at = piece_begin(length, unit % pieces, pieces); at < end; at += kRangeTile) {
        const int64_t count = std::min(kRangeTile, end - at);
        tile.enter_range(row * length + at, row * length + at + count);
        tile.run_whole_steps();
        for (size_t i = 0; i < reductions.size(); ++i) {
          const void* from = tile.value(reductions[i]->in[0]);
          reductions[i]->reduce.add(from, 1, count, count, 1, accumulator(i));
        }
      }
    }
  });
  run_boxes(prepared, 0, kGrain, &partials);
}

} // namespace

void run_program(const ProgramCall& call) {
  ProgramSpace space(call);
  const bool long_rows = space.length > kLongestRow;
  if (long_rows) {
    // Tiles of values of rows: nothing is the same in all of these but what is so everywhere.
    space.choose_boxes(kTile * space.length);
  } else {
    space.choose_boxes(kTile);
  }
  std::vector<bool> once = once_operands(call, space);
  if (long_rows) {
    for (size_t i = 0; i < once.size(); ++i) {
      const auto& strides = space.strides[i];
      once[i] = std::all_of(strides.begin(), strides.end(), [](int64_t n) { return n == 0; });
    }
  }
  PreparedProgram prepared{call, std::move(space), make_code(call.program, once)};
  prepared.pieces = reduce_pieces(prepared.space.rows, prepared.space.length);
  if (long_rows) {
    run_long_rows(prepared);
    return;
  }
  const int64_t elements = prepared.space.box_rows * prepared.space.length;
  const auto steps = static_cast<int64_t>(prepared.code.steps.size());
  run_boxes(prepared, elements, std::max<int64_t>(1, kGrain / (elements * steps)), nullptr);
}

} // namespace narrows::cpu
