// 1-bit Adam (Tang et al., ICML 2021), the compressing half; optimizer `onebit_adam` is the other. In the
// first freeze_steps steps gradients are summed exactly; afterwards the optimizer's second moment stands
// still and ranks send the first moment, one bit an element, two-shot with error feedback on both sides:
//
//   p = beta m + (1 - beta) g_i + residual;   m = mean of what was sent
//
// What comes back then is m itself, for exact slots too. The rate stays outside: momenta do not carry it.
#include "comm/compress/rows.h"
#include "comm/compress/two_shot.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

class OneBitAdam final : public TwoShot {
 public:
  explicit OneBitAdam(const CompressorContext& context)
      : TwoShot(context, true, make_codec({.kind = CodecKind::sign}, context.device)),
        moment_(context.verdict, Dtype::f32, context.group.count) {}

  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const override {
    if (!is_exact(step)) return TwoShot::stated_bytes(schedule, step);
    return exact_bytes(schedule);
  }
  MomentumKind momentum() const noexcept override { return MomentumKind::average; }

 private:
  [[nodiscard]] float take() const { return 1.0f - context().momentum; }
  Units units(const StepNumbers& numbers) const override {
    return {take() * numbers.scale * static_cast<float>(context().ranks), 1.0f / numbers.scale};
  }
  void settle_more(Stream& stream) override {
    TwoShot::settle_more(stream);
    moment_.settle(stream);
  }

  void average(const Turn& turn) override {
    if (is_exact(turn.numbers.step)) return sum_exactly(turn);
    vector::axpy(context().momentum, moment_.current(), turn.values, turn.stream);
    TwoShot::average(turn);
    vector::cast(turn.mean, moment_.current(), turn.stream);
    kernels().clear_at(moment_.current(), voids(), turn.stream);
  }

  /// The mean gradient, and the moment that it makes.
  void sum_exactly(const Turn& turn) {
    average_exactly(turn);
    vector::scale(context().momentum, moment_.current(), turn.stream);
    vector::add(turn.mean, moment_.current(), turn.stream);
    vector::scale(1.0f / take(), turn.mean, turn.stream);
  }

  void save_more(StateWriter& writer) const override {
    save_pieces(writer.scope("moment"), moment_.standing());
  }
  void load_more(const StateReader& reader) override { load_pieces(reader.scope("moment"), moment_, 1); }
  /// The moment is the same on every rank.
  void carry_more(const StateReader& reader, float share) override {
    load_pieces(reader.scope("moment"), moment_, share);
  }

  Remembered moment_;
};

std::unique_ptr<Compressor> make(const Options& /*options*/, const CompressorContext& context) {
  return std::make_unique<OneBitAdam>(context);
}

}  // namespace

const CompressorRegistry::Row kOneBitAdam{
    "onebit_adam", "signs of Adam's first moment; for optimizer onebit_adam", {}, make};

}  // namespace lockstep::comm
