// Two-shot averaging of dense payloads (1-bit SGD, 1-bit Adam, CGX, ZeRO++): every rank sends chunk j,
// encoded, to its owner j; the owner decodes and sums in f32 in rank order, encodes the mean once, and sends
// that to all. Each rank, the owner too, applies what it decodes from the wire, so replicas stay equal. Two
// roundings whatever the number of ranks; nothing is rounded again per hop.
//
// With error feedback the owner has a residual of its own: q = mean + residual; residual' = q - sent.
#pragma once

#include <memory>
#include <vector>

#include "comm/compress/straight.h"

namespace lockstep::comm {

class TwoShot : public Compressor {
 public:
  /// `return_codec` encodes the owner's mean; null: the same codec.
  TwoShot(const CompressorContext& context, bool feedback, std::unique_ptr<Codec> codec,
          std::unique_ptr<Codec> return_codec = nullptr);

  [[nodiscard]] bool plain() const noexcept override {
    return !feedback() && !return_codec_ && codec_->straight();
  }
  [[nodiscard]] std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const override;
  [[nodiscard]] FlatSpan owner_residual() const noexcept override;
  [[nodiscard]] std::int64_t owner_first() const noexcept override;

 protected:
  void average(const Turn& turn) override;
  bool average_in_place(FlatSpan gradients, FlatSpan nonfinite, Stream& stream) override;
  void restore_owner(std::span<const float> values) override;
  void settle_more(Stream& stream) override;

 private:
  [[nodiscard]] const Codec& back() const noexcept { return return_codec_ ? *return_codec_ : *codec_; }
  void make_wires();
  void scatter(const Turn& turn);
  void own(const Turn& turn);
  void gather(const Turn& turn);
  [[nodiscard]] Range own_chunk() const { return chunks_[static_cast<std::size_t>(context().rank)]; }

  std::unique_ptr<Codec> codec_, return_codec_;
  std::vector<Range> chunks_;                         ///< by owner
  std::vector<FlatSpan> sent_, received_, returned_;  ///< payloads by rank
  FlatArray wire_;
  std::unique_ptr<StraightTwoShot> straight_;
  Remembered owner_;
  FlatArray own_voids_;  ///< of the own chunk: the owner owes nothing there
};

}  // namespace lockstep::comm
