// Parameters of random_bits.
#pragma once

#include "limits.h"

// keys is (n_keys, 2) uint32, out is (n_keys, bytes_per_key) bytes; threefry2x32-20 counters.
struct RandomBitsParams {
  int64_t keys;
  int64_t bytes_per_key;
};
