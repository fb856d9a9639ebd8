#include "narrows/record/primitive.h"

#include "narrows/plan/placement.h"
#include "narrows/record/array.h"

namespace narrows {

std::vector<array> Recorded::again(std::span<const array> with) const {
  return record(primitive, stream, specs_of(outputs), with);
}

std::vector<array> Recorded::decomposed(std::span<const array> with, const char* rule) const {
  std::vector<array> parts = primitive->decompose(with, stream);
  if (parts.empty()) {
    fail<ValueError>("[", primitive->name(), "] there is no ", rule, " of this operation.");
  }
  return parts;
}

void Primitive::place(Placement& placement) const {
  for (uint32_t i = 0; i < placement.output_count(); ++i) {
    placement.allocate(i);
  }
}

std::vector<array> Primitive::decompose(std::span<const array>, Stream) const {
  return {};
}

std::vector<array> Primitive::vjp(const Recorded&, std::span<const array>) const {
  return {};
}

std::vector<array> Primitive::jvp(const Recorded&, std::span<const array>) const {
  return {};
}

std::vector<array> Primitive::vmap(
    const Recorded&, std::span<const array>, const std::vector<bool>&, int64_t) const {
  return {};
}

} // namespace narrows
