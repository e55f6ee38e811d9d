#include "trainer/batch_plan.h"

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <string>

namespace lockstep::trainer {

namespace {

/// Doubles hold every whole number up to here.
constexpr double kMostSteps = 9007199254740992.0;

std::string number(std::int64_t value) { return std::to_string(value); }

/// Samples per step over all ranks, from whichever of the two keys was given.
std::int64_t global_batch(const Options& batch, int ranks) {
  const std::int64_t global = batch.integer("global");
  const std::int64_t per_rank = batch.integer("per_rank");
  if (global == 0 && per_rank == 0) {
    throw Error(Fault::config, "neither batch.global nor batch.per_rank is set",
                "set batch.global to the samples per step");
  }
  if (global != 0 && per_rank != 0 && global != per_rank * ranks) {
    throw Error(Fault::config,
                batch.where("global") + " is " + number(global) + " but " + batch.where("per_rank") +
                    " times " + number(ranks) + " ranks is " + number(per_rank * ranks),
                "set only one of the two");
  }
  return global != 0 ? global : per_rank * ranks;
}

std::int64_t microbatch_size(const Options& batch, const Options& train, std::int64_t global, int ranks) {
  const std::int64_t given = batch.integer("microbatch");
  if (given == 0 && train.boolean("reproducible")) {
    throw Error(
        Fault::config,
        "reproducible mode needs batch.microbatch, or the microbatch would change with the number of ranks",
        "set batch.microbatch to a divisor of the global batch, " + number(global));
  }
  if (given == 0 && global % ranks != 0) {
    throw Error(Fault::config,
                "a global batch of " + number(global) + " does not divide by " + number(ranks) + " ranks",
                "choose a multiple of " + number(ranks) +
                    ", or set batch.microbatch so that ranks may take unequal numbers of them");
  }
  const std::int64_t size = given != 0 ? given : global / ranks;
  if (size > 0 && global % size == 0) return size;
  throw Error(
      Fault::config,
      "a global batch of " + number(global) + " is not a whole number of microbatches of " + number(size),
      "change batch.microbatch or batch.global so that one divides the other");
}

void check_work_for_all(const BatchPlan& plan, std::int64_t samples, int ranks, data::Tail tail) {
  const std::int64_t microbatches = plan.global / plan.microbatch;
  if (microbatches < ranks) {
    throw Error(
        Fault::config,
        number(ranks) + " ranks share " + number(microbatches) +
            " microbatches a step: some would have no work",
        "run at most " + number(microbatches) + " ranks, or lower batch.microbatch, or raise batch.global");
  }
  if (samples < plan.global && tail == data::Tail::drop) {
    throw Error(Fault::config,
                "the training split has " + number(samples) + " samples, fewer than a global batch of " +
                    number(plan.global),
                "lower batch.global (or run fewer ranks with batch.per_rank), or set data.tail to wrap");
  }
}

/// How many updates "steps" or "epochs" ask for.
std::int64_t steps_of_training(const Options& train, std::int64_t steps_per_epoch) {
  const std::int64_t steps = train.integer("steps");
  const double epochs = train.real("epochs");
  if ((steps > 0) == (epochs > 0)) {
    throw Error(
        Fault::config,
        fmt::format("{} is {} and {} is {}", train.where("steps"), steps, train.where("epochs"), epochs),
        steps > 0 ? "keep one of the two and set the other to 0, such as --set train.epochs=0"
                  : "set one of the two above zero");
  }
  if (steps > 0) return steps;
  const double wanted = std::round(epochs * static_cast<double>(steps_per_epoch));
  if (wanted >= 1 && wanted <= kMostSteps) return static_cast<std::int64_t>(wanted);
  throw Error(Fault::config,
              fmt::format("{} is {}: at {} steps an epoch that is {}", train.where("epochs"), epochs,
                          steps_per_epoch, wanted < 1 ? "not one step" : "more steps than can be counted"),
              "set train.epochs or train.steps to how long you mean to train");
}

}  // namespace

BatchPlan plan_batches(const Options& batch, const Options& train, std::int64_t samples, int rank, int ranks,
                       data::Tail tail) {
  BatchPlan plan;
  plan.global = global_batch(batch, ranks);
  plan.microbatch = microbatch_size(batch, train, plan.global, ranks);
  check_work_for_all(plan, samples, ranks, tail);
  plan.shard = data::shard_of(rank, ranks, plan.global / plan.microbatch);
  plan.steps_per_epoch = data::steps_of(samples, plan.global, tail);
  plan.steps = steps_of_training(train, plan.steps_per_epoch);
  return plan;
}

}  // namespace lockstep::trainer
