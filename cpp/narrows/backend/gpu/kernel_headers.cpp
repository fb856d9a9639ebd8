#include "narrows/backend/gpu/kernel_headers.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <string_view>

namespace narrows::gpu {
namespace {

class Joiner {
 public:
  explicit Joiner(std::span<const KernelHeader> headers) : headers_(headers) {
  }

  std::string run(const std::string& text) {
    add(text);
    return std::move(joined_);
  }

 private:
  void add(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("#pragma once")) {
        continue;
      }
      const KernelHeader* header = included_by(line);
      if (!header) {
        joined_ += line + "\n";
      } else if (added_.insert(header).second) {
        add(header->text);
      }
    }
  }

  const KernelHeader* included_by(std::string_view line) const {
    constexpr std::string_view kStart = "#include \"";
    if (!line.starts_with(kStart)) {
      return nullptr;
    }
    std::string_view name = line.substr(kStart.size());
    name = name.substr(0, name.find('"'));
    name = name.substr(name.rfind('/') + 1); // from the beginning, if there is no directory
    const auto found = std::find_if(
        headers_.begin(), headers_.end(), [&](const auto& header) { return name == header.name; });
    return found == headers_.end() ? nullptr : &*found;
  }

  std::span<const KernelHeader> headers_;
  std::set<const KernelHeader*> added_;
  std::string joined_;
};

} // namespace

std::string with_headers(const std::string& text, std::span<const KernelHeader> headers) {
  return Joiner(headers).run(text);
}

} // namespace narrows::gpu
