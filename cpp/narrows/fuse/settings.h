// Whether evaluations fuse: of the process, and of a scope.
#pragma once

#include <cstdint>

namespace narrows {

// Whether evaluations of this thread fuse: as its innermost scope says, else the process, else
// NARROWS_FUSION (0: no), else yes.
bool fusion_enabled();

// Of the process. Returns the previous value.
bool set_fusion(bool on);

// While it lives, it says so for this thread.
class FusionScope {
 public:
  explicit FusionScope(bool on);
  ~FusionScope();
  FusionScope(const FusionScope&) = delete;
  FusionScope& operator=(const FusionScope&) = delete;

 private:
  int8_t previous_;
};

} // namespace narrows
