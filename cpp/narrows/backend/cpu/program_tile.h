// ProgramTile: the values of one tile, and the kernels that compute them.
#pragma once

#include "narrows/backend/cpu/program_code.h"
#include "narrows/backend/cpu/program_space.h"

namespace narrows::cpu {

// A program with its space, ready to run on tiles.
struct PreparedProgram {
  const ProgramCall& call;
  ProgramSpace space;
  Code code;
  int64_t pieces = 1; // the number of pieces in which reductions run

  std::byte* address(size_t operand) const {
    const Operand& place = call.operands[operand];
    return static_cast<std::byte*>(place.buffer->memory) + place.offset;
  }
  // Outputs stand behind the program's operands.
  size_t operand_of_output(size_t output) const {
    return call.program.operands.size() + output;
  }
  // The dtype of an operand and, if it is not in memory, its value.
  const Program::Value& operand(size_t index) const {
    return call.program.operands[index];
  }
};

class ProgramTile {
 public:
  ProgramTile(const PreparedProgram& prepared, std::byte* scratch);

  // Computes what is the same in all tiles. A tile has at most so many rows and elements.
  void begin(int64_t rows, int64_t elements);

  // Sets the tile to a box of whole rows, with this index along each dimension of rows.
  void enter_box(const int64_t* index);
  void run_box();

  // Sets the tile to a part of one row, or of the elements of all rows in their order.
  void enter_range(int64_t begin, int64_t end);
  // Runs the steps. Calls reduce(i, values) for the i-th reduction, which must read the values at
  // once, because later steps may overwrite them.
  template <typename Reduce>
  void run_range(Reduce&& reduce) {
    size_t reduction = 0;
    for (const Code::Step& step : prepared_.code.steps) {
      if (step.whole) {
        run(step, 0);
      } else if (step.kind == Code::Step::Kind::reduce) {
        reduce(reduction++, slots_[step.in[0]]);
      }
    }
    store_range();
  }

  // Results of reductions that were computed before: see run_long_rows().
  struct Partial {
    const std::byte* accumulators; // first by row, from some row on, then by piece
    const ReduceTile* reduce;
  };
  // `first_row`: the tile's first row, counted from the first row of the partial results.
  void take_partials(const std::vector<Partial>* partials, int64_t first_row) {
    partials_ = partials;
    first_row_ = first_row;
  }

 private:
  // The part of an output in the tile: where its elements are stored, if they are, and whether they
  // are a run there.
  struct Part {
    std::byte* to = nullptr;
    bool is_run = false;
  };
  std::byte* reg(uint16_t slot) const {
    return scratch_ + prepared_.code.registers[prepared_.code.slots[slot].register_index].offset;
  }
  void fill_constant(size_t operand, int64_t count);
  void load_box(size_t operand, bool whole);
  void load_range(size_t operand, int64_t begin, int64_t end);
  bool is_direct(uint16_t output) const {
    return output != Code::kNoOutput && parts_[output].is_run;
  }
  bool is_stored(size_t output) const;
  void store_box();
  void store_range();
  BoxCopy box_of(size_t operand, bool whole) const;
  int64_t offset_of(size_t operand) const;
  void write_sequence(size_t operand, int64_t first, int64_t stride, int64_t count, void* to);
  void load_sequence(size_t operand, const BoxCopy& box);
  void run(const Code::Step& step, size_t reduction);
  void spread(const Code::Step& step);
  void reduce(const Code::Step& step);
  void merge(const Code::Step& step, const Partial& partial);

  const PreparedProgram& prepared_;
  const ProgramSpace& space_;
  std::byte* const scratch_;
  std::vector<const void*> slots_; // where the values of the tile are
  std::vector<Part> parts_;        // by output
  int64_t rows_ = 0;
  int64_t elements_ = 0;
  int64_t start_[ProgramSpace::kMostDims];
  int64_t extent_[ProgramSpace::kMostDims];
  const std::vector<Partial>* partials_ = nullptr;
  int64_t first_row_ = 0;
};

} // namespace narrows::cpu
