# What texts of kernels include when they are compiled at run time.
include_guard(GLOBAL)

# Sets `output` to a source file with the text of these headers, and of further ones of
# metal_kernels/ that the compiler needs: "metal" or "nvrtc".
function(narrows_embed_kernel_headers output compiler)
  if(compiler STREQUAL "nvrtc")
    set(further compat/nvrtc.h compat/cuda_simd.h compat/types.h compat/rename.h compat/keywords.h)
    set(is_nvrtc ON)
  else()
    set(further metal_compat.h compat/msl.h)
    set(is_nvrtc OFF)
  endif()
  set(names
      common.h limits.h math.h elements.h functors.h walk.h combine.h elementwise.h arange.h
      arange_element.h sum_result.h ${further})
  list(TRANSFORM names PREPEND ${PROJECT_SOURCE_DIR}/metal_kernels/ OUTPUT_VARIABLE files)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/kernel_headers.cpp)
  set(script ${PROJECT_SOURCE_DIR}/cmake/embed_kernel_headers.cmake)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} "-DFILES=${files}" -DOUTPUT=${source} -DNVRTC=${is_nvrtc} -P ${script}
    DEPENDS ${files} ${script}
    COMMENT "Embedding the headers of kernels"
    VERBATIM)
  set(${output} ${source} PARENT_SCOPE)
endfunction()
