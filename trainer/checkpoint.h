// Checkpoints: checkpoints/step-N/{manifest.json, shared.h5, rank-R.h5} in the run directory. `shared` is
// what all ranks hold alike (by slot name, canonical), `mine` what differs per rank. A checkpoint appears
// whole or not at all: it is written aside, flushed and renamed, then `latest` is pointed at it. Files carry
// checksums; a damaged or foreign one is refused by name and the one before is used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/collectives.h"
#include "core/state.h"

namespace lockstep::trainer {

struct Checkpoint {
  std::int64_t step = 0;    ///< updates done
  std::string fingerprint;  ///< of the config that a resumed run must repeat
  StateMap shared;
  StateMap mine;
  std::vector<std::string> rank_files;  ///< of a loaded one: every rank's own state, in rank order
};

struct KeepRule {
  std::int64_t newest = 2;           ///< how many to keep
  std::optional<std::int64_t> best;  ///< a step whose checkpoint is kept besides
};

/// Where a run keeps the checkpoint of `step`, relative to its directory; empty for -1, none.
[[nodiscard]] std::string checkpoint_name(std::int64_t step);

/// Collective, blocking. Rank 0 writes shared.h5 and the manifest, every rank its own file. Returns the path
/// relative to the run directory. Throws Fault::checkpoint (disk full, unwritable) on every rank, leaving
/// older checkpoints valid and no litter.
[[nodiscard]] std::string save_checkpoint(const std::string& run_directory, const Checkpoint& checkpoint,
                                          const KeepRule& keep, comm::Control& control);

/// Collective, blocking. The newest whole checkpoint, the same on every rank; empty when there is none at
/// all. Damaged ones are named in `notes` and passed over. Throws Fault::checkpoint when there are
/// checkpoints but none is whole.
[[nodiscard]] std::optional<Checkpoint> load_latest_checkpoint(const std::string& run_directory,
                                                               comm::Control& control,
                                                               std::vector<std::string>& notes);

/// The shared part of one checkpoint (a step-N directory, its manifest.json, or a run directory: the newest),
/// for evaluation and export.
[[nodiscard]] StateMap read_shared_state(const std::string& path);

}  // namespace lockstep::trainer
