// The two-shot exchange of a group that lies in the gradient array in one piece, where ranks map each other's
// memory: every rank encodes the others' chunks straight from the array into the owners' memory, the owner
// sums its chunk and writes the mean's payload to all, who decode it into the array. Nothing is packed,
// copied or sent as a message. The bits are those of messages.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/compress/codec.h"
#include "comm/compress/compressor.h"

namespace lockstep::comm {

class StraightTwoShot {
 public:
  /// Collective, blocks. Null on every rank where this does not suit the group, the codec or the transport.
  [[nodiscard]] static std::unique_ptr<StraightTwoShot> make(const CompressorContext& context,
                                                             const Codec& codec,
                                                             const std::vector<Range>& chunks);

  /// Collective, enqueues. The group's part of `gradients` becomes ranks * the mean. False: the array does
  /// not hold it as f32, and nothing was enqueued.
  [[nodiscard]] bool sum(FlatSpan gradients, FlatSpan nonfinite, const std::function<void(Phase)>& mark,
                         Stream& stream);

 private:
  StraightTwoShot(const CompressorContext& context, const Codec& codec, const std::vector<Range>& chunks,
                  std::int64_t first);
  void scatter(FlatSpan values, FlatSpan nonfinite, Stream& stream);
  void own(FlatSpan values, FlatSpan nonfinite, Stream& stream);
  void gather(FlatSpan values, Stream& stream);
  [[nodiscard]] FlatSpan part(FlatSpan values, int owner) const;
  [[nodiscard]] const Range& chunk(int owner) const { return chunks_[static_cast<std::size_t>(owner)]; }

  MappedMemory& mapped_;
  const Codec& codec_;
  std::vector<Range> chunks_;  ///< by owner
  int rank_, ranks_, bucket_;
  std::int64_t first_;  ///< of the gradient array
  Memory memory_;
  std::vector<FlatSpan> received_;  ///< by sender: payloads of the own chunk
  std::vector<FlatSpan> returned_;  ///< by owner: payloads of means
  std::vector<FlatSpan> there_;     ///< by owner: where this rank's payload is received
  std::vector<FlatSpan> targets_;   ///< where the others want the own chunk's mean
};

}  // namespace lockstep::comm
