// `allreduce.name: auto` in a training run: how long backward takes is measured on the replica, comm/autotune
// chooses schedule and bucket size for it, and a resumed run takes what the run chose at first.
#pragma once

#include <memory>
#include <string>

#include "comm/collectives.h"
#include "comm/transport.h"
#include "core/options.h"
#include "data/loader.h"
#include "trainer/replica.h"
#include "trainer/run_log.h"
#include "trainer/step.h"

namespace lockstep::trainer {

/// What the choice depends on. The loader is moved on: seek it afterwards.
struct TuneRun {
  const Config& config;
  comm::World& world;
  comm::Control& control;
  RunLog& log;
  const std::string& run_directory;
  bool resume;
  Replica& replica;
  data::Loader& loader;
  Stream& compute;
  bool records;  ///< steps are recorded
};

/// Collective, blocks. `saved`: the checkpoint that the run goes on from, or nothing. Does nothing unless
/// `schedule` is the one of `auto`; then it adopts the choice, sets the bucket size in `exchange`, and writes
/// allreduce.json into the run directory. Returns the choice as text for checkpoints; empty: none was needed.
[[nodiscard]] std::string tune_exchange(const TuneRun& run, const StateReader& saved,
                                        comm::Schedule& schedule, comm::ExchangeOptions& exchange);

/// Collectives of a run: `others` are a duplicate of `sums`.
struct Connections {
  std::unique_ptr<comm::Collectives>& sums;
  std::unique_ptr<comm::Collectives>& others;
};

/// Collective, blocks; while no stream uses any of it. On GPUs transport and gradient memory depend on the
/// schedule: connects anew for the one that was chosen, and moves the gradients to the memory that it lends.
void reconnect(const Config& config, comm::World& world, std::shared_ptr<const comm::Schedule> schedule,
               ParameterStore& store, const Connections& connections);

/// For checkpoints: keeps the choice under "allreduce".
void save_choice(StateWriter& shared, const std::string& choice);

}  // namespace lockstep::trainer
