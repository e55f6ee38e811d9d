// Names and OpenMP widths of worker threads.
#pragma once

#include <string>

namespace lockstep {

/// Names the calling thread for debuggers; the first 15 characters count.
void name_this_thread(const std::string& name);

/// Sets how many OpenMP threads library calls made from the calling thread may use, at least 1. Builds
/// without OpenMP have one thread and ignore it.
void set_library_threads(int threads);

/// How many OpenMP threads library calls made from the calling thread may use.
[[nodiscard]] int library_threads();

}  // namespace lockstep
