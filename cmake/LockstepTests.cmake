# How tests are compiled and registered.

# What is tested is optimised and checked in its own target; the tests themselves only cost time to compile. Under AddressSanitizer,
# whether each pointer they follow is null, aligned and of the right class, and whether their own locals still live, is left out.
add_library(lockstep_test_compile INTERFACE)
target_compile_options(lockstep_test_compile INTERFACE -O0)
if(LOCKSTEP_SANITIZE STREQUAL "address")
  target_compile_options(lockstep_test_compile INTERFACE -fno-sanitize=null,alignment,vptr -fno-sanitize-address-use-after-scope)
endif()

# Makes `gpu_tests` build the program when its labels say so, and gives it CUDA's headers.
function(lockstep_count_gpu_test name labels)
  if("gpu" IN_LIST labels)
    add_dependencies(gpu_tests test_${name})
    target_link_libraries(test_${name} PRIVATE CUDA::cudart)
  endif()
endfunction()

# lockstep_test(name SOURCES a_test.cpp LINKS lockstep::core [LABELS sanitize] [ALONE b_test.cpp] [ONE_THREAD a_test.cpp]): one
# GoogleTest program; ctest sees its cases.
# Label `sanitize` puts it into the asan preset, `threads` into tsan's; label `gpu` keeps it out of every preset but cuda's (its cases skip
# themselves where there is no GPU).
# Sources whose tests start no thread show ThreadSanitizer nothing: listed under ONE_THREAD, they are not in its program.
function(lockstep_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS;LABELS;ALONE;ONE_THREAD" ${ARGN})
  if(LOCKSTEP_SANITIZE STREQUAL "thread" AND arg_ONE_THREAD)
    list(REMOVE_ITEM arg_SOURCES ${arg_ONE_THREAD})
    list(REMOVE_ITEM arg_ALONE ${arg_ONE_THREAD})
  endif()
  add_executable(test_${name} ${arg_SOURCES} ${arg_ALONE} ${PROJECT_SOURCE_DIR}/tests/support/sanitizers.cpp)
  target_link_libraries(test_${name} PRIVATE ${arg_LINKS} GTest::gtest GTest::gtest_main lockstep_test_compile)
  target_compile_definitions(test_${name} PRIVATE LOCKSTEP_SHARED_DATA="${PROJECT_SOURCE_DIR}/../shared/data")
  if("sanitize" IN_LIST arg_LABELS)
    add_dependencies(sanitize_tests test_${name})
  endif()
  if("threads" IN_LIST arg_LABELS)
    add_dependencies(thread_tests test_${name})
  endif()
  lockstep_count_gpu_test(${name} "${arg_LABELS}")
  if(LOCKSTEP_JOIN_TESTS)
    lockstep_join_sources(test_${name} 12 ${arg_ALONE})
  endif()
  lockstep_register_cases(test_${name} "${arg_LABELS}")
endfunction()

# ctest sees every case of the program; under a sanitizer, whose processes start slowly, shares of it.
function(lockstep_register_cases program labels)
  if(LOCKSTEP_SANITIZE)
    lockstep_register_shares(${program} "${labels}")
    return()
  endif()
  # gtest_discover_tests takes a list apart and would keep one label of several. Joined they are found alike: ctest searches.
  # An empty list would make a label of the next word.
  string(JOIN "," joined ${labels})
  set(properties TIMEOUT 300)
  if(joined)
    list(APPEND properties LABELS "${joined}")
  endif()
  gtest_discover_tests(${program} DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
endfunction()

# A share is every fourth case, in one process, so that several cores are busy to the end. It counts as skipped when each of its cases
# was and none failed, nor a sanitizer at exit: nothing may follow GoogleTest's list.
function(lockstep_register_shares program labels)
  set(shares 4)
  math(EXPR last "${shares} - 1")
  foreach(share RANGE ${last})
    set(test ${program}.share_${share}_of_${shares})
    add_test(NAME ${test} COMMAND ${program})
    set_tests_properties(
      ${test}
      PROPERTIES LABELS "${labels}"
                 TIMEOUT 1200
                 ENVIRONMENT "GTEST_TOTAL_SHARDS=${shares};GTEST_SHARD_INDEX=${share}"
                 SKIP_REGULAR_EXPRESSION
                 "\\[  PASSED  \\] 0 tests.\n\\[  SKIPPED \\] [0-9]+ tests?, listed below:\n(\\[  SKIPPED \\] [^\n]*\n)+$")
  endforeach()
endfunction()

# What mpirun is told in a test; it gets a directory of its own, for those that start and end at once would take a common one from
# each other.
function(lockstep_mpi_properties test ranks)
  set_tests_properties(
    ${test}
    PROPERTIES
      LABELS "mpi;${ARGN}"
      TIMEOUT 300
      PROCESSORS ${ranks}
      ENVIRONMENT
      "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_mpi_yield_when_idle=1;OMP_NUM_THREADS=1;OMPI_MCA_orte_tmpdir_base=${CMAKE_CURRENT_BINARY_DIR}/${test}"
  )
endfunction()

# lockstep_mpi_test(name RANKS 1 2 3 4 SOURCES ... LINKS ...): one program, run whole under mpirun once per rank count. Its main
# must initialise MPI (tests/support/mpi_main.cpp).
function(lockstep_mpi_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS;LABELS;RANKS;ALONE" ${ARGN})
  add_executable(test_${name} ${arg_SOURCES} ${arg_ALONE})
  target_link_libraries(test_${name} PRIVATE ${arg_LINKS} GTest::gtest lockstep_test_compile)
  if(LOCKSTEP_JOIN_TESTS)
    lockstep_join_sources(test_${name} 12 ${arg_ALONE})
  endif()
  lockstep_count_gpu_test(${name} "${arg_LABELS}")
  foreach(ranks IN LISTS arg_RANKS)
    add_test(NAME mpi.${name}.${ranks} COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none -n ${ranks}
                                               $<TARGET_FILE:test_${name}>)
    lockstep_mpi_properties(mpi.${name}.${ranks} ${ranks} ${arg_LABELS})
  endforeach()
endfunction()
