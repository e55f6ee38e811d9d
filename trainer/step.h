// One optimizer step of a replica: its microbatches forward and backward, gradients summed over ranks while
// backward still runs, clipping, the update. Everything is enqueued; results are read a step later, so the
// host never waits inside a step.
//
// A step whose summed gradient is not finite updates nothing and leaves `skip` set, also for the steps
// already enqueued behind it, until acknowledge(): the parameters stay as they were when it happened, and all
// ranks see it in the same step, because the sums are equal.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "comm/collectives.h"
#include "comm/exchange.h"
#include "core/step_scalars.h"
#include "core/stream.h"
#include "data/loader.h"
#include "trainer/optim/optimizer.h"
#include "trainer/replica.h"

namespace lockstep::trainer {

struct StepOptions {
  std::int64_t microbatches = 1;         ///< of this rank
  std::int64_t global_microbatches = 1;  ///< of all ranks
  bool reproducible = false;
  bool overlap = true;
  double clip_norm = 0;  ///< 0: none
  double ema = 0;        ///< 0: none
  comm::ExchangeOptions exchange;
};

/// What a finished step reports.
struct StepResult {
  std::int64_t step = 0;
  float rate = 0;
  float loss = 0;           ///< mean over all microbatches of all ranks
  float gradient_norm = 0;  ///< of the mean gradient, before clipping
  bool skipped = false;
  bool stop = false;  ///< some rank was asked to stop before this step: all ranks see it in the same step
  std::int64_t wire_bytes = 0;                 ///< sent by this rank
  double exposed_comm_s = 0;                   ///< the compute stream's wait for communication
  std::vector<comm::BucketReport> compressed;  ///< buckets with something compressed
};

class StepEngine {
 public:
  /// Collective. The referenced objects must outlive the engine.
  StepEngine(Replica& replica, Optimizer& optimizer, comm::Collectives& collectives,
             const StepOptions& options, Stream& compute);
  ~StepEngine();

  /// Enqueues step number `step` at `rate`, taking its microbatches from the loader. Blocks only for data and
  /// for buffers in use. `stop` tells the other ranks that this one was asked to stop.
  void enqueue(std::int64_t step, float rate, data::Loader& loader, bool stop = false);
  /// Waits for the oldest unfinished step and returns what it did. Rethrows what failed.
  [[nodiscard]] StepResult collect();
  /// Steps enqueued and not yet collected.
  [[nodiscard]] int in_flight() const noexcept;
  /// Clears `skip` after all steps were collected.
  void acknowledge();

  /// Values that evaluation and export use: the averaged ones with ema, else the master values.
  [[nodiscard]] FlatSpan evaluation_values() const noexcept;
  void save(StateWriter& writer) const;
  void load(const StateReader& reader);
  /// What differs per rank: what compression remembers.
  void save_own(StateWriter& writer) const;
  [[nodiscard]] comm::GradientExchange& exchange() noexcept { return *exchange_; }
  [[nodiscard]] std::span<const comm::Bucket> buckets() const noexcept;

 private:
  struct Record;
  struct Flight;
  /// Enqueues the step's own numbers: rate, scale, and where counters stood before it.
  std::shared_ptr<Record> open_record(std::int64_t step, float rate);
  /// Enqueues reading back what the step did.
  void close_record(const std::shared_ptr<Record>& record);
  void microbatch(std::int64_t j, data::Loader& loader, bool stop);
  /// Feeds the loader's next microbatch and returns the position of its first sample.
  std::int64_t feed(data::Loader& loader);
  /// Called during backward when the gradients of slots [0, complete) are final.
  void gradients_ready(int microbatch, int complete);
  void exchange_statistics();
  void poison_loss(Stream& stream);
  void finish_norm();
  void update_state();
  void update_average();

  Replica& replica_;
  Optimizer& optimizer_;
  comm::Collectives& collectives_;
  StepOptions options_;
  Stream& compute_;
  std::unique_ptr<comm::GradientExchange> exchange_;
  std::unique_ptr<comm::TreeAccumulator> gradient_tree_, statistics_tree_;
  FlatArray statistics_;  ///< statistics of normalisation layers, then kTail numbers: loss, stop request
  FlatArray scalars_;     ///< one StepScalars as bytes
  FlatArray squares_;     ///< one double
  FlatArray average_;     ///< averaged weights
  std::vector<float> state_momentum_;  ///< per element of state: share of the new statistics
  std::deque<Event> feeds_;
  std::deque<Flight> flights_;
};

}  // namespace lockstep::trainer
