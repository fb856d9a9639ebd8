// Apple's Metal compiler (MSL 3.1 or later, for bfloat).
#pragma once

#include <metal_atomic>
#include <metal_simdgroup>
#include <metal_simdgroup_matrix>
#include <metal_stdlib>
using namespace metal;

#define METAL_HAS_FLOAT64 0

#ifndef METAL_FUNC
#define METAL_FUNC inline __attribute__((__always_inline__))
#endif
#define METAL_UNROLL _Pragma("clang loop unroll(full)")
#define METAL_ROLLED _Pragma("clang loop unroll(disable)")

#define THREADGROUP_ARRAY(T, name, dims) threadgroup T name dims

#define INSTANTIATE_KERNEL(host_name_, fn, ...) \
  template [[host_name(host_name_)]] kernel decltype(fn<__VA_ARGS__>) fn<__VA_ARGS__>;
#define REGISTER_KERNEL(fn)
