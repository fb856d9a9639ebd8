#include "narrows/backend/gpu/program_layout.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "narrows/backend/gpu/sequence_parts.h"
#include "narrows/core/dispatch.h"

namespace narrows::gpu {
namespace {

using Access = ProgramLayout::Access;
using Source = Program::Source;

// A thread reads this many bytes of the operand with the largest elements.
constexpr int64_t kBytesOfThread = 32;
constexpr int64_t kLongestPack = 8;

Dtype dtype_of_operand(const Program& program, size_t k) {
  const size_t operands = program.operands.size();
  return k < operands ? program.operands[k].dtype : program.dtype_of(program.outputs[k - operands]);
}

int64_t largest_item(const Program& program) {
  int64_t largest = 1;
  for (size_t k = 0; k < program.operands.size() + program.outputs.size(); ++k) {
    largest = std::max(largest, size_of(dtype_of_operand(program, k)));
  }
  return largest;
}

// Whether all packs of an operand begin at multiples of their size.
bool is_packed(const ProgramSpace& space, size_t k, int64_t pack, int64_t size, std::uintptr_t at) {
  const int last = space.ndim - 1;
  const int64_t* strides = space.strides[k];
  if (strides[last] != 1 || at % static_cast<uint64_t>(pack * size) != 0) {
    return false;
  }
  return std::all_of(strides, strides + last, [&](int64_t n) { return n % pack == 0; });
}

void append_bytes(std::string& text, const void* from, size_t bytes) {
  text.append(static_cast<const char*>(from), bytes);
}

} // namespace

RowShares::RowShares(const Program& program, const ProgramSpace& space) : pack(1) {
  const auto& all = program.instructions;
  const auto reduction = std::find_if(all.begin(), all.end(), [](const auto& instruction) {
    return instruction.action == Program::Action::reduce;
  });
  const int64_t most = reduction == all.end()
                           ? std::min(kLongestPack, kBytesOfThread / largest_item(program))
                           : std::min(kLongestPack, kVectorBytes / size_of(reduction->in));
  if (space.ndim > space.row_ndim && space.shape[space.ndim - 1] % most == 0) {
    pack = most;
  }
  packs = space.length / pack;
  threads = row_threads(space.length, pack);
}

ProgramLayout::ProgramLayout(
    const ProgramCall& call,
    bool is_split,
    const ProgramSpace& space,
    std::span<const std::uintptr_t> addresses)
    : row_ndim(static_cast<uint8_t>(space.row_ndim)),
      ndim(static_cast<uint8_t>(space.ndim)),
      is_split(is_split),
      is_wide(std::max(space.rows, space.length) > std::numeric_limits<int32_t>::max()) {
  const Program& program = call.program;
  const int last = space.ndim - 1;
  const bool has_elements = space.ndim > space.row_ndim;
  const RowShares shares(program, space);
  pack = static_cast<uint8_t>(shares.pack);
  for (size_t k = 0; k < addresses.size(); ++k) {
    const int64_t size = size_of(dtype_of_operand(program, k));
    if (!has_elements || space.strides[k][last] == 0) {
      access[k] = Access::repeated;
    } else {
      const bool packed = pack > 1 && is_packed(space, k, pack, size, addresses[k]);
      access[k] = packed ? Access::packed : Access::apart;
    }
  }
  is_resident = !is_split && shares.packs <= shares.threads;
}

void append_key(const Program& program, const ProgramLayout& layout, std::string& key) {
  append_bytes(key, &layout, sizeof(layout));
  for (const Program::Value& value : program.operands) {
    key +=
        {static_cast<char>(value.source),
         static_cast<char>(value.dtype),
         static_cast<char>(value.whole)};
  }
  key += static_cast<char>(program.instructions.size());
  for (const Program::Instruction& instruction : program.instructions) {
    key +=
        {static_cast<char>(instruction.action),
         static_cast<char>(instruction.op),
         static_cast<char>(instruction.whole),
         static_cast<char>(instruction.in),
         static_cast<char>(instruction.out)};
    append_bytes(key, instruction.inputs, instruction.input_count * sizeof(uint16_t));
  }
  append_bytes(key, program.outputs.data(), program.outputs.size() * sizeof(uint16_t));
}

ProgramWords::ProgramWords(const Program& program, const ProgramLayout& layout) {
  const auto count = [&](Source source) {
    return static_cast<size_t>(std::count_if(
        program.operands.begin(), program.operands.end(), [&](const Program::Value& value) {
          return value.source == source;
        }));
  };
  const size_t constants = count(Source::constant);
  const size_t walked = program.operands.size() - constants + program.outputs.size();
  strides = shape + layout.ndim;
  numbers = strides + walked * layout.ndim;
  all = numbers + constants;
  sequences = count(Source::sequence);
}

ArangeParams params_of(const Sequence& sequence) {
  ArangeParams p{};
  p.start = sequence.start;
  p.step = sequence.step;
  p.int_start = sequence.int_start;
  p.int_step = sequence.int_step;
  set_parts(p);
  return p;
}

uint64_t bits_of_constant(const Program::Value& value) {
  uint64_t bits = 0;
  if (!is_half(value.dtype)) {
    std::memcpy(&bits, value.constant, static_cast<size_t>(size_of(value.dtype)));
    return bits;
  }
  uint16_t half;
  std::memcpy(&half, value.constant, sizeof(half));
  const float number = value.dtype == float16 ? static_cast<float>(std::bit_cast<float16_t>(half))
                                              : static_cast<float>(std::bit_cast<bfloat16_t>(half));
  std::memcpy(&bits, &number, sizeof(number));
  return bits;
}

void dispatch_text(
    const ProgramCall& call,
    const ProgramSpace& space,
    const ProgramLayout& layout,
    Dispatch& dispatch) {
  const Program& program = call.program;
  const ProgramWords at(program, layout);
  const RowShares shares(program, space);
  auto* words = reinterpret_cast<int64_t*>(dispatch.params.data());
  words[0] = shares.packs;
  std::copy_n(space.shape, space.ndim, words + at.shape);
  if (space.ndim > space.row_ndim) {
    words[at.shape + static_cast<size_t>(space.ndim) - 1] /= layout.pack;
  }
  int64_t* strides = words + at.strides;
  int64_t* numbers = words + at.numbers;
  std::byte* sequences = reinterpret_cast<std::byte*>(words + at.all);
  dispatch.place_count = 0;
  for (size_t k = 0; k < call.operands.size(); ++k) {
    const bool is_output = k >= program.operands.size();
    const Source source = is_output ? Source::memory : program.operands[k].source;
    if (source == Source::constant) {
      *numbers++ = static_cast<int64_t>(bits_of_constant(program.operands[k]));
      continue;
    }
    strides = std::copy_n(space.strides[k], space.ndim, strides);
    if (source == Source::sequence) {
      const ArangeParams params = params_of(program.operands[k].sequence);
      std::memcpy(sequences, &params, sizeof(params));
      sequences += sizeof(params);
    } else {
      dispatch.places[dispatch.place_count++] = {static_cast<uint32_t>(k)};
    }
  }
  dispatch.params_size = at.all * sizeof(int64_t) + at.sequences * sizeof(ArangeParams);
  dispatch.is_product = false;
  dispatch.written = program.outputs.size();
  if (layout.is_split) {
    dispatch.set_threads(shares.packs, kThreads);
    return;
  }
  dispatch.threads = static_cast<uint32_t>(shares.threads);
  dispatch.set_groups(space.rows);
}

} // namespace narrows::gpu
