// signSGD with majority vote (Bernstein et al., ICLR 2019): every rank sends the sign of each element, owners
// count, and what comes back is the sign of the majority; a tie is 0. One bit up, two bits down. Zeros vote
// at random, or slots that a batch does not touch would drift.
//
// With `momentum` ranks vote on their own momentum (Signum of the same paper): signs of single gradients are
// mostly noise. It is the optimizer's, made here in its place, in units of the mean over ranks:
//
//   SGD:  u = m u + g_i, vote on u, with Nesterov on g_i + m u         Adam:  u = m u + (1 - m) g_i, vote on
//   u
//
// What comes back is the optimizer's momentum then. In exact steps SGD is given the mean of u, and Adam the
// mean gradient, whose moments it makes itself.
//
// With magnitude `mean` the signs are multiplied by the mean magnitude of their block over ranks, so that a
// rate means about what it means without compression; `unit` is the paper's: the rate alone is the step.
#include "comm/compress/rows.h"
#include "comm/compress/sparse.h"
#include "comm/compress/two_shot.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kBlock = 1024;  // as ef_sign's

constexpr Setting kSettings[] = {
    {"magnitude", SettingType::text, "mean", "of a vote: the mean magnitude of a block of 1024, or 1",
     "mean|unit"},
    {"momentum", SettingType::boolean, "true",
     "vote on each rank's momentum, made in the optimizer's place (sgd, adamw); false, and with other "
     "optimizers: on gradients"},
};

class SignVote final : public TwoShot {
 public:
  SignVote(const Options& options, const CompressorContext& context)
      : TwoShot(context, false, make_codec({.kind = CodecKind::vote}, context.device),
                make_codec({.kind = CodecKind::ternary}, context.device)),
        unit_(options.text("magnitude") == "unit"),
        kind_(options.boolean("momentum") ? context.momentum_kind : MomentumKind::none),
        runs_(make_runs(blocks(context.group, kBlock))),
        magnitudes_(floats(static_cast<std::int64_t>(runs_->list.size()))) {
    if (kind_ != MomentumKind::none) momentum_ = Remembered(context.verdict, Dtype::f32, context.group.count);
  }

  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const override {
    if (is_exact(step)) return exact_bytes(schedule);
    const std::int64_t votes = TwoShot::stated_bytes(schedule, step);
    if (unit_) return votes;
    return votes + schedule.stated_cost(context().rank, context().ranks, magnitudes_.span.count).elements * 4;
  }
  Start start() const noexcept override { return Start::exact; }
  MomentumKind momentum() const noexcept override { return kind_; }

 private:
  /// The mean over ranks, so that another number of ranks can take the momentum over.
  Units units(const StepNumbers& numbers) const override {
    return {numbers.scale * static_cast<float>(context().ranks), 1.0f / numbers.scale};
  }
  void settle_more(Stream& stream) override {
    TwoShot::settle_more(stream);
    momentum_.settle(stream);
  }

  void average(const Turn& turn) override {
    const bool exact = is_exact(turn.numbers.step);
    if (kind_ != MomentumKind::none) accumulate(turn, exact);
    exact ? average_exactly(turn) : vote(turn);
  }

  /// Values become what is averaged.
  void accumulate(const Turn& turn, bool exact) {
    const FlatSpan u = momentum_.current();
    const float m = context().momentum;
    const bool average = kind_ == MomentumKind::average;
    vector::scale(m, u, turn.stream);
    vector::axpy(average ? 1 - m : 1.0f, turn.values, u, turn.stream);
    if (exact && average) return;
    if (!average && context().nesterov) {
      vector::axpy(m, u, turn.values, turn.stream);
    } else {
      vector::cast(u, turn.values, turn.stream);
    }
  }

  void vote(const Turn& turn) {
    if (!unit_) kernels().mean_magnitudes(turn.values, runs_, magnitudes_.span, turn.stream);
    TwoShot::average(turn);
    if (unit_) return;
    turn.collectives.sum(magnitudes_.span, turn.stream, group().bucket);
    mark(Phase::wire, turn.stream);
    vector::scale(1.0f / static_cast<float>(context().ranks), magnitudes_.span, turn.stream);
    kernels().scale_runs(turn.mean, runs_, magnitudes_.span, turn.stream);
  }

  /// Each kind under a name of its own: they differ in scale.
  [[nodiscard]] const char* scope() const { return kind_ == MomentumKind::average ? "moment" : "velocity"; }
  void save_more(StateWriter& writer) const override {
    if (kind_ != MomentumKind::none) save_pieces(writer.scope(scope()), momentum_.standing());
  }
  void load_more(const StateReader& reader) override { carry_more(reader, 1); }
  void carry_more(const StateReader& reader, float share) override {
    if (kind_ != MomentumKind::none) load_pieces(reader.scope(scope()), momentum_, share);
  }

  bool unit_;
  MomentumKind kind_;
  Runs runs_;
  FlatArray magnitudes_;
  Remembered momentum_;  ///< u
};

std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context) {
  return std::make_unique<SignVote>(options, context);
}

}  // namespace

const CompressorRegistry::Row kSignVote{"sign_vote", "signs by majority vote, one bit up and two down",
                                        kSettings, make};

}  // namespace lockstep::comm
