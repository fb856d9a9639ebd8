# Writes the texts of FILES to OUTPUT, as the list that backend/gpu/kernel_headers.h declares. A
# header is found by its name alone. If NVRTC is set, the list is for a compiler that has no headers
# of its own.
#
#   cmake -DFILES=... -DOUTPUT=... -DNVRTC=... -P embed_kernel_headers.cmake

set(text "#include \"narrows/backend/gpu/kernel_headers.h\"\n
namespace narrows::gpu {\n
const KernelHeader kKernelHeaders[] = {\n")
if(NVRTC)
  string(APPEND text "    {\"cstdint\", \"\"}, // compat/nvrtc.h has its types
    {\"metal_compat.h\", \"#pragma once\\n#include \\\"nvrtc.h\\\"\\n\"},\n")
endif()
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  file(READ ${file} content)
  string(APPEND text "    {\"${name}\", R\"narrows(${content})narrows\"},\n")
endforeach()
string(APPEND text "};
const size_t kKernelHeaderCount = sizeof(kKernelHeaders) / sizeof(kKernelHeaders[0]);\n
} // namespace narrows::gpu\n")
file(WRITE ${OUTPUT} "${text}")
