// Tiny trainings with compressed gradients.
#pragma once

#include <string>

#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {

/// Settings that make `compressor` do something within a few steps of a tiny model.
inline Overrides overrides_for(const std::string& compressor, const Overrides& more = {}) {
  Overrides all{"compress.name=" + compressor, "compress.min_elements=16", "compress.sample_every=2"};
  if (compressor == "onebit_adam") {
    all.insert(all.end(),
               {"optimizer.name=onebit_adam", "optimizer.onebit_adam.freeze_steps=3", "rate.peak=0.002"});
  }
  if (compressor == "dgc") all.insert(all.end(), {"compress.dgc.warmup_steps=4", "compress.dgc.density=0.1"});
  if (compressor == "powersgd")
    all.insert(all.end(), {"compress.powersgd.rank=1", "compress.powersgd.min_ratio=1"});
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace lockstep::trainer
