// One row per optimizer, defined in its own file; registry.cpp lists them.
#pragma once

#include "trainer/optim/optimizer.h"

namespace lockstep::trainer {

extern const OptimizerRegistry::Row kSgd, kAdamW, kLars, kLamb, kOneBitAdam;

}  // namespace lockstep::trainer
