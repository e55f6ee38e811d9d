// Deep gradient compression (Lin et al., ICLR 2018): momentum on every rank, before what is sent is chosen.
//
//   u = m u + g;   v = v + u   (Nesterov: u = m (u + g); v = v + u + g)
//   send the k largest of v; where sent: v = 0, and u = 0 (momentum factor masking: stale momentum stops)
//
// The optimizer must not add momentum again; slots that are summed exactly get the same momentum here. v is
// the residual: the rate lies outside. A warm-up sends 1/4, 1/16, 1/64, 1/256 of the elements in turn, as
// long as that is more than `density`.
#include <algorithm>
#include <array>

#include "comm/compress/rows.h"
#include "comm/compress/sparse.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"density", SettingType::real, "0.01", "part of a slot's elements that is sent", "(0,1]"},
    {"warmup_steps", SettingType::integer, "200", "steps in which more is sent, in four equal stages",
     "[0,inf)"},
    {"mask", SettingType::boolean, "true", "forget the momentum of what was sent"},
};
constexpr std::array kStages{0.25, 0.0625, 0.015625, 0.00390625};

class Dgc final : public Compressor {
 public:
  Dgc(const Options& options, const CompressorContext& context)
      : Compressor(context, false),
        density_(options.real("density")),
        warmup_steps_(options.integer("warmup_steps")),
        mask_(options.boolean("mask")),
        message_(context, selections(context.group, density_at(0))),
        velocity_(context.verdict, Dtype::f32, context.group.count),
        waiting_(context.verdict, Dtype::f32, context.group.count) {}

  std::int64_t stated_bytes(const Schedule& /*schedule*/, std::int64_t step) const override {
    return message_.stated_bytes(kept(selections(group(), density_at(step))));
  }
  MomentumKind momentum() const noexcept override { return MomentumKind::heavy_ball; }
  Start start() const noexcept override { return Start::own; }

 private:
  [[nodiscard]] double density_at(std::int64_t step) const {
    if (step >= warmup_steps_) return density_;
    const auto stage =
        static_cast<std::size_t>(step * static_cast<std::int64_t>(kStages.size()) / warmup_steps_);
    return std::max(density_, kStages[stage]);
  }

  void settle_more(Stream& stream) override {
    velocity_.settle(stream);
    waiting_.settle(stream);
  }

  void average(const Turn& turn) override {
    if (const double density = density_at(turn.numbers.step); density != used_density_) {
      message_.use(selections(group(), density));
      used_density_ = density;
    }
    accumulate(turn);
    message_.select(waiting_.current(), turn.stream);
    kernels().clear_at(waiting_.current(), message_.indices(), turn.stream);
    if (mask_) kernels().clear_at(velocity_.current(), message_.indices(), turn.stream);
    mark(Phase::encode, turn.stream);
    message_.gather(turn.collectives, turn.stream);
    mark(Phase::wire, turn.stream);
    // The memories are in units of the mean over ranks, so that another number of ranks can take them over.
    const auto ranks = static_cast<float>(context().ranks);
    message_.add_all(turn.mean, 1.0f / (ranks * ranks), turn.stream);
  }

  void accumulate(const Turn& turn) {
    const FlatSpan u = velocity_.current();
    const FlatSpan v = waiting_.current();
    const auto ranks = static_cast<float>(context().ranks);
    const float m = context().momentum;
    if (context().nesterov) vector::axpy(ranks, turn.values, u, turn.stream);
    vector::scale(m, u, turn.stream);
    if (!context().nesterov) vector::axpy(ranks, turn.values, u, turn.stream);
    vector::add(u, v, turn.stream);
    if (context().nesterov) vector::axpy(ranks, turn.values, v, turn.stream);
  }

  void save_more(StateWriter& writer) const override {
    save_pieces(writer.scope("velocity"), velocity_.standing());
    save_pieces(writer.scope("waiting"), waiting_.standing());
  }
  void load_more(const StateReader& reader) override {
    load_pieces(reader.scope("velocity"), velocity_, 1);
    load_pieces(reader.scope("waiting"), waiting_, 1);
  }
  void carry_more(const StateReader& reader, float share) override {
    load_pieces(reader.scope("velocity"), velocity_, share);
    load_pieces(reader.scope("waiting"), waiting_, share);
  }

  double density_;
  std::int64_t warmup_steps_;
  bool mask_;
  double used_density_ = 0;
  SparseMessage message_;
  Remembered velocity_, waiting_;  ///< u, v
};

std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context) {
  return std::make_unique<Dgc>(options, context);
}

}  // namespace

const CompressorRegistry::Row kDgc{"dgc", "largest values of accumulated momentum, with warm-up", kSettings,
                                   make};

}  // namespace lockstep::comm
