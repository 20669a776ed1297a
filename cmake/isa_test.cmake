# A weak symbol in a v3 or v4 object may be linked in place of the baseline's and kill the process on an older machine.
# Meant for optimised builds: sanitizers keep every inline function out of line, and their binaries never leave the builder.
if(NOT SCIFLOW_X86 OR SCIFLOW_SANITIZE OR NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  return()
endif()
foreach(isa v3 v4)
  add_test(
    NAME isa_symbols_${isa}
    COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DOBJECT=$<TARGET_OBJECTS:sciflow_kernels_${isa}> -P ${CMAKE_CURRENT_LIST_DIR}/isa_symbols.cmake)
endforeach()
