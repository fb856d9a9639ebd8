// How the calls for matrices run, and the scratch that they need.
#pragma once

#include "narrows/backend/cpu/matrix_calls.h"

namespace narrows::cpu {

struct MatrixCall {
  void (*run)(Dtype dtype, const MatrixParams& p, void* const* operands, void* scratch);
  int64_t (*scratch)(Dtype dtype, const MatrixParams& p);
};

// Families that compute by elimination.
extern const MatrixCall kCholesky;
extern const MatrixCall kDet;
extern const MatrixCall kSlogdet;
extern const MatrixCall kLuFactor;
extern const MatrixCall kLu;
extern const MatrixCall kQr;
extern const MatrixCall kSolve;
extern const MatrixCall kSolveTriangular;

} // namespace narrows::cpu
