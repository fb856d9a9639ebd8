// Checks of files that hold several arrays by name.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "narrows/core/errors.h"

namespace narrows {

// Where an array lies in the data of a file.
struct NamedPart {
  std::string name;
  uint64_t begin;
  uint64_t end;
};

// ValueError if two arrays share bytes.
inline void require_disjoint(const std::string& file, std::vector<NamedPart> parts) {
  std::sort(parts.begin(), parts.end(), [](const NamedPart& a, const NamedPart& b) {
    return a.begin < b.begin || (a.begin == b.begin && a.end < b.end);
  });
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].begin < parts[i - 1].end) {
      fail<ValueError>(
          "[load] ",
          file,
          ": the arrays ",
          parts[i - 1].name,
          " and ",
          parts[i].name,
          " lie in the same bytes.");
    }
  }
}

} // namespace narrows
