# Writes the texts of FILES to OUTPUT, as the list that backend/cuda/kernel_headers.h declares. A
# header is found by its name alone.
#
#   cmake -DFILES=... -DOUTPUT=... -P embed_kernel_headers.cmake

set(text "#include \"narrows/backend/cuda/kernel_headers.h\"\n
namespace narrows::cuda {\n
const KernelHeader kKernelHeaders[] = {
    {\"cstdint\", \"\"}, // compat/nvrtc.h has its types
    {\"metal_compat.h\", \"#pragma once\\n#include \\\"nvrtc.h\\\"\\n\"},\n")
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  file(READ ${file} content)
  string(APPEND text "    {\"${name}\", R\"narrows(${content})narrows\"},\n")
endforeach()
string(APPEND text "};
const size_t kKernelHeaderCount = sizeof(kKernelHeaders) / sizeof(kKernelHeaders[0]);\n
} // namespace narrows::cuda\n")
file(WRITE ${OUTPUT} "${text}")
