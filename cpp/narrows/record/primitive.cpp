#include "narrows/record/primitive.h"

#include "narrows/plan/placement.h"
#include "narrows/record/array.h"

namespace narrows {
namespace {

[[noreturn]] void fail_rule(const Primitive& primitive, const char* rule) {
  fail<ValueError>("[", primitive.name(), "] there is no ", rule, " of this operation.");
}

} // namespace

std::vector<array> Recorded::again(std::span<const array> with) const {
  return record(primitive, stream, specs_of(outputs), with);
}

void Primitive::place(Placement& placement) const {
  for (uint32_t i = 0; i < placement.output_count(); ++i) {
    placement.allocate(i);
  }
}

std::vector<array> Primitive::vjp(const Recorded&, std::span<const array>) const {
  fail_rule(*this, "derivative (vjp)");
}

std::vector<array> Primitive::jvp(const Recorded&, std::span<const array>) const {
  fail_rule(*this, "derivative (jvp)");
}

std::vector<array> Primitive::vmap(
    const Recorded&, std::span<const array>, const std::vector<bool>&, int64_t) const {
  fail_rule(*this, "batched form (vmap)");
}

std::optional<Inlined> Primitive::inlined(std::span<const array>) const {
  return std::nullopt;
}

} // namespace narrows
