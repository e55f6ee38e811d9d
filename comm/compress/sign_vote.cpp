// signSGD with majority vote (Bernstein et al., ICLR 2019): every rank sends the sign of each element, owners
// count, and what comes back is the sign of the majority; a tie is 0. One bit up, two bits down. Zeros vote
// at random, or slots that a batch does not touch would drift.
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
};

class SignVote final : public TwoShot {
 public:
  SignVote(const Options& options, const CompressorContext& context)
      : TwoShot(context, false, make_codec({.kind = CodecKind::vote}, context.device),
                make_codec({.kind = CodecKind::ternary}, context.device)),
        unit_(options.text("magnitude") == "unit"),
        runs_(make_runs(blocks(context.group, kBlock))),
        magnitudes_(floats(static_cast<std::int64_t>(runs_->list.size()))) {}

  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const override {
    const std::int64_t votes = TwoShot::stated_bytes(schedule, step);
    if (unit_) return votes;
    return votes + schedule.stated_cost(context().rank, context().ranks, magnitudes_.span.count).elements * 4;
  }
  Start start() const noexcept override { return Start::exact; }

 private:
  Units units(const StepNumbers& numbers) const override {
    return {1, unit_ ? 1.0f / numbers.scale : static_cast<float>(context().ranks)};
  }

  void average(const Turn& turn) override {
    if (!unit_) kernels().mean_magnitudes(turn.values, runs_, magnitudes_.span, turn.stream);
    TwoShot::average(turn);
    if (unit_) return;
    turn.collectives.sum(magnitudes_.span, turn.stream, group().bucket);
    mark(Phase::wire, turn.stream);
    vector::scale(1.0f / static_cast<float>(context().ranks), magnitudes_.span, turn.stream);
    kernels().scale_runs(turn.mean, runs_, magnitudes_.span, turn.stream);
  }

  bool unit_;
  Runs runs_;
  FlatArray magnitudes_;
};

std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context) {
  return std::make_unique<SignVote>(options, context);
}

}  // namespace

const CompressorRegistry::Row kSignVote{"sign_vote", "signs by majority vote, one bit up and two down",
                                        kSettings, make};

}  // namespace lockstep::comm
