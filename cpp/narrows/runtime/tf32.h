// Whether devices may multiply float32 numbers in a shorter format, for the process and for a
// scope.
#pragma once

#include <cstdint>

namespace narrows {

// Whether float32 products, convolutions and attention of this thread's evaluations may use TF32,
// the format of tensor cores with a mantissa of 10 bits: as its innermost scope says, else as the
// process says, else as NARROWS_ENABLE_TF32 or MLX_ENABLE_TF32 says (0: no), else yes.
bool tf32_enabled();

// Sets it for the process. Returns the previous value.
bool set_tf32(bool on);

// Sets it for this thread while it lives.
class Tf32Scope {
 public:
  explicit Tf32Scope(bool on);
  ~Tf32Scope();
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;

 private:
  int8_t previous_;
};

} // namespace narrows
