#include "narrows/io/load.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "narrows/core/half.h"
#include "narrows/plan/placement.h"
#include "narrows/record/host_array.h"
#include "narrows/record/primitive.h"
#include "narrows/record/runs_once.h"
#include "narrows/runtime/parallel.h"

namespace narrows {
namespace {

// A node that reads a source. The source was seen to have the bytes when the node was recorded. It
// is read once: it may change, and it is slow.
class Load : public Primitive, public RunsOnce {
 public:
  Load(SourceRef source, uint64_t offset, std::vector<OutputSpec> outputs)
      : source_(std::move(source)), offset_(offset), outputs_(std::move(outputs)) {
  }

  const char* name() const override {
    return "load";
  }
  Attributes attributes() const override {
    return {{"file", source_->name()}, {"offset", static_cast<int64_t>(offset_)}};
  }
  void encode(Encoder&, const StepView& step) const override {
    std::array<std::byte*, 3> places{};
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      const Operand place = step.outputs[i].operand();
      if (place.buffer->source && !place.buffer->source->host_visible()) {
        return; // memory that is only counted
      }
      places[i] = static_cast<std::byte*>(place.buffer->memory) + place.offset;
    }
    if (step.outputs[0].size() > 0) {
      read(places.data());
    }
  }
  // Files of exported functions contain the values.
  std::vector<array> decompose(std::span<const array>, Stream) const override {
    std::vector<array> arrays;
    std::array<std::byte*, 3> places{};
    for (size_t i = 0; i < outputs_.size(); ++i) {
      arrays.push_back(host_array(
          "load", outputs_[i].shape, outputs_[i].dtype, [&](std::byte* at) { places[i] = at; }));
    }
    if (places[0]) {
      read(places.data());
    }
    return arrays;
  }

  // Its recorded outputs. They are read at once if the source does not last.
  static std::vector<array> arrays_of(std::shared_ptr<const Load> load, StreamOrDevice s) {
    if (!load->source_->is_lasting()) {
      return load->decompose({}, s.stream());
    }
    const Stream asked = s.stream();
    const bool on_cpu = asked.device.type == Device::Type::cpu;
    std::vector<OutputSpec> outputs = load->outputs_;
    std::vector<array> arrays = record(
        std::move(load),
        on_cpu ? asked : default_stream({Device::Type::cpu, 0}),
        std::move(outputs),
        {});
    arrays[0].node()->set_asked_stream(asked);
    return arrays;
  }

 protected:
  // Writes all outputs. None of them is empty.
  virtual void read(std::byte* const* places) const = 0;

  SourceRef source_;
  uint64_t offset_;
  std::vector<OutputSpec> outputs_;
};

template <typename T>
void swap_each(std::byte* at, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, at + i * sizeof(T), sizeof(T));
    if constexpr (sizeof(T) == 2) {
      value = __builtin_bswap16(value);
    } else if constexpr (sizeof(T) == 4) {
      value = __builtin_bswap32(value);
    } else {
      value = __builtin_bswap64(value);
    }
    std::memcpy(at + i * sizeof(T), &value, sizeof(T));
  }
}

// Turns the bytes of numbers into the machine's order.
void swap_numbers(std::byte* at, int64_t bytes, Dtype dtype) {
  const int64_t size = is_complex(dtype) ? size_of(dtype) / 2 : size_of(dtype);
  switch (size) {
    case 2:
      return swap_each<uint16_t>(at, bytes / 2);
    case 4:
      return swap_each<uint32_t>(at, bytes / 4);
    case 8:
      return swap_each<uint64_t>(at, bytes / 8);
    default:
      return;
  }
}

class LoadElements final : public Load {
 public:
  LoadElements(SourceRef source, uint64_t offset, OutputSpec output, bool swapped)
      : Load(std::move(source), offset, {std::move(output)}), swapped_(swapped) {
  }

 protected:
  void read(std::byte* const* places) const override {
    constexpr int64_t kPiece = int64_t{1} << 20; // a multiple of each element's size
    const int64_t bytes = element_count(outputs_[0].shape) * size_of(outputs_[0].dtype);
    const auto read_pieces = [&](int64_t first, int64_t last) {
      const int64_t begin = first * kPiece;
      const int64_t count = std::min(last * kPiece, bytes) - begin;
      read_part(begin, count, places[0] + begin);
    };
    const int64_t pieces = (bytes + kPiece - 1) / kPiece;
    if (source_->is_lasting()) {
      parallel_for(pieces, 4, [&](int64_t first, int64_t last) { read_pieces(first, last); });
    } else {
      read_pieces(0, pieces);
    }
  }

 private:
  void read_part(int64_t begin, int64_t bytes, std::byte* to) const {
    source_->read(offset_ + static_cast<uint64_t>(begin), to, static_cast<uint64_t>(bytes));
    if (outputs_[0].dtype == bool_) { // only 0 and 1 may lie in a bool
      std::transform(to, to + bytes, to, [](std::byte b) { return std::byte{b != std::byte{0}}; });
    }
    if (swapped_) {
      swap_numbers(to, bytes, outputs_[0].dtype);
    }
  }

  bool swapped_;
};

// The offsets of the parts of a block.
struct BlockLayout {
  int64_t numbers;
  int64_t bytes;
  int bits;
  float least; // the smallest number, for blocks without a bias
};
constexpr BlockLayout layout_of(BlockFormat format) {
  switch (format) {
    case BlockFormat::q4_0:
      return {2, 18, 4, -8};
    case BlockFormat::q4_1:
      return {4, 20, 4, 0};
    default:
      return {2, 34, 8, -128};
  }
}

class LoadBlocks final : public Load {
 public:
  LoadBlocks(SourceRef source, uint64_t offset, std::vector<OutputSpec> outputs, BlockFormat format)
      : Load(std::move(source), offset, std::move(outputs)), format_(format) {
  }

 protected:
  void read(std::byte* const* places) const override {
    const BlockLayout layout = layout_of(format_);
    const int64_t number_bytes = kBlockElements * layout.bits / 8;
    const int64_t count = element_count(outputs_[1].shape);
    std::array<std::byte, 34 * 512> some;
    const int64_t most = static_cast<int64_t>(some.size()) / layout.bytes;
    for (int64_t first = 0; first < count; first += most) {
      const int64_t blocks = std::min(most, count - first);
      source_->read(
          offset_ + static_cast<uint64_t>(first * layout.bytes),
          some.data(),
          static_cast<uint64_t>(blocks * layout.bytes));
      for (int64_t i = 0; i < blocks; ++i) {
        unpack(
            layout,
            some.data() + i * layout.bytes,
            places[0] + (first + i) * number_bytes,
            reinterpret_cast<float16_t*>(places[1]) + first + i,
            reinterpret_cast<float16_t*>(places[2]) + first + i);
      }
    }
  }

 private:
  void unpack(
      const BlockLayout& layout,
      const std::byte* block,
      std::byte* numbers,
      float16_t* scale,
      float16_t* bias) const {
    std::memcpy(scale, block, sizeof(float16_t));
    if (format_ == BlockFormat::q4_1) {
      std::memcpy(bias, block + 2, sizeof(float16_t));
    } else {
      *bias = float16_t(layout.least * static_cast<float>(*scale));
    }
    const auto* from = reinterpret_cast<const uint8_t*>(block) + layout.numbers;
    auto* to = reinterpret_cast<uint8_t*>(numbers);
    for (int i = 0; i < 16; ++i) {
      if (layout.bits == 8) { // signed numbers become distances from the smallest one
        to[2 * i] = from[2 * i] ^ 0x80;
        to[2 * i + 1] = from[2 * i + 1] ^ 0x80;
      } else { // byte i contains element i in its low half and element i + 16 in the high half
        const int shift = i < 8 ? 0 : 4;
        const int at = 2 * i % 16;
        to[i] = static_cast<uint8_t>((from[at] >> shift & 15) | (from[at + 1] >> shift & 15) << 4);
      }
    }
  }

  BlockFormat format_;
};

void require_bytes(const Source& source, uint64_t offset, int64_t bytes) {
  if (offset > source.size() || static_cast<uint64_t>(bytes) > source.size() - offset) {
    fail<ValueError>(
        "[load] ",
        source.name(),
        " has ",
        source.size(),
        " bytes, expected an array of ",
        bytes,
        " bytes at ",
        offset,
        ": it is cut off or damaged.");
  }
}

std::shared_ptr<const Load> element_load(
    const SourceRef& source, uint64_t offset, const Shape& shape, Dtype dtype, bool swapped) {
  require_bytes(
      *source, offset, checked_multiply("load", checked_size("load", shape), size_of(dtype)));
  return std::make_shared<LoadElements>(source, offset, OutputSpec{shape, dtype}, swapped);
}

} // namespace

array load_array(
    const SourceRef& source,
    uint64_t offset,
    const Shape& shape,
    Dtype dtype,
    bool swapped,
    StreamOrDevice s) {
  return Load::arrays_of(element_load(source, offset, shape, dtype, swapped), s)[0];
}

array read_array(const SourceRef& source, uint64_t offset, const Shape& shape, Dtype dtype) {
  return element_load(source, offset, shape, dtype, false)
      ->decompose({}, default_stream({Device::Type::cpu, 0}))[0];
}

int64_t bytes_of_block(BlockFormat format) {
  return layout_of(format).bytes;
}

int bits_of(BlockFormat format) {
  return layout_of(format).bits;
}

QuantizedArrays load_blocks(
    const SourceRef& source,
    uint64_t offset,
    const Shape& shape,
    BlockFormat format,
    StreamOrDevice s) {
  const int64_t elements = checked_size("load", shape);
  if (shape.empty() || shape[shape.size() - 1] % kBlockElements != 0) {
    fail<ValueError>(
        "[load] ",
        source->name(),
        " has quantized blocks of shape ",
        to_string(shape),
        ", expected a last dimension that is a multiple of ",
        kBlockElements,
        ".");
  }
  require_bytes(
      *source,
      offset,
      checked_multiply("load", elements / kBlockElements, layout_of(format).bytes));
  Shape blocks = shape;
  blocks[blocks.size() - 1] /= kBlockElements;
  Shape words = blocks;
  words[words.size() - 1] *= bits_of(format);
  const std::vector<OutputSpec> outputs = {{words, uint32}, {blocks, float16}, {blocks, float16}};
  std::vector<array> arrays =
      Load::arrays_of(std::make_shared<LoadBlocks>(source, offset, outputs, format), s);
  return {arrays[0], arrays[1], arrays[2]};
}

} // namespace narrows
