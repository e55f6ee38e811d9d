// What a run is, for its header and summary.
#pragma once

#include "comm/transport.h"
#include "core/options.h"
#include "data/loader.h"
#include "trainer/batch_plan.h"
#include "trainer/run_log.h"

namespace lockstep::trainer {

/// Everything that follows from config, world and data; parameters, buckets and first step are the caller's.
[[nodiscard]] RunFacts facts_of(const Config& config, const comm::World& world, const BatchPlan& plan,
                                const data::LoaderSpec& samples);

}  // namespace lockstep::trainer
