// Which operation of MPI adds up elements of a dtype, or finds the largest or smallest one.
#pragma once

#include "narrows/backend/mpi/library.h"
#include "narrows/core/kernel_families.h"

namespace narrows::mpi {

struct Reduction {
  Handle op;
  Handle type;
  int per_element; // how many of the type are one element
};

// Sums of bool say whether any is true. NaN is the largest and the smallest number. Complex numbers
// are ordered by their real parts, then by their imaginary parts.
Reduction reduction_of(Library& library, CollectiveOp op, Dtype dtype);

} // namespace narrows::mpi
