// Library threads when OpenMP is there: the number is a property of the calling thread.
#include <omp.h>

#include <algorithm>

#include "core/threads.h"

namespace lockstep {

void set_library_threads(int threads) { omp_set_num_threads(std::max(threads, 1)); }

int library_threads() { return omp_get_max_threads(); }

}  // namespace lockstep
