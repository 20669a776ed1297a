# Flags that every translation unit shares. Streams and reconstructions must be the same bits whatever compiled them:
# no contraction into fused multiply-adds and no fast-math, whatever CXXFLAGS say.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

if(NOT CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang|AppleClang)$")
  message(FATAL_ERROR "sciflow: found compiler ${CMAKE_CXX_COMPILER_ID}, expected GCC or Clang; set CXX=g++ or CXX=clang++")
endif()
if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
   OR (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14))
  message(FATAL_ERROR "sciflow: found ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, expected GCC >= 12 or Clang >= 14")
endif()
if(CMAKE_CXX_FLAGS MATCHES "-ffast-math|-Ofast|-funsafe-math-optimizations")
  # At link time they also make the whole process flush subnormals to zero.
  message(FATAL_ERROR "sciflow: CXXFLAGS has ${CMAKE_MATCH_0}, which changes decoded bits; build without it")
endif()

add_compile_options(-ffp-contract=off -fno-fast-math)

string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
if(processor MATCHES "^(x86_64|amd64)$")
  set(SCIFLOW_X86 ON)
  add_compile_options(-march=x86-64-v2)
endif()

if(SCIFLOW_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=address,undefined)
endif()

if(SCIFLOW_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "sciflow: SCIFLOW_FUZZ needs libFuzzer; found ${CMAKE_CXX_COMPILER_ID}, configure with CXX=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=address)
endif()

add_library(sciflow_warnings INTERFACE)
target_compile_options(sciflow_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion)
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC ivdep, and & and | between conditions where a branch would be slower.
  target_compile_options(
    sciflow_warnings INTERFACE -Wno-unknown-pragmas -Wno-bitwise-instead-of-logical -Wno-bitwise-conditional-parentheses)
elseif(SCIFLOW_SANITIZE)
  # GCC's flow analysis takes the sanitizers' own checks for reachable overruns.
  target_compile_options(sciflow_warnings INTERFACE -Wno-array-bounds -Wno-stringop-overflow -Wno-maybe-uninitialized)
endif()
