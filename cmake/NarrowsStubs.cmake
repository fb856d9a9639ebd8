# Type stubs of the Python module. They are generated from the module once it is built.

find_package(Python REQUIRED COMPONENTS Interpreter)
set(narrows_stubs_dir ${PROJECT_BINARY_DIR}/stubs)
nanobind_add_stub(
  narrows_stubs
  MODULE narrows.core
  RECURSIVE
  PATTERN_FILE ${PROJECT_SOURCE_DIR}/python/stubs.pat
  PYTHON_PATH ${PROJECT_BINARY_DIR}/python
  OUTPUT_PATH ${narrows_stubs_dir}
  OUTPUT ${narrows_stubs_dir}/core/__init__.pyi
  MARKER_FILE ${narrows_stubs_dir}/py.typed
  DEPENDS narrows_python)
install(
  DIRECTORY ${narrows_stubs_dir}/
  DESTINATION narrows
  COMPONENT python
  FILES_MATCHING
  PATTERN "*.pyi"
  PATTERN py.typed)
