// The format .npy: one array.
#pragma once

#include "narrows/io/sink.h"
#include "narrows/io/source.h"
#include "narrows/ops/common.h"

namespace narrows {

// The array that begins at `offset` of the source. `end`, if given, is set to where it ends. Type
// V2 is read as bfloat16. ValueError for a damaged file, and for types that arrays do not have.
// open_source() makes a source of a path.
array load_npy(
    const SourceRef& source, uint64_t offset = 0, StreamOrDevice s = {}, uint64_t* end = nullptr);

// Evaluates the array and writes it.
void save_npy(Sink& sink, const array& a);

// The same for a path. Its file is replaced in one step. std::system_error if that fails.
void save(const std::string& path, const array& a);

} // namespace narrows
