// Run-time choice of the instruction set for hot loops, without -march=native: the compiler makes one clone
// of the function per set and the loader picks. Clones give equal bits as long as the loop fixes its own
// order of operations, because products and sums are never contracted (-ffp-contract=off). CMake sets
// LOCKSTEP_TARGET_CLONES to 0 where the compiler or a sanitizer cannot do it; Clang (clang-tidy reads GCC's
// flags) does without.
#pragma once

#if LOCKSTEP_TARGET_CLONES && !defined(__clang__)
#define LOCKSTEP_HOT_LOOP __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LOCKSTEP_HOT_LOOP
#endif
