// Window functions: vectors that fall off towards both ends, as float32.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// Of `m` elements, symmetric; [1] for one, none for fewer. With x = 2 pi n / (m - 1):
array bartlett(int64_t m, StreamOrDevice s = {}); // a triangle from 0 to 1 and back
array hanning(int64_t m, StreamOrDevice s = {});  // 0.5 - 0.5 cos(x)
array hamming(int64_t m, StreamOrDevice s = {});  // 0.54 - 0.46 cos(x)
array blackman(int64_t m, StreamOrDevice s = {}); // 0.42 - 0.5 cos(x) + 0.08 cos(2 x)

} // namespace narrows
