# kernels.cpp is compiled once for each instruction set that the engine chooses from at run time. Each build knows its
# own name as SCIFLOW_ISA. A later -march replaces the baseline's.
#
# The order matters: should two of them hold the same inline function out of a shared header, the linker keeps the first,
# so the first must be the one that every machine can run. ctest's isa_symbols checks that none do.
function(sciflow_add_kernels isa)
  add_library(sciflow_kernels_${isa} OBJECT codecs/kernels.cpp)
  target_include_directories(sciflow_kernels_${isa} PRIVATE codecs)
  target_compile_definitions(sciflow_kernels_${isa} PRIVATE SCIFLOW_ISA=${isa})
  target_compile_options(sciflow_kernels_${isa} PRIVATE -O3 -fno-math-errno ${ARGN})
  target_link_libraries(sciflow_kernels_${isa} PRIVATE sciflow_warnings)
  target_compile_options(sciflow_kernels_${isa} PRIVATE -Wno-psabi) # vectors stay within kernels.cpp
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(sciflow_kernels_${isa} PRIVATE -Wno-maybe-uninitialized # its own AVX-512 header: GCC bug 105593
                           -Wno-ignored-attributes)
  endif()
  target_sources(sciflow_engine PRIVATE $<TARGET_OBJECTS:sciflow_kernels_${isa}>)
endfunction()

if(SCIFLOW_X86)
  sciflow_add_kernels(v2 -march=x86-64-v2)
  sciflow_add_kernels(v3 -march=x86-64-v3)
  sciflow_add_kernels(v4 -march=x86-64-v4 -mprefer-vector-width=512)
else()
  sciflow_add_kernels(base)
endif()
