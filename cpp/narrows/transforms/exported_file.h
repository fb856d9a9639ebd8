// The file format of exported functions.
//
// Numbers are little-endian. A string is a count of bytes (u32) and the bytes; a list is a count of
// items (u32) and the items; a shape is a list of i64; what an array is, is its dtype (u8, by
// the order of enum Dtype) and its shape.
//
//   magic        8 bytes, "narrowsf"
//   version      u32
//   metadata     string
//   constants    list of: what the array is, its elements in row-major order
//   graphs       list of:
//     shapeless  u8, 0 or 1
//     arguments  list of what they are
//     keywords   list of strings: the names of the last arguments, ascending
//     constants  list of u32: which of the file's constants it has
//     nodes      list of:
//       name     string
//       attributes  list of: name (string), whether it is printed (u8), type (u8, by the order of
//                   AttributeValue), value
//       inputs   list of u32: values, numbered as in exported_graph.h
//       outputs  list of what they are
//     outputs    list of u32: values
#pragma once

#include <istream>

#include "narrows/io/sink.h"
#include "narrows/transforms/exported_graph.h"

namespace narrows {

struct ExportedFile {
  std::string metadata;
  std::vector<ExportedGraph> graphs;
};

// Evaluates the constants. Those that graphs share are written once.
void write_exported(Sink& sink, const ExportedFile& file);

// Reads `bytes` bytes. ValueError for anything that write_exported() cannot have written, as far as
// calling a graph relies on it; nothing is allocated that the file is too short to fill.
ExportedFile read_exported(std::istream& stream, uint64_t bytes);

} // namespace narrows
