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
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/collectives.h"
#include "comm/exchange.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/stream.h"
#include "core/trace.h"
#include "data/loader.h"
#include "trainer/optim/optimizer.h"
#include "trainer/replica.h"
#include "trainer/step_kernels.h"

namespace lockstep::trainer {

struct StepOptions {
  std::int64_t microbatches = 1;         ///< of this rank
  std::int64_t global_microbatches = 1;  ///< of all ranks
  bool reproducible = false;
  bool overlap = true;
  StepRule rule;
  double ema = 0;      ///< 0: none
  bool shard = false;  ///< spread the optimizer's state over ranks (trainer/optim/part.h)
  /// Whether steps are recorded once and run again as a CUDA graph.
  enum class Record : std::uint8_t { never, where_possible, always };
  Record record = Record::never;
  comm::ExchangeOptions exchange;
};

/// What a finished step reports.
struct StepResult {
  std::int64_t step = 0;
  float rate = 0;
  float loss = 0;           ///< mean over all microbatches of all ranks
  float gradient_norm = 0;  ///< of the mean gradient, before clipping
  bool skipped = false;
  bool overflowed = false;  ///< nothing was updated because the loss scale was too large; it was halved
  float loss_scale = 1;     ///< of the next step
  bool stop = false;  ///< some rank was asked to stop before this step: all ranks see it in the same step
  std::int64_t wire_bytes = 0;                 ///< sent by this rank
  double exposed_comm_s = 0;                   ///< the compute stream's wait for communication
  std::vector<comm::BucketReport> compressed;  ///< buckets with something compressed
};

/// A sentence on a step that overflowed.
[[nodiscard]] std::string overflow_text(const StepResult& result);

/// A StepTail lies behind the statistics.
inline constexpr std::int64_t kTailElements = sizeof(StepTail) / sizeof(float);

/// How much of the optimizer's state a rank keeps when it is sharded over `ranks`: the largest part.
[[nodiscard]] std::string sharding_text(const Optimizer& optimizer, const SlotLayout& layout, int ranks);

class StepEngine {
 public:
  /// Collective. The referenced objects must outlive the engine.
  StepEngine(Replica& replica, Optimizer& optimizer, comm::Collectives& collectives,
             const StepOptions& options, Stream& compute);
  /// Blocks until the compute stream has passed: steps that nobody collected use the engine and the
  /// optimizer.
  ~StepEngine();

  /// Enqueues step number `step` at `rate`, taking its microbatches from the loader. Blocks only for data and
  /// for buffers in use. `stop` tells the other ranks that this one was asked to stop.
  void enqueue(std::int64_t step, float rate, data::Loader& loader, bool stop = false);
  /// Waits for the oldest unfinished step and returns what it did. Rethrows what failed.
  [[nodiscard]] StepResult collect();
  /// Steps enqueued and not yet collected.
  [[nodiscard]] int in_flight() const noexcept;
  /// Tells `trace` from the next step on what is done when; null: nobody. Such steps do not run from
  /// recordings.
  void tell(Trace* trace) noexcept;
  /// Clears `skip` after all steps were collected.
  void acknowledge();

  /// Values that evaluation and export use: the averaged ones with ema, else the master values.
  [[nodiscard]] FlatSpan evaluation_values() const noexcept;
  void save(StateWriter& writer) const;
  void load(const StateReader& reader);
  /// What differs per rank: what compression remembers, and a sharded optimizer's part.
  void save_own(StateWriter& writer) const;
  [[nodiscard]] comm::GradientExchange& exchange() noexcept { return *exchange_; }
  [[nodiscard]] std::span<const comm::Bucket> buckets() const noexcept;
  /// Why steps are not recorded although options asked for it where possible; else empty.
  [[nodiscard]] const std::string& why_not_recorded() const noexcept { return why_not_recorded_; }

 private:
  struct Record;
  struct Flight;
  void make_trees();
  void place_optimizer();
  /// Enqueues the step's own numbers: rate, scale, and where counters stood before it.
  std::shared_ptr<Record> open_record(const StepOpening& opening);
  /// Enqueues reading back what the step did.
  void close_record(const std::shared_ptr<Record>& record);
  /// Feeds the loader's next microbatch.
  void feed(data::Loader& loader);
  /// Enqueues microbatch j, or runs its recording.
  void microbatch(std::int64_t j, const StepOpening& opening);
  [[nodiscard]] models::Pass pass_of(std::int64_t j, FlatSpan statistics);
  /// Enqueues forward and backward of microbatch j, and behind the last one the rest of the step.
  void compute(std::int64_t j, const StepOpening& opening);
  void decide_recording();
  /// By this rank since the engine was made.
  [[nodiscard]] std::int64_t sent_bytes() const;
  /// Microbatches with equal keys enqueue the same work.
  [[nodiscard]] std::int64_t recording_key(std::int64_t j) const;
  /// Called during backward when the gradients of slots [0, complete) are final.
  void gradients_ready(int microbatch, int complete);
  [[nodiscard]] bool compresses() const;
  /// Enqueues the sum of statistics and loss over ranks: ahead of all gradients, so that nobody waits for it;
  /// with compression behind them, since a gradient that is not finite is never compressed and the loss tells
  /// all ranks.
  void sum_statistics();
  void await_sums();
  void add_first_squares();
  void finish_norm();
  void update();
  /// Sends every rank's part of the values to all.
  void gather_values();
  [[nodiscard]] StepScalars* scalars() const noexcept {
    return static_cast<StepScalars*>(scalars_.span.data);
  }
  /// The numbers behind the statistics in `array`.
  [[nodiscard]] static StepTail* tail_of(FlatSpan array) noexcept;

  Replica& replica_;
  Optimizer& optimizer_;
  std::vector<Part> parts_;  ///< per rank; empty: the optimizer is not sharded
  comm::Collectives& collectives_;
  StepOptions options_;
  Stream& compute_;
  const StepKernels& kernels_;
  std::unique_ptr<comm::GradientExchange> exchange_;
  std::unique_ptr<comm::TreeAccumulator> gradient_tree_, statistics_tree_;
  FlatArray statistics_;         ///< statistics of normalisation layers, then a StepTail
  FlatArray scalars_;            ///< one StepScalars as bytes
  FlatArray squares_;            ///< of the gradients: of the first, of the rest
  std::int64_t squared_ = 0;     ///< gradients in the first sum
  FlatArray average_;            ///< averaged weights
  FlatArray shares_;             ///< per element of state: share of the new statistics
  std::vector<Memory> staging_;  ///< host copies of the scalars that no step on its way uses
  FlatArray position_;           ///< on devices that can record: one i64, the microbatch's first sample
  std::int64_t first_position_ = 0;
  bool records_ = false;
  std::string why_not_recorded_;
  std::int64_t enqueued_ = 0;  ///< steps
  struct Recorded {
    std::unique_ptr<Recording> work;
    std::int64_t bytes = 0;  ///< that a run sends
  };
  std::map<std::int64_t, Recorded> recordings_;
  std::int64_t replayed_bytes_ = 0;  ///< sent by recordings, which no transport counts
  Trace* trace_ = nullptr;
  std::deque<Event> feeds_;
  std::deque<Flight> flights_;
};

}  // namespace lockstep::trainer
