#include "narrows/backend/cpu/program.h"

#include <algorithm>
#include <memory>

#include "narrows/backend/cpu/program_tile.h"
#include "narrows/backend/cpu/reduce_split.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// Elements of a tile. The registers of such a tile fit into the first-level caches, and the
// overhead of a step is small compared with its elements.
constexpr int64_t kTile = 2048;
// Elements that reductions add up at once, of a tile of a long row.
constexpr int64_t kRangeTile = 8192;
// The least number of elements times instructions for a thread.
constexpr int64_t kGrain = 32768;

// The memory that each thread keeps for running programs: the values of a tile, and the partial
// results of reductions of long rows. Pages that no program touches take no memory.
struct ThreadMemory {
  static constexpr int64_t kTileBytes =
      kProgramLimits.row_bytes + (int64_t{256} << 10); // and values of rows
  static constexpr int64_t kAccumulatorBytes = int64_t{256} << 10;

  alignas(64) std::byte tile[kTileBytes];
  alignas(64) std::byte accumulators[kAccumulatorBytes];
};

ThreadMemory& thread_memory() {
  static thread_local const std::unique_ptr<ThreadMemory> memory(new ThreadMemory);
  return *memory;
}

std::vector<bool> once_operands(const ProgramCall& call, const ProgramSpace& space) {
  std::vector<bool> once(call.program.operands.size());
  for (size_t i = 0; i < once.size(); ++i) {
    once[i] = space.is_once(i);
  }
  return once;
}

// How many rows' accumulators fit into a thread's memory.
int64_t most_rows(const Program& program, int64_t pieces) {
  const auto reductions = std::count_if(
      program.instructions.begin(), program.instructions.end(), [](const auto& instruction) {
        return instruction.action == Program::Action::reduce;
      });
  return ThreadMemory::kAccumulatorBytes /
         (std::max<int64_t>(1, reductions) * pieces * kMaxAccumulatorSize);
}

// For tiles of about so many elements, or of so many rows if rows are long.
PreparedProgram prepare(const ProgramCall& call, int64_t tile) {
  ProgramSpace space(call);
  const bool long_rows = space.length > kLongestRow;
  const int64_t pieces = reduce_pieces(space.rows, space.length);
  if (long_rows) {
    // For tiles of values of rows. Only values that are the same everywhere are the same in all of
    // these tiles.
    space.choose_boxes(std::min(tile, most_rows(call.program, pieces)) * space.length);
  } else {
    space.choose_boxes(tile);
  }
  std::vector<bool> once = once_operands(call, space);
  if (long_rows) {
    for (size_t i = 0; i < once.size(); ++i) {
      const auto& strides = space.strides[i];
      once[i] = std::all_of(strides.begin(), strides.end(), [](int64_t n) { return n == 0; });
    }
  }
  return {call, std::move(space), make_code(call.program, once), pieces};
}

int64_t elements_of_box(const ProgramSpace& space) {
  return space.length > kLongestRow ? 0 : space.box_rows * space.length;
}

// Lays registers out for boxes. Programs of very many values get smaller tiles.
PreparedProgram prepare(const ProgramCall& call) {
  for (int64_t tile = kTile;; tile /= 2) {
    PreparedProgram prepared = prepare(call, tile);
    const ProgramSpace& space = prepared.space;
    const int64_t bytes = prepared.code.lay_out(space.box_rows, elements_of_box(space));
    if (bytes <= ThreadMemory::kTileBytes) {
      return prepared;
    }
    if (tile == 1) {
      fail<std::runtime_error>(
          "[fused] a row of the program takes ",
          bytes,
          " bytes, expected at most ",
          ThreadMemory::kTileBytes,
          ".");
    }
  }
}

// Decides which outputs their steps may write in place. If an output lies in the memory of an
// operand, it has to wait in its register until that operand was read for the last time.
void choose_direct_outputs(PreparedProgram& prepared) {
  Code& code = prepared.code;
  for (size_t i = 0; i < code.outputs.size(); ++i) {
    Code::Slot& slot = code.slots[code.outputs[i]];
    const Buffer* buffer = prepared.call.operands[prepared.operand_of_output(i)].buffer;
    bool direct = !slot.once && slot.output == Code::kNoOutput;
    for (size_t k = 0; k < prepared.call.program.operands.size(); ++k) {
      const bool lies_there = prepared.call.operands[k].buffer == buffer;
      direct &= !lies_there || code.slots[k].last_read <= slot.made_at;
    }
    if (direct) {
      slot.output = static_cast<uint16_t>(i);
    }
  }
}

// Boxes of neighbouring rows, and partial results of their reductions if the rows are long.
struct Boxes {
  int64_t first;
  int64_t last;
  const std::vector<ProgramTile::Partial>* partials = nullptr;
};

void index_of(const ProgramSpace& space, int64_t box, int64_t* index) {
  for (int d = space.row_ndim - 1; d >= 0; --d) {
    index[d] = box % space.boxes[d];
    box /= space.boxes[d];
  }
}

int64_t first_row(const ProgramSpace& space, const int64_t* index) {
  int64_t row = 0;
  for (int d = 0; d < space.row_ndim; ++d) {
    row = row * space.shape[d] + index[d] * space.box[d];
  }
  return row;
}

int64_t first_row(const ProgramSpace& space, int64_t box) {
  if (box >= space.box_count) {
    return space.rows;
  }
  int64_t index[ProgramSpace::kMostDims] = {};
  index_of(space, box, index);
  return first_row(space, index);
}

void run_boxes(const PreparedProgram& prepared, const Boxes& boxes, int64_t grain) {
  const ProgramSpace& space = prepared.space;
  const int64_t elements = elements_of_box(space);
  const int64_t row = boxes.partials ? first_row(space, boxes.first) : 0;
  parallel_for(boxes.last - boxes.first, grain, [&](int64_t begin, int64_t end) {
    ProgramTile tile(prepared, thread_memory().tile);
    tile.begin(space.box_rows, elements);
    int64_t index[ProgramSpace::kMostDims] = {};
    index_of(space, boxes.first + begin, index);
    for (int64_t box = begin; box < end; ++box) {
      if (boxes.partials) {
        tile.take_partials(boxes.partials, first_row(space, index) - row);
      }
      tile.enter_box(index);
      tile.run_box();
      for (int d = space.row_ndim - 1; d >= 0 && ++index[d] == space.boxes[d]; --d) {
        index[d] = 0;
      }
    }
  });
}

// Adds up rows [first, last) in pieces.
void reduce_long_rows(
    PreparedProgram& prepared,
    const std::vector<const Code::Step*>& reductions,
    const std::vector<std::byte*>& accumulators,
    int64_t first,
    int64_t last) {
  const int64_t length = prepared.space.length;
  const int64_t pieces = prepared.pieces;
  prepared.code.lay_out(0, kRangeTile);
  parallel_for((last - first) * pieces, 1, [&](int64_t begin, int64_t end) {
    ProgramTile tile(prepared, thread_memory().tile);
    tile.begin(0, kRangeTile);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t row = first + unit / pieces;
      const int64_t piece_end = piece_begin(length, unit % pieces + 1, pieces);
      const auto accumulator = [&](size_t i) {
        return accumulators[i] + unit * reductions[i]->reduce.accumulator_size;
      };
      for (size_t i = 0; i < reductions.size(); ++i) {
        reductions[i]->reduce.begin(accumulator(i), 1);
      }
      for (int64_t at = piece_begin(length, unit % pieces, pieces); at < piece_end;
           at += kRangeTile) {
        const int64_t count = std::min(kRangeTile, piece_end - at);
        tile.enter_range(row * length + at, row * length + at + count);
        tile.run_range([&](size_t i, const void* values) {
          reductions[i]->reduce.add(values, 1, count, count, 1, accumulator(i));
        });
      }
    }
  });
}

// For rows that do not fit into a cache: first all reductions of some rows, then the instructions
// that follow.
void run_long_rows(PreparedProgram& prepared) {
  const ProgramSpace& space = prepared.space;
  const int64_t rows_at_once = most_rows(prepared.call.program, prepared.pieces);
  std::vector<const Code::Step*> reductions;
  std::vector<std::byte*> accumulators;
  std::vector<ProgramTile::Partial> partials;
  std::byte* memory = thread_memory().accumulators;
  for (const Code::Step& step : prepared.code.steps) {
    if (step.kind == Code::Step::Kind::reduce) {
      reductions.push_back(&step);
      accumulators.push_back(memory);
      partials.push_back({memory, &step.reduce});
      memory += rows_at_once * prepared.pieces * kMaxAccumulatorSize;
    }
  }
  const int64_t boxes_at_once = std::max<int64_t>(1, rows_at_once / space.box_rows);
  for (int64_t first = 0; first < space.box_count; first += boxes_at_once) {
    const int64_t last = std::min(first + boxes_at_once, space.box_count);
    reduce_long_rows(
        prepared, reductions, accumulators, first_row(space, first), first_row(space, last));
    prepared.code.lay_out(space.box_rows, elements_of_box(space));
    run_boxes(prepared, {first, last, &partials}, kGrain);
  }
}

} // namespace

void run_program(const ProgramCall& call) {
  PreparedProgram prepared = prepare(call);
  choose_direct_outputs(prepared);
  const ProgramSpace& space = prepared.space;
  if (space.length > kLongestRow) {
    run_long_rows(prepared);
    return;
  }
  const auto steps = static_cast<int64_t>(prepared.code.steps.size());
  const int64_t grain = std::max<int64_t>(1, kGrain / (elements_of_box(space) * steps));
  run_boxes(prepared, {0, space.box_count}, grain);
}

} // namespace narrows::cpu
