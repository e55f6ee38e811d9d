// Library threads in builds without OpenMP: always one.
#include "core/threads.h"

namespace lockstep {

void set_library_threads(int /*threads*/) {}

int library_threads() { return 1; }

}  // namespace lockstep
