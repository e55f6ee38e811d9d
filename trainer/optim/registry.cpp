// The table of optimizers.
#include "trainer/optim/rows.h"

namespace lockstep::trainer {

const OptimizerRegistry& optimizers() {
  static const OptimizerRegistry::Row kRows[] = {kSgd, kAdamW, kLars, kLamb, kOneBitAdam};
  static const OptimizerRegistry kTable("optimizer", kRows);
  return kTable;
}

}  // namespace lockstep::trainer
