// Something that is measured beside our schedules: a library's own all-reduce, or the bound that memory sets.
#pragma once

#include <functional>
#include <string>

#include "core/flat_span.h"
#include "core/stream.h"

namespace lockstep::comm {

struct Contender {
  std::string name;                        ///< "mpi_blocking"
  std::function<void(FlatSpan data)> run;  ///< called by every rank; blocks until `data` holds the sum here
  bool sums = true;                        ///< false: it only moves as many bytes
  /// On a GPU instead of `run`: enqueues.
  std::function<void(FlatSpan data, Stream& stream)> enqueue = {};
};

}  // namespace lockstep::comm
