// A few elements of a bucket before and after its exchange, beside their true sum over ranks.
#pragma once

#include <memory>
#include <vector>

#include "comm/compress/compressor.h"

namespace lockstep::comm {

class BucketSample {
 public:
  /// Collective, enqueues: remembers elements of the group and their true sum.
  void take(const Group& group, FlatSpan gradients, Collectives& collectives, Stream& stream);
  /// Enqueues: what came back for them, and the norm of the residuals (f32). The report holds once the stream
  /// has passed.
  [[nodiscard]] std::shared_ptr<const SampleReport> judge(FlatSpan gradients,
                                                          const std::vector<FlatSpan>& residuals,
                                                          Stream& stream);

 private:
  void make_room(const Group& group, Device device);

  FlatArray places_, truth_, seen_;
  std::vector<FlatArray> squares_;  ///< one f64 a residual
  Memory staging_;                  ///< truth, seen, then the squares, on the host
};

}  // namespace lockstep::comm
