// The format .safetensors: named arrays, and texts by name.
#pragma once

#include <map>
#include <string>

#include "narrows/io/sink.h"
#include "narrows/io/source.h"
#include "narrows/ops/common.h"

namespace narrows {

struct Safetensors {
  std::map<std::string, array> arrays;
  std::map<std::string, std::string> metadata;
};

// ValueError for a damaged file, and for types that arrays do not have. F8_E4M3 is read as uint8.
Safetensors load_safetensors(const SourceRef& source, StreamOrDevice s = {});

// Evaluates the arrays and writes them, in the order of their names.
void save_safetensors(Sink& sink, const Safetensors& content);

// The same for a path. Its file is replaced in one step. std::system_error if that fails.
void save_safetensors(const std::string& path, const Safetensors& content);

} // namespace narrows
