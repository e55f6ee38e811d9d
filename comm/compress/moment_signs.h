// Signs of Adam's first moment, two-shot with error feedback on both sides (1-bit Adam, Tang et al., ICML
// 2021). In exact steps gradients are summed exactly; in the others ranks send, one bit an element,
//
//   p = beta m + (1 - beta) g_i + residual;   m = mean of what was sent
//
// and what comes back is m itself. The rate stays outside: momenta do not carry it. An exact step leaves the
// residuals as they are.
#pragma once

#include "comm/compress/two_shot.h"

namespace lockstep::comm {

class MomentSigns final : public TwoShot {
 public:
  struct Kind {
    MomentumKind momentum;  ///< average or refreshed
    Start start;
  };
  MomentSigns(const CompressorContext& context, const Kind& kind);

  [[nodiscard]] std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const override;
  [[nodiscard]] MomentumKind momentum() const noexcept override { return kind_.momentum; }
  [[nodiscard]] Start start() const noexcept override { return kind_.start; }

 private:
  [[nodiscard]] float take() const { return 1.0f - context().momentum; }
  [[nodiscard]] Units units(const StepNumbers& numbers) const override;
  void settle_more(Stream& stream) override;
  void average(const Turn& turn) override;
  void sum_exactly(const Turn& turn);
  void save_more(StateWriter& writer) const override;
  void load_more(const StateReader& reader) override;
  void carry_more(const StateReader& reader, float share) override;

  Kind kind_;
  Remembered moment_;  ///< m, the same on every rank
};

}  // namespace lockstep::comm
