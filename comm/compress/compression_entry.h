// What Compression keeps of each bucket; for its own files.
#pragma once

#include <memory>
#include <vector>

#include "comm/compress/bucket_sample.h"
#include "comm/compress/compression.h"

namespace lockstep::comm {

/// One bucket: its groups, and the slots that are summed exactly.
struct Compression::Entry {
  std::vector<std::unique_ptr<Compressor>> groups;
  std::vector<const Slot*> exact;
  FlatArray exact_values;     ///< the exact slots, one behind the other
  Remembered exact_momentum;  ///< of the same, where compressors replace the optimizer's momentum
  BucketSample sample;
  BucketReport report;
  std::int64_t traffic_before = 0;
  double began_s = 0, ended_s = 0;
};

}  // namespace lockstep::comm
