// Code: a program as the CPU runs it: which kernel reads and writes which register.
#pragma once

#include <vector>

#include "narrows/backend/cpu/kernels/reduce_tiles.h"
#include "narrows/backend/cpu/kernels/tile_kernels.h"
#include "narrows/runtime/program.h"

namespace narrows::cpu {

// Slots hold the values of a tile: first the operands, then the results of instructions. 16-bit
// floats are converted to float32 for the kernels and rounded after each of them, as for whole
// arrays.
struct Code {
  static constexpr uint32_t kNoRegister = UINT32_MAX;
  static constexpr uint16_t kNoOutput = UINT16_MAX;

  struct Slot {
    int64_t item_size = 0;
    bool whole = false;
    bool once = false;                     // the same in all tiles
    uint32_t register_index = kNoRegister; // operands may be read in place instead
    uint32_t made_at = 0;                  // the step that makes it
    uint32_t last_read = 0;                // the last step that reads it
    uint16_t output = kNoOutput;           // the output that its step may write in place
  };
  struct Register {
    int64_t item_size;
    bool whole;
    int64_t offset = 0; // in a thread's scratch memory
  };
  struct Step {
    enum class Kind : uint8_t { kernel, spread, reduce };
    Kind kind;
    bool whole; // its result
    uint8_t inputs;
    uint16_t in[Program::kMostInputs];
    uint16_t out;
    TileKernel kernel = nullptr;
    ReduceTile reduce{};
    int64_t reduced_item = 0; // bytes of what is reduced
  };

  std::vector<Slot> slots;
  std::vector<Register> registers;
  std::vector<Step> steps;       // for each tile
  std::vector<Step> once_steps;  // before the first tile
  std::vector<uint16_t> outputs; // slots
  int64_t accumulators =
      0; // offset of a step's accumulators, and of those of one piece, behind the registers

  // Lays the registers out for tiles of this size. Returns the bytes of scratch memory.
  int64_t lay_out(int64_t tile_rows, int64_t tile_elements);
};

// `once`: which operands are the same in all tiles.
Code make_code(const Program& program, const std::vector<bool>& once);

} // namespace narrows::cpu
