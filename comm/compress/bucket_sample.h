// Compares what came back for a few elements of a bucket with their true sum over ranks.
#pragma once

#include "comm/compress/compressor.h"

namespace lockstep::comm {

class BucketSample {
 public:
  /// Collective, enqueues: the true sum of the sampled elements of `gradients`, before they are averaged.
  void take(const Group& group, FlatSpan gradients, Collectives& collectives, Stream& stream);
  /// Enqueues: fills in error and cosine of `report`, which must outlive the work, from what came back.
  void judge(FlatSpan gradients, BucketReport& report, Stream& stream);

 private:
  FlatArray places_, truth_, seen_;
};

}  // namespace lockstep::comm
