// The checker's view: clang's "C++ for OpenCL" with the <metal_stdlib> of tools/msl_check, whose
// address spaces are those of Metal.
#pragma once

#include <metal_stdlib>
using namespace metal;

#define METAL_HAS_FLOAT64 0
#define METAL_UNROLL _Pragma("clang loop unroll(full)")
#define METAL_ROLLED _Pragma("clang loop unroll(disable)")

threadgroup void* msl_check_threadgroup_memory();
// A threadgroup variable cannot be declared in an ordinary function here; a reference can.
#define THREADGROUP_ARRAY(T, name, dims)             \
  typedef T msl_check_element_##name;                \
  __attribute__((annotate("msl_threadgroup_array"))) \
  threadgroup msl_check_element_##name(&name) dims = \
      *static_cast<threadgroup msl_check_element_##name(*) dims>(msl_check_threadgroup_memory())

// The search of the syntax tree needs each template once.
#if defined(METAL_COMPAT_MSL_CHECK_TEMPLATES)
#define INSTANTIATE_KERNEL(host_name_, fn, ...)
#else
#define INSTANTIATE_KERNEL(host_name_, fn, ...) template decltype(fn<__VA_ARGS__>) fn<__VA_ARGS__>;
#endif
#define REGISTER_KERNEL(fn)
