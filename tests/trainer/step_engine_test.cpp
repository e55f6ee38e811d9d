// What a step engine leaves on its compute stream.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>

#include "comm/worlds.h"
#include "core/error.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/parts.h"

namespace lockstep::trainer {
namespace {

/// A lone rank on the tiny images, ready to make engines.
struct Bench {
  explicit Bench(const Overrides& overrides)
      : config((write_tiny_images(scratch.path() + "/images.h5"),
                tiny_config(scratch.path(), "images", overrides))),
        data(open_dataset(config)),
        plan(plan_of(config, *data, 0, 1)),
        loader(open_training_loader(config, *data, plan, Device{})),
        collectives(connect(config, *world, Device{}, make_schedule(config, true))),
        replica(loader->spec(), replica_options(config, Device{}, plan.microbatch, true)),
        optimizer(optimizers().create("sgd", config.part("optimizer"), replica.store().layout(), Device{})) {}

  ScratchDirectory scratch;
  Config config;
  std::unique_ptr<comm::World> world = comm::make_self_world();
  std::unique_ptr<data::Dataset> data;
  BatchPlan plan;
  std::unique_ptr<data::Loader> loader;
  std::unique_ptr<comm::Collectives> collectives;
  Replica replica;
  std::unique_ptr<Optimizer> optimizer;
};

/// As when the loader throws while a step is on its way: nobody collects it.
TEST(StepEngine, goes_when_the_compute_stream_needs_it_no_more) {
  Bench bench({});
  const auto compute = make_stream(Device{});
  auto engine = std::make_unique<StepEngine>(bench.replica, *bench.optimizer, *bench.collectives,
                                             step_options(bench.config, bench.plan), *compute);
  engine->enqueue(0, 0.1f, *bench.loader);
  compute->host([] { std::this_thread::sleep_for(std::chrono::milliseconds(200)); });
  const Event end_of_work = compute->record();
  engine.reset();
  EXPECT_TRUE(end_of_work.complete());
}

TEST(StepEngine, goes_without_a_word_when_its_work_has_failed) {
  Bench bench({});
  const auto compute = make_stream(Device{});
  compute->fail(Error(Fault::device, "the device is gone"));
  StepEngine engine(bench.replica, *bench.optimizer, *bench.collectives,
                    step_options(bench.config, bench.plan), *compute);
  engine.enqueue(0, 0.1f, *bench.loader);
}

/// Tells of work that would run when its arrays are gone.
class Untouched final : public Stream {
 public:
  [[nodiscard]] Device device() const noexcept override { return {}; }
  void host(std::function<void()> /*work*/) override { ADD_FAILURE() << "work was enqueued"; }
  [[nodiscard]] Event record() override { return {}; }
  void wait(const Event& /*event*/) override {}
  void synchronize() override {}
  void fail(const Error& /*error*/) override {}
  [[nodiscard]] double waited_s() const override { return 0; }
};

TEST(StepEngine, that_is_refused_has_enqueued_nothing) {
  Bench bench({"train.ema=0.9"});
  Untouched compute;
  StepOptions options = step_options(bench.config, bench.plan);
  options.record = StepOptions::Record::always;
  EXPECT_THROW(StepEngine(bench.replica, *bench.optimizer, *bench.collectives, options, compute), Error);
}

}  // namespace
}  // namespace lockstep::trainer
