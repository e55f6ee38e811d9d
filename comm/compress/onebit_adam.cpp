// 1-bit Adam (Tang et al., ICML 2021), the compressing half; optimizer `onebit_adam` is the other. The first
// steps are exact; afterwards the optimizer's second moment stands still and ranks send signs of the first.
// What comes back then is the first moment itself, for exact slots too.
#include "comm/compress/moment_signs.h"
#include "comm/compress/rows.h"

namespace lockstep::comm {
namespace {

std::unique_ptr<Compressor> make(const Options& /*options*/, const CompressorContext& context) {
  return std::make_unique<MomentSigns>(context, MomentSigns::Kind{MomentumKind::average, Start::measured});
}

}  // namespace

const CompressorRegistry::Row kOneBitAdam{
    "onebit_adam", "signs of Adam's first moment; for optimizer onebit_adam", {}, make};

}  // namespace lockstep::comm
