// Signs with a block's mean magnitude and error feedback (EF-signSGD: Karimireddy et al., ICML 2019).
//
// Delayed gradients come in bursts, which Adam's second moment would take for variance. So with Adam and
// `momentum` ranks send signs of its first moment, and the second is measured in exact steps alone, which
// grow rarer (0/1 Adam, Lu et al., ICLR 2023; core/refresh.h).
#include "comm/compress/moment_signs.h"
#include "comm/compress/rows.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"feedback", SettingType::boolean, "true", "error feedback: keep what rounding lost for the next step"},
    {"momentum", SettingType::boolean, "true",
     "with optimizer adamw and feedback: signs of the first moment, and exact steps ever more rarely for the "
     "second; false: of gradients"},
};

class EfSign final : public TwoShot {
 public:
  using TwoShot::TwoShot;
  Start start() const noexcept override { return Start::exact; }
};

std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context) {
  const bool feedback = options.boolean("feedback");
  if (feedback && options.boolean("momentum") && context.momentum_kind == MomentumKind::average)
    return std::make_unique<MomentSigns>(context, MomentSigns::Kind{MomentumKind::refreshed, Start::exact});
  return std::make_unique<EfSign>(context, feedback, make_codec({.kind = CodecKind::sign}, context.device));
}

}  // namespace

const CompressorRegistry::Row kEfSign{"ef_sign", "one bit and a block's mean magnitude", kSettings, make};

}  // namespace lockstep::comm
