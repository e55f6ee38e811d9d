#include "trainer/run_facts.h"

#include "comm/device_transport.h"
#include "trainer/parts.h"
#include "trainer/placement.h"
#include "trainer/training.h"

namespace lockstep::trainer {

namespace {

/// ", GPU messages by NCCL 2.28.9"; empty where there are none.
std::string messages_text(const Config& config, const comm::World& world) {
  if (backend_for(config) != "cuda") return {};
  const std::string by =
      comm::gpu_messages_text(config.part_name("transport"), config.part("transport"), world);
  return by.empty() ? by : ", GPU messages by " + by;
}

}  // namespace

RunFacts facts_of(const Config& config, const comm::World& world, const BatchPlan& plan,
                  const data::LoaderSpec& samples) {
  const bool tokens = samples.input_dtype == Dtype::i32;
  RunFacts facts;
  facts.config = config.resolved();
  facts.model = config.part_name("model");
  facts.data = config.section("data").texts("files").front();
  facts.device = backend_for(config);
  facts.schedule = schedule_name(config, on_one_node(world));
  facts.world = world.description() + messages_text(config, world);
  facts.ranks = world.size();
  facts.global_batch = plan.global;
  facts.microbatch = plan.microbatch;
  facts.microbatches_per_step = plan.shard.per_step;
  facts.steps = plan.steps;
  facts.steps_per_epoch = plan.steps_per_epoch;
  facts.unit = tokens ? "tokens" : "samples";
  facts.units_per_sample = tokens ? static_cast<double>(samples.input.count()) : 1.0;
  return facts;
}

}  // namespace lockstep::trainer
