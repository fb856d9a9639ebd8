// The format .gguf: named arrays, and values by name.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "narrows/io/sink.h"
#include "narrows/io/source.h"
#include "narrows/ops/common.h"

namespace narrows {

// A text, a list of texts, or numbers: an array of no or one dimension.
using GgufValue = std::variant<std::string, std::vector<std::string>, array>;

struct Gguf {
  std::map<std::string, array> arrays;
  std::map<std::string, GgufValue> metadata;
};

// Arrays of types Q4_0, Q4_1 and Q8_0 become three arrays: the packed numbers, and `x.scales` and
// `x.biases` beside `x` or `x.weight` (load.h). ValueError for a damaged file, for other quantized
// types, and for values that are lists of lists.
Gguf load_gguf(const SourceRef& source, StreamOrDevice s = {});

// Evaluates the arrays and writes version 3 of the format. ValueError for dtypes that the format
// does not have (bool, unsigned integers, complex64), and for metadata of more than one dimension.
void save_gguf(Sink& sink, const Gguf& content);

// The same for a path. Its file is replaced in one step. std::system_error if that fails.
void save_gguf(const std::string& path, const Gguf& content);

} // namespace narrows
