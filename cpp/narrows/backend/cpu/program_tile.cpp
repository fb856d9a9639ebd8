#include "narrows/backend/cpu/program_tile.h"

#include <algorithm>
#include <cstring>

#include "narrows/backend/cpu/reduce_split.h"
#include "narrows/backend/cpu/sequence.h"
#include "narrows/core/dispatch.h"

namespace narrows::cpu {

using Kind = Code::Step::Kind;

ProgramTile::ProgramTile(const PreparedProgram& prepared, std::byte* scratch)
    : prepared_(prepared),
      space_(prepared.space),
      scratch_(scratch),
      slots_(prepared.code.slots.size(), nullptr),
      parts_(prepared.code.outputs.size()) {
}

void ProgramTile::begin(int64_t rows, int64_t elements) {
  const Code& code = prepared_.code;
  std::fill(start_, start_ + ProgramSpace::kMostDims, 0);
  for (int d = 0; d < space_.ndim; ++d) {
    extent_[d] = d < space_.row_ndim ? space_.box[d] : space_.shape[d];
  }
  rows_ = rows;
  elements_ = elements;
  for (uint16_t s = 0; s < code.slots.size(); ++s) {
    const Code::Slot& slot = code.slots[s];
    if (slot.register_index != Code::kNoRegister) {
      slots_[s] = reg(s);
    }
    if (s >= prepared_.call.program.operands.size() || !slot.once) {
      continue;
    }
    const bool constant =
        prepared_.operand(s).source == Program::Source::constant ||
        std::all_of(
            space_.strides[s].begin(), space_.strides[s].end(), [](int64_t n) { return n == 0; });
    const int64_t count = slot.whole ? elements : rows;
    if (count == 0) {
      continue;
    }
    if (constant) {
      fill_constant(s, count);
    } else {
      load_box(s, slot.whole);
    }
  }
  for (const Code::Step& step : code.once_steps) {
    if ((step.whole ? elements : rows) > 0) {
      run(step, 0);
    }
  }
}

void ProgramTile::fill_constant(size_t operand, int64_t count) {
  const Program::Value& value = prepared_.operand(operand);
  std::byte* to = reg(static_cast<uint16_t>(operand));
  if (value.source == Program::Source::sequence) {
    write_sequence(operand, 0, 0, count, to);
    return;
  }
  BoxCopy box;
  box.ndim = 1;
  box.extent[0] = count;
  box.from_stride[0] = 0;
  box.to_stride[0] = 1;
  const void* from = value.source == Program::Source::constant
                         ? static_cast<const void*>(value.constant)
                         : prepared_.address(operand);
  tile_kernels().copy_box(box, size_of(value.dtype), from, to);
}

void ProgramTile::enter_box(const int64_t* index) {
  const Code& code = prepared_.code;
  rows_ = 1;
  for (int d = 0; d < space_.row_ndim; ++d) {
    start_[d] = index[d] * space_.box[d];
    extent_[d] = std::min(space_.box[d], space_.shape[d] - start_[d]);
    rows_ *= extent_[d];
  }
  elements_ = rows_ * space_.length;
  for (uint16_t s = 0; s < prepared_.call.program.operands.size(); ++s) {
    if (!code.slots[s].once && !(partials_ && code.slots[s].whole)) {
      load_box(s, code.slots[s].whole);
    }
  }
  for (size_t i = 0; i < code.outputs.size(); ++i) {
    const Code::Slot& slot = code.slots[code.outputs[i]];
    const size_t operand = prepared_.operand_of_output(i);
    if (partials_ && slot.whole) {
      continue; // stored by ranges
    }
    const BoxCopy box = box_of(operand, slot.whole);
    parts_[i].to = prepared_.address(operand) + offset_of(operand) * slot.item_size;
    parts_[i].is_run = std::equal(box.from_stride, box.from_stride + box.ndim, box.to_stride);
  }
}

int64_t ProgramTile::offset_of(size_t operand) const {
  int64_t offset = 0;
  for (int d = 0; d < space_.row_ndim; ++d) {
    offset += start_[d] * space_.strides[operand][d];
  }
  return offset;
}

// The tile in the layout of an operand, and as a run. Dimensions of one element are left out.
BoxCopy ProgramTile::box_of(size_t operand, bool whole) const {
  BoxCopy box;
  const int ndim = whole ? space_.ndim : space_.row_ndim;
  for (int d = 0; d < ndim; ++d) {
    if (extent_[d] != 1) {
      box.extent[box.ndim] = extent_[d];
      box.from_stride[box.ndim++] = space_.strides[operand][d];
    }
  }
  int64_t run = 1;
  for (int d = box.ndim - 1; d >= 0; --d) {
    box.to_stride[d] = run;
    run *= box.extent[d];
  }
  return box;
}

void ProgramTile::load_box(size_t operand, bool whole) {
  const uint16_t slot = static_cast<uint16_t>(operand);
  const BoxCopy box = box_of(operand, whole);
  const Program::Value& value = prepared_.operand(operand);
  slots_[operand] = reg(slot);
  if (value.source == Program::Source::sequence) {
    load_sequence(operand, box);
    return;
  }
  const int64_t item_size = prepared_.code.slots[operand].item_size;
  const std::byte* from = prepared_.address(operand) + offset_of(operand) * item_size;
  if (std::equal(box.from_stride, box.from_stride + box.ndim, box.to_stride)) {
    slots_[operand] = from;
  } else {
    tile_kernels().copy_box(box, item_size, from, reg(slot));
  }
}

void ProgramTile::load_sequence(size_t operand, const BoxCopy& box) {
  const int64_t item_size = prepared_.code.slots[operand].item_size;
  std::byte* to = reg(static_cast<uint16_t>(operand));
  const int last = box.ndim - 1;
  const int64_t run = box.ndim > 0 ? box.extent[last] : 1;
  const int64_t stride = box.ndim > 0 ? box.from_stride[last] : 0;
  int64_t index[kMaxBoxDims] = {};
  int64_t first = offset_of(operand);
  for (;;) {
    write_sequence(operand, first, stride, run, to);
    to += run * item_size;
    int d = last - 1;
    for (; d >= 0; --d) {
      first += box.from_stride[d];
      if (++index[d] < box.extent[d]) {
        break;
      }
      first -= box.extent[d] * box.from_stride[d];
      index[d] = 0;
    }
    if (d < 0) {
      return;
    }
  }
}

void ProgramTile::write_sequence(
    size_t operand, int64_t first, int64_t stride, int64_t count, void* to) {
  const Program::Value& value = prepared_.operand(operand);
  dispatch(value.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* values = static_cast<T*>(to);
    for (int64_t i = 0; i < count; ++i) {
      values[i] = sequence_element<T>(value.sequence, first + i * stride);
    }
  });
}

void ProgramTile::run_box() {
  const Code& code = prepared_.code;
  size_t reduction = 0;
  for (const Code::Step& step : code.steps) {
    if (partials_ && step.whole) {
      continue;
    }
    run(step, reduction);
    reduction += step.kind == Kind::reduce;
  }
  store_box();
}

// Whether the output's elements of the tile are in place already, or are not stored.
bool ProgramTile::is_stored(size_t output) const {
  const Code::Slot& slot = prepared_.code.slots[prepared_.code.outputs[output]];
  return !parts_[output].to || (slot.output == output && parts_[output].is_run);
}

void ProgramTile::store_box() {
  const Code& code = prepared_.code;
  for (size_t i = 0; i < code.outputs.size(); ++i) {
    if (is_stored(i)) {
      continue;
    }
    const Code::Slot& slot = code.slots[code.outputs[i]];
    BoxCopy box = box_of(prepared_.operand_of_output(i), slot.whole);
    std::swap(box.from_stride, box.to_stride);
    tile_kernels().copy_box(box, slot.item_size, slots_[code.outputs[i]], parts_[i].to);
  }
}

// Writes an output's elements in place if they are a run there and nobody reads that memory later.
void ProgramTile::run(const Code::Step& step, size_t reduction) {
  const uint16_t output = prepared_.code.slots[step.out].output;
  slots_[step.out] = is_direct(output) ? parts_[output].to : reg(step.out);
  switch (step.kind) {
    case Kind::kernel: {
      const void* in[Program::kMostInputs];
      for (uint8_t k = 0; k < step.inputs; ++k) {
        in[k] = slots_[step.in[k]];
      }
      step.kernel(in, const_cast<void*>(slots_[step.out]), step.whole ? elements_ : rows_);
      break;
    }
    case Kind::spread:
      spread(step);
      break;
    case Kind::reduce:
      if (partials_) {
        merge(step, (*partials_)[reduction]);
      } else {
        reduce(step);
      }
      break;
  }
}

void ProgramTile::spread(const Code::Step& step) {
  BoxCopy box;
  box.ndim = 2;
  box.extent[0] = rows_;
  box.extent[1] = space_.length;
  box.from_stride[0] = 1;
  box.from_stride[1] = 0;
  box.to_stride[0] = space_.length;
  box.to_stride[1] = 1;
  tile_kernels().copy_box(
      box,
      prepared_.code.slots[step.out].item_size,
      slots_[step.in[0]],
      const_cast<void*>(slots_[step.out]));
}

// Reduces in the same pieces, and merges them in the same order, as the reduction by itself.
void ProgramTile::reduce(const Code::Step& step) {
  const ReduceTile& tile = step.reduce;
  const int64_t size = rows_ * tile.accumulator_size;
  std::byte* total = scratch_ + prepared_.code.accumulators;
  const auto* from = static_cast<const std::byte*>(slots_[step.in[0]]);
  for (int64_t piece = 0; piece < prepared_.pieces; ++piece) {
    const int64_t begin = piece_begin(space_.length, piece, prepared_.pieces);
    const int64_t end = piece_begin(space_.length, piece + 1, prepared_.pieces);
    std::byte* accumulators = piece == 0 ? total : total + size;
    tile.begin(accumulators, rows_);
    tile.add(from + begin * step.reduced_item, rows_, space_.length, end - begin, 1, accumulators);
    if (piece > 0) {
      tile.merge(accumulators, rows_, total);
    }
  }
  tile.finish(total, rows_, const_cast<void*>(slots_[step.out]), 1);
}

void ProgramTile::merge(const Code::Step& step, const Partial& partial) {
  const ReduceTile& tile = *partial.reduce;
  const int64_t item_size = prepared_.code.slots[step.out].item_size;
  alignas(64) std::byte total[kMaxAccumulatorSize];
  auto* to = static_cast<std::byte*>(const_cast<void*>(slots_[step.out]));
  for (int64_t row = 0; row < rows_; ++row) {
    const std::byte* first =
        partial.accumulators + (first_row_ + row) * prepared_.pieces * tile.accumulator_size;
    std::memcpy(total, first, static_cast<size_t>(tile.accumulator_size));
    for (int64_t piece = 1; piece < prepared_.pieces; ++piece) {
      tile.merge(first + piece * tile.accumulator_size, 1, total);
    }
    tile.finish(total, 1, to + row * item_size, 1);
  }
}

void ProgramTile::enter_range(int64_t begin, int64_t end) {
  const Code& code = prepared_.code;
  rows_ = 0;
  elements_ = end - begin;
  for (uint16_t s = 0; s < prepared_.call.program.operands.size(); ++s) {
    if (!code.slots[s].once && code.slots[s].whole) {
      load_range(s, begin, end);
    }
  }
  // Values of all elements lie in the order of the elements.
  for (size_t i = 0; i < code.outputs.size(); ++i) {
    const Code::Slot& slot = code.slots[code.outputs[i]];
    if (slot.whole) {
      parts_[i].to = prepared_.address(prepared_.operand_of_output(i)) + begin * slot.item_size;
      parts_[i].is_run = true;
    }
  }
}

void ProgramTile::store_range() {
  const Code& code = prepared_.code;
  for (size_t i = 0; i < code.outputs.size(); ++i) {
    if (!is_stored(i)) {
      const uint16_t slot = code.outputs[i];
      std::memcpy(
          parts_[i].to, slots_[slot], static_cast<size_t>(elements_ * code.slots[slot].item_size));
    }
  }
}

// Run by run along the last dimension. A range within one run may be read in place.
void ProgramTile::load_range(size_t operand, int64_t begin, int64_t end) {
  const ProgramSpace::Lengths& strides = space_.strides[operand];
  const int last = space_.ndim - 1;
  int64_t index[ProgramSpace::kMostDims];
  int64_t offset = 0;
  int64_t run = 1;
  bool is_dense = true;
  int64_t rest = begin;
  for (int d = last; d >= 0; --d) {
    index[d] = rest % space_.shape[d];
    rest /= space_.shape[d];
    offset += index[d] * strides[d];
    is_dense &= strides[d] == run;
    run *= space_.shape[d];
  }
  const bool in_memory = prepared_.operand(operand).source == Program::Source::memory;
  const int64_t item_size = prepared_.code.slots[operand].item_size;
  const std::byte* from = in_memory ? prepared_.address(operand) : nullptr;
  const bool one_run = index[last] + end - begin <= space_.shape[last] && strides[last] == 1;
  if (in_memory && (is_dense || one_run)) {
    slots_[operand] = from + offset * item_size;
    return;
  }
  std::byte* to = reg(static_cast<uint16_t>(operand));
  slots_[operand] = to;
  for (int64_t at = begin; at < end;) {
    const int64_t count = std::min(space_.shape[last] - index[last], end - at);
    if (in_memory) {
      BoxCopy box;
      box.ndim = 1;
      box.extent[0] = count;
      box.from_stride[0] = strides[last];
      box.to_stride[0] = 1;
      tile_kernels().copy_box(box, item_size, from + offset * item_size, to);
    } else {
      write_sequence(operand, offset, strides[last], count, to);
    }
    to += count * item_size;
    at += count;
    index[last] += count;
    offset += count * strides[last];
    for (int d = last; d > 0 && index[d] == space_.shape[d]; --d) {
      index[d] = 0;
      index[d - 1] += 1;
      offset += strides[d - 1] - space_.shape[d] * strides[d];
    }
  }
}

} // namespace narrows::cpu
