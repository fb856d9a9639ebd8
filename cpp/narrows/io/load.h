// Arrays whose elements lie in a source. They are read when the array is evaluated, straight into
// its memory. Until then the array takes no memory.
#pragma once

#include "narrows/io/source.h"
#include "narrows/ops/common.h"

namespace narrows {

// The elements lie at `offset`, row-major. `swapped`: their bytes are not in the machine's order. A
// source that does not last is read at once. The array is recorded for the given stream; the CPU
// reads. ValueError if the source does not have the bytes.
array load_array(
    const SourceRef& source,
    uint64_t offset,
    const Shape& shape,
    Dtype dtype,
    bool swapped = false,
    StreamOrDevice s = {});

// The same, read at once.
array read_array(const SourceRef& source, uint64_t offset, const Shape& shape, Dtype dtype);

// Quantized blocks of 32 elements: GGUF's Q4_0 (a scale, 4-bit numbers from -8 on), Q4_1 (a scale,
// a bias, 4-bit numbers) and Q8_0 (a scale, 8-bit numbers from -128 on).
enum class BlockFormat : uint8_t { q4_0, q4_1, q8_0 };

inline constexpr int64_t kBlockElements = 32;
// Bits of an element of such a block, and bytes of a block.
int64_t bytes_of_block(BlockFormat format);
int bits_of(BlockFormat format);

// The parts that elements of such blocks are made of: numbers, scales * numbers + biases.
struct QuantizedArrays {
  array numbers; // uint32 (..., elements * bits / 32); the first number of a word is in its lowest
                 // bits
  array scales;  // float16 (..., elements / 32)
  array biases;  // float16 (..., elements / 32)
};

// `shape` is that of the elements; the last dimension is a multiple of 32.
QuantizedArrays load_blocks(
    const SourceRef& source,
    uint64_t offset,
    const Shape& shape,
    BlockFormat format,
    StreamOrDevice s = {});

} // namespace narrows
