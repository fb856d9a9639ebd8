# The symbols that a shared library exports to the rest of a process.
include_guard(GLOBAL)

# Makes `target` export only the symbols whose names, as the compiler writes them, match one of the
# patterns. Visibility does not suffice: libstdc++ declares its templates visible, and a compiler
# may link libstdc++ itself into the library. If another library in the process takes those for its
# own, two copies get mixed, which crashes.
function(narrows_export_only target)
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${target}_exports.txt)
  if(APPLE)
    list(TRANSFORM ARGN PREPEND "_" OUTPUT_VARIABLE lines)
    list(JOIN lines "\n" text)
    set(option -exported_symbols_list,${file})
  else()
    list(TRANSFORM ARGN APPEND "$<SEMICOLON>" OUTPUT_VARIABLE lines)
    list(JOIN lines "\n  " lines)
    set(text "{\n global:\n  ${lines}\n local:\n  *$<SEMICOLON>\n}$<SEMICOLON>")
    set(option --version-script=${file})
  endif()
  file(GENERATE OUTPUT ${file} CONTENT "${text}\n")
  target_link_options(${target} PRIVATE LINKER:${option})
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${file})
  # Exceptions pass from one of these libraries to another. So all of them use the one unwinder of
  # the process, even if the compiler would link a copy into each.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT APPLE)
    target_link_libraries(${target} PRIVATE gcc_s)
  endif()
endfunction()
