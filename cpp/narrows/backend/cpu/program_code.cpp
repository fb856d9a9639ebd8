#include "narrows/backend/cpu/program_code.h"

#include "narrows/core/kernel_families.h"

#include <algorithm>

namespace narrows::cpu {
namespace {

constexpr uint16_t kNone = UINT16_MAX;

class CodeMaker {
 public:
  CodeMaker(const Program& program, const std::vector<bool>& once) : program_(program) {
    // The most steps of an instruction: itself and its conversions.
    const size_t values = program.operands.size() + program.instructions.size();
    code_.slots.reserve(values);
    code_.registers.reserve(values);
    code_.steps.reserve(program.instructions.size());
    slot_of_.reserve(program.instructions.size());
    wide_of_.reserve(values);
    for (size_t i = 0; i < program.operands.size(); ++i) {
      const Program::Value& operand = program.operands[i];
      add_slot(operand.dtype, operand.whole, once[i]);
    }
  }

  Code run() {
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      const size_t known = code_.slots.size();
      const uint16_t slot = translate(program_.instructions[i]);
      slot_of_.push_back(slot);
      if (program_.operands.size() + i == program_.outputs[code_.outputs.size()]) {
        code_.outputs.push_back(slot);
        // The value is made anew for each tile, unless it is made once and must stay.
        code_.slots[slot].once &= slot < known;
      }
    }
    hoist();
    assign_registers();
    return std::move(code_);
  }

 private:
  uint16_t add_slot(Dtype dtype, bool whole, bool once) {
    code_.slots.push_back({size_of(dtype), whole, once});
    wide_of_.push_back(kNone);
    return static_cast<uint16_t>(code_.slots.size() - 1);
  }

  uint16_t slot_of(uint16_t value) const {
    return value < program_.operands.size() ? value : slot_of_[value - program_.operands.size()];
  }

  uint16_t add_step(
      Code::Step::Kind kind,
      TileKernel kernel,
      std::initializer_list<uint16_t> in,
      Dtype out,
      bool whole) {
    Code::Step step{};
    step.kind = kind;
    step.whole = whole;
    step.kernel = kernel;
    bool once = kind != Code::Step::Kind::reduce;
    for (uint16_t slot : in) {
      step.in[step.inputs++] = slot;
      once &= code_.slots[slot].once;
    }
    step.out = add_slot(out, whole, once);
    code_.steps.push_back(step);
    return step.out;
  }

  uint16_t cast(uint16_t slot, Dtype from, Dtype to) {
    const TileKernel kernel = tile_kernels().cast[static_cast<int>(from)][static_cast<int>(to)];
    return add_step(Code::Step::Kind::kernel, kernel, {slot}, to, code_.slots[slot].whole);
  }

  // The value of a 16-bit float in float32.
  uint16_t widened(uint16_t slot, Dtype dtype) {
    if (wide_of_[slot] == kNone) {
      const uint16_t wide = cast(slot, dtype, Dtype::float32);
      wide_of_[slot] = wide;
    }
    return wide_of_[slot];
  }

  uint16_t translate(const Program::Instruction& instruction) {
    using Action = Program::Action;
    using Kind = Code::Step::Kind;
    const TileKernels& kernels = tile_kernels();
    const uint16_t first = slot_of(instruction.inputs[0]);
    switch (instruction.action) {
      case Action::cast:
        if (is_half(instruction.in) && instruction.out == Dtype::float32) {
          return widened(first, instruction.in);
        }
        return cast(first, instruction.in, instruction.out);
      case Action::select: {
        const int64_t size = size_of(instruction.out);
        const TileKernel kernel = kernels.select[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
        const uint16_t a = slot_of(instruction.inputs[1]);
        const uint16_t b = slot_of(instruction.inputs[2]);
        return add_step(Kind::kernel, kernel, {first, a, b}, instruction.out, instruction.whole);
      }
      case Action::spread:
        return add_step(Kind::spread, nullptr, {first}, instruction.out, true);
      case Action::reduce: {
        const uint16_t out = add_step(Kind::reduce, nullptr, {first}, instruction.out, false);
        Code::Step& step = code_.steps.back();
        step.reduce = reduce_tile(static_cast<ReduceOp>(instruction.op), instruction.in);
        step.reduced_item = size_of(instruction.in);
        return out;
      }
      case Action::elementwise:
        break;
    }
    const bool half = is_half(instruction.in);
    const Dtype in = half ? Dtype::float32 : instruction.in;
    const Dtype out = half && is_half(instruction.out) ? Dtype::float32 : instruction.out;
    const TileKernel kernel = kernels.elementwise[instruction.op][static_cast<int>(in)];
    const uint16_t a = half ? widened(first, instruction.in) : first;
    uint16_t result;
    if (instruction.input_count == 1) {
      result = add_step(Kind::kernel, kernel, {a}, out, instruction.whole);
    } else {
      const uint16_t second = slot_of(instruction.inputs[1]);
      const uint16_t b = half ? widened(second, instruction.in) : second;
      result = add_step(Kind::kernel, kernel, {a, b}, out, instruction.whole);
    }
    return out == instruction.out ? result : cast(result, out, instruction.out);
  }

  // Moves steps whose results are the same in all tiles to the front.
  void hoist() {
    const auto varies = [&](const Code::Step& step) { return !code_.slots[step.out].once; };
    std::vector<Code::Step>& steps = code_.steps;
    if (!std::all_of(steps.begin(), steps.end(), varies)) {
      const auto rest = std::stable_partition(steps.begin(), steps.end(), varies);
      code_.once_steps.assign(rest, steps.end());
      steps.erase(rest, steps.end());
    }
  }

  uint32_t new_register(const Code::Slot& slot) {
    code_.registers.push_back({slot.item_size, slot.whole});
    return static_cast<uint32_t>(code_.registers.size() - 1);
  }

  // Assigns registers. A register is free again behind the last step that reads it, and a result
  // may take the register of an input of its own step if their elements have one size. Operands,
  // outputs and values that are the same in all tiles keep theirs.
  void assign_registers() {
    for (uint32_t i = 0; i < code_.steps.size(); ++i) {
      for (uint8_t k = 0; k < code_.steps[i].inputs; ++k) {
        code_.slots[code_.steps[i].in[k]].last_read = i;
      }
      code_.slots[code_.steps[i].out].made_at = i;
    }
    std::vector<bool> is_kept(code_.slots.size());
    for (size_t s = 0; s < code_.slots.size(); ++s) {
      is_kept[s] = s < program_.operands.size() || code_.slots[s].once;
    }
    for (const uint16_t output : code_.outputs) {
      is_kept[output] = true;
    }
    for (size_t s = 0; s < code_.slots.size(); ++s) {
      Code::Slot& slot = code_.slots[s];
      if (s < program_.operands.size() || slot.once) {
        slot.register_index = new_register(slot);
      }
    }
    std::vector<uint32_t> unused;
    for (size_t i = 0; i < code_.steps.size(); ++i) {
      const Code::Step& step = code_.steps[i];
      Code::Slot& out = code_.slots[step.out];
      const auto release = [&] {
        for (uint8_t k = 0; k < step.inputs; ++k) {
          const Code::Slot& slot = code_.slots[step.in[k]];
          const bool seen = std::find(step.in, step.in + k, step.in[k]) != step.in + k;
          if (!is_kept[step.in[k]] && !seen && slot.last_read == i) {
            unused.push_back(slot.register_index);
          }
        }
      };
      const bool in_place = step.kind == Code::Step::Kind::kernel && same_size(step);
      if (in_place) {
        release();
      }
      const auto found = std::find_if(unused.rbegin(), unused.rend(), [&](uint32_t index) {
        const Code::Register& candidate = code_.registers[index];
        return candidate.item_size == out.item_size && candidate.whole == out.whole;
      });
      if (found == unused.rend()) {
        out.register_index = new_register(out);
      } else {
        out.register_index = *found;
        unused.erase(std::next(found).base());
      }
      if (!in_place) {
        release();
      }
    }
  }

  bool same_size(const Code::Step& step) const {
    return std::all_of(step.in, step.in + step.inputs, [&](uint16_t slot) {
      return code_.slots[slot].item_size == code_.slots[step.out].item_size;
    });
  }

  const Program& program_;
  Code code_;
  std::vector<uint16_t> slot_of_; // by instruction
  std::vector<uint16_t> wide_of_; // by slot
};

} // namespace

int64_t Code::lay_out(int64_t tile_rows, int64_t tile_elements) {
  int64_t bytes = 0;
  for (Register& reg : registers) {
    reg.offset = bytes;
    const int64_t size = reg.item_size * (reg.whole ? tile_elements : tile_rows);
    bytes += (size + 63) / 64 * 64;
  }
  accumulators = bytes;
  int64_t largest = 0;
  for (const Step& step : steps) {
    largest = std::max(largest, step.kind == Step::Kind::reduce ? step.reduce.accumulator_size : 0);
  }
  return bytes + 2 * tile_rows * largest;
}

Code make_code(const Program& program, const std::vector<bool>& once) {
  return CodeMaker(program, once).run();
}

} // namespace narrows::cpu
