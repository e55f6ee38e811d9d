// The parts of a run, made from the config in the order in which they depend on each other. Shared by
// training, evaluation and the plan that --dry-run prints.
#pragma once

#include <memory>
#include <string>

#include "comm/collectives.h"
#include "comm/transport.h"
#include "core/options.h"
#include "data/loader.h"
#include "trainer/batch_plan.h"
#include "trainer/evaluate.h"
#include "trainer/replica.h"
#include "trainer/step.h"

namespace lockstep::trainer {

/// The split to train on, as section "data" names it.
[[nodiscard]] std::unique_ptr<data::Dataset> open_dataset(const Config& config);
/// The split of the same files that section "eval" names.
[[nodiscard]] std::unique_ptr<data::Dataset> open_evaluation_set(const Config& config);
/// The same, refused (Fault::data) unless its samples fit a model that trains on `trained`.
[[nodiscard]] std::unique_ptr<data::Dataset> open_evaluation_set(const Config& config,
                                                                 const data::Dataset& trained);

/// The training loader of a shard, with its arrays where `device` copies them from best.
[[nodiscard]] std::unique_ptr<data::Loader> open_training_loader(const Config& config,
                                                                 const data::Dataset& dataset,
                                                                 const BatchPlan& plan, Device device);

[[nodiscard]] BatchPlan plan_of(const Config& config, const data::Dataset& dataset, int rank, int ranks);

[[nodiscard]] ReplicaOptions replica_options(const Config& config, Device device, std::int64_t microbatch,
                                             bool training);

[[nodiscard]] StepOptions step_options(const Config& config, const BatchPlan& plan);

[[nodiscard]] EvaluationOptions evaluation_options(const Config& config, std::int64_t microbatch);

/// The schedule that the config names; for `by_place` the one that suits the device, the mode, and whether
/// all ranks are on one node.
[[nodiscard]] std::string schedule_name(const Config& config, bool one_node);
[[nodiscard]] std::unique_ptr<comm::Schedule> make_schedule(const Config& config, bool one_node);
/// The same on every rank.
[[nodiscard]] bool on_one_node(const comm::World& world);

/// The compute stream of a replica.
[[nodiscard]] std::unique_ptr<Stream> compute_stream(const Config& config, Device device);

/// Refuses combinations that reproducible mode cannot keep (docs/architecture.md), by name.
void check_reproducible(const Config& config);

/// Refuses a schedule that cannot sum over these ranks, as it says so itself.
void check_schedule(const Config& config, const comm::World& world);

/// Collective. Sums of buffers on `device` by `schedule`, over the transport that the config names.
[[nodiscard]] std::unique_ptr<comm::Collectives> connect(const Config& config, comm::World& world,
                                                         Device device,
                                                         std::shared_ptr<const comm::Schedule> schedule);

/// Collective. Sums and messages of host memory, for control.
[[nodiscard]] std::unique_ptr<comm::Collectives> host_collectives(const Config& config, comm::World& world);

}  // namespace lockstep::trainer
