# What `cmake --install` installs where: the library, headers, the CMake package, and the shared
# libraries that narrows links. A wheel has the same below narrows/, beside the Python files.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(SKBUILD)
  set(NARROWS_INSTALL_PREFIX narrows/)
  set(NARROWS_INSTALL_LIBDIR narrows/lib)
else()
  set(NARROWS_INSTALL_PREFIX "")
  set(NARROWS_INSTALL_LIBDIR ${CMAKE_INSTALL_LIBDIR})
endif()
set(narrows_include_dir ${NARROWS_INSTALL_PREFIX}include)
set(narrows_package_dir ${NARROWS_INSTALL_PREFIX}share/cmake/narrows)

install(TARGETS narrows EXPORT narrowsTargets DESTINATION ${NARROWS_INSTALL_LIBDIR})
if(NARROWS_CUDA)
  install(TARGETS narrows_cuda DESTINATION ${NARROWS_INSTALL_LIBDIR})
endif()
target_include_directories(narrows INTERFACE $<INSTALL_INTERFACE:${narrows_include_dir}>)
install(
  DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/narrows
  DESTINATION ${narrows_include_dir}
  FILES_MATCHING
  PATTERN "*.h"
  PATTERN "*.def"
  PATTERN backend EXCLUDE)
install(
  FILES ${PROJECT_SOURCE_DIR}/metal_kernels/elementwise.def
        ${PROJECT_SOURCE_DIR}/metal_kernels/families.def
  DESTINATION ${narrows_include_dir}/metal_kernels)
install(EXPORT narrowsTargets NAMESPACE narrows:: DESTINATION ${narrows_package_dir})
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/narrowsConfig.cmake.in ${PROJECT_BINARY_DIR}/narrowsConfig.cmake
  INSTALL_DESTINATION ${narrows_package_dir})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/narrowsConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
  FILES ${PROJECT_BINARY_DIR}/narrowsConfig.cmake ${PROJECT_BINARY_DIR}/narrowsConfigVersion.cmake
  DESTINATION ${narrows_package_dir})

if(NARROWS_METAL)
  install(FILES ${NARROWS_METALLIB} DESTINATION ${NARROWS_INSTALL_LIBDIR})
endif()

# Installs a shared library under the name that the loader asks for, without symbolic links: a wheel
# would contain a copy for each.
function(narrows_bundle path)
  file(REAL_PATH ${path} real_path)
  execute_process(
    COMMAND ${CMAKE_OBJDUMP} -p ${real_path}
    OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
  if(NOT headers MATCHES "SONAME +([^\n ]+)")
    message(FATAL_ERROR "${path} has no SONAME: it cannot be installed beside narrows")
  endif()
  install(FILES ${real_path} DESTINATION ${NARROWS_INSTALL_LIBDIR} RENAME ${CMAKE_MATCH_1})
endfunction()

if(NARROWS_BUNDLE_LIBRARIES AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
  foreach(library IN LISTS NARROWS_BLAS_SHARED_LIBRARIES)
    narrows_bundle(${library})
  endforeach()
  install(FILES ${NARROWS_BLAS_LICENSES} DESTINATION ${NARROWS_INSTALL_PREFIX}share/licenses)
  # OpenMP's run time is part of the compiler. A machine without a compiler may lack it.
  execute_process(
    COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libgomp.so.1
    OUTPUT_VARIABLE libgomp
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(IS_ABSOLUTE "${libgomp}" AND EXISTS "${libgomp}")
    narrows_bundle(${libgomp})
  endif()
endif()
