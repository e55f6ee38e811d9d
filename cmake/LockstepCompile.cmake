# How every target of the project is compiled.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(lockstep_compile INTERFACE)
target_include_directories(lockstep_compile INTERFACE "${PROJECT_SOURCE_DIR}")
# No fused multiply-add: two ranks that add the same numbers must get the same bits.
target_compile_options(
  lockstep_compile
  INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wnon-virtual-dtor
            # Designated initialisers leave the rest at their defaults on purpose.
            -Wno-missing-field-initializers
            -ffp-contract=off
            # Nobody reads errno after sqrt, and setting it keeps loops from becoming vector code.
            -fno-math-errno>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 mistakes inlined std::string assignments for overlapping copies (GCC bug 105329).
  target_compile_options(lockstep_compile INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
target_compile_definitions(lockstep_compile INTERFACE LOCKSTEP_VERSION="${PROJECT_VERSION}")
if(LOCKSTEP_WERROR)
  target_compile_options(lockstep_compile INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()

if(LOCKSTEP_SANITIZE STREQUAL "address")
  set(sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
elseif(LOCKSTEP_SANITIZE STREQUAL "thread")
  set(sanitize_flags -fsanitize=thread -fno-omit-frame-pointer)
elseif(LOCKSTEP_SANITIZE)
  message(FATAL_ERROR "LOCKSTEP_SANITIZE is '${LOCKSTEP_SANITIZE}'; it takes 'address', 'thread' or nothing")
endif()
if(sanitize_flags)
  target_compile_options(lockstep_compile INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${sanitize_flags}>)
  target_link_options(lockstep_compile INTERFACE ${sanitize_flags})
endif()

# core/cpu_dispatch.h: clones of hot loops per instruction set, chosen at load time. The resolvers run before a sanitizer's
# run-time is ready, so sanitized builds have one version.
include(CheckCXXSourceCompiles)
check_cxx_source_compiles(
  "__attribute__((target_clones(\"arch=x86-64-v4\", \"arch=x86-64-v3\", \"default\"))) int twice(int x) { return 2 * x; }
   int main() { return twice(0); }"
  LOCKSTEP_HAS_TARGET_CLONES)
if(LOCKSTEP_HAS_TARGET_CLONES AND NOT LOCKSTEP_SANITIZE AND NOT LOCKSTEP_COVERAGE)
  target_compile_definitions(lockstep_compile INTERFACE LOCKSTEP_TARGET_CLONES=1)
else()
  target_compile_definitions(lockstep_compile INTERFACE LOCKSTEP_TARGET_CLONES=0)
endif()

if(LOCKSTEP_COVERAGE)
  target_compile_options(lockstep_compile INTERFACE $<$<COMPILE_LANGUAGE:CXX>:--coverage -fprofile-update=atomic>)
  target_link_options(lockstep_compile INTERFACE --coverage)
endif()
if(LOCKSTEP_TIDY)
  find_program(LOCKSTEP_CLANG_TIDY clang-tidy REQUIRED)
  set(CMAKE_CXX_CLANG_TIDY "${LOCKSTEP_CLANG_TIDY}")
endif()

# What most of the library's files include, read once a folder in sanitized builds. The other presets see that each file includes
# what it uses.
function(lockstep_precompile_headers target)
  if(LOCKSTEP_SANITIZE)
    target_precompile_headers(
      ${target}
      PRIVATE
      <algorithm>
      <array>
      <chrono>
      <cmath>
      <cstdint>
      <filesystem>
      <fstream>
      <functional>
      <map>
      <memory>
      <mutex>
      <optional>
      <span>
      <string>
      <vector>
      <spdlog/fmt/fmt.h>)
    # A compiler cache reads what it is given with the precompiled header named in it.
    target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fpch-preprocess>)
  endif()
endfunction()

# lockstep_join_sources(target 8 c.cpp ...): compiles the target's sources eight at once, but for those given: they have own names (a
# part's kSettings, a helper) that others have too.
function(lockstep_join_sources target batch)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${batch})
endfunction()

# lockstep_library(core SOURCES a.cpp b.cpp [ALONE c.cpp] LINKS lockstep_core ...): the one target of a folder.
function(lockstep_library room)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS;PRIVATE_LINKS;ALONE" ${ARGN})
  add_library(lockstep_${room} STATIC ${arg_SOURCES} ${arg_ALONE})
  add_library(lockstep::${room} ALIAS lockstep_${room})
  target_link_libraries(lockstep_${room} PUBLIC lockstep_compile ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS})
  lockstep_precompile_headers(lockstep_${room})
  if(LOCKSTEP_JOIN_LIBRARY)
    lockstep_join_sources(lockstep_${room} 8 ${arg_ALONE})
  endif()
endfunction()
