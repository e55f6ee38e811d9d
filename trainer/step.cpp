#include "trainer/step.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <variant>

#include "core/vector/vector.h"

namespace lockstep::trainer {

/// What the streams fill in while a step is on its way.
struct StepEngine::Record {
  StepResult result;
  std::int64_t bytes_before = 0;
  double waited_before = 0;
  bool finished = false;
};

struct StepEngine::Flight {
  std::shared_ptr<Record> record;
  Event done;
};

namespace {

/// Numbers that travel behind the statistics of normalisation layers: the loss, and whether some rank was
/// asked to stop.
constexpr std::int64_t kTail = 2;
constexpr std::int64_t kLoss = 0;
constexpr std::int64_t kStop = 1;

/// Share of new statistics per element of the state array: the momentum of the batch norm that owns it.
std::vector<float> momentum_of_state(const models::Graph& graph, const SlotLayout& layout) {
  std::vector<float> shares(static_cast<std::size_t>(layout.stored_count()), 0.0f);
  for (const models::Node& node : graph.nodes()) {
    const auto* norm = std::get_if<models::BatchNorm>(&node.spec);
    if (norm == nullptr) continue;
    for (int state : node.states) {
      const Slot* slot = layout.find(graph.states()[static_cast<std::size_t>(state)].name);
      for (std::int64_t i = 0; i < slot->stored_count; ++i) {
        shares[static_cast<std::size_t>(slot->offset + i)] = norm->momentum;
      }
    }
  }
  return shares;
}

}  // namespace

StepEngine::StepEngine(Replica& replica, Optimizer& optimizer, comm::Collectives& collectives,
                       const StepOptions& options, Stream& compute)
    : replica_(replica),
      optimizer_(optimizer),
      collectives_(collectives),
      options_(options),
      compute_(compute),
      exchange_(comm::make_exchange(replica.store().layout(), collectives, options.exchange)),
      statistics_(make_array(replica.device(), Dtype::f32, replica.store().state().count + kTail)),
      scalars_(make_array(replica.device(), Dtype::u8, sizeof(StepScalars))),
      squares_(make_array(replica.device(), Dtype::f64, 1)),
      state_momentum_(momentum_of_state(replica.graph(), replica.store().state_layout())) {
  new (scalars_.span.data) StepScalars;
  if (options_.reproducible) {
    const int microbatches = static_cast<int>(options_.microbatches);
    gradient_tree_ = comm::make_tree_accumulator(replica_.store().gradients(), microbatches);
    statistics_tree_ = comm::make_tree_accumulator(statistics_.span, microbatches);
  }
  if (options_.ema > 0) {
    average_ = make_array(replica.device(), Dtype::f32, replica.store().values().count);
    vector::cast(replica_.store().values(), average_.span, compute_);
  }
  replica_.refresh_working(replica_.store().values(), compute_);
}

StepEngine::~StepEngine() = default;

std::shared_ptr<StepEngine::Record> StepEngine::open_record(std::int64_t step, float rate) {
  auto record = std::make_shared<Record>();
  record->result.step = step;
  record->result.rate = rate;
  auto* scalars = static_cast<StepScalars*>(scalars_.span.data);
  const float scale = 1.0f / static_cast<float>(options_.global_microbatches);
  compute_.host([this, scalars, step, rate, scale, record] {
    scalars->step = step;
    scalars->rate = rate;
    scalars->gradient_scale = scale;
    scalars->clip_factor = 1;
    record->waited_before = compute_.waited_s();
    record->bytes_before = collectives_.traffic().bytes;
  });
  return record;
}

void StepEngine::close_record(const std::shared_ptr<Record>& record) {
  const auto* scalars = static_cast<const StepScalars*>(scalars_.span.data);
  const float* asked =
      static_cast<const float*>(statistics_.span.data) + statistics_.span.count - kTail + kStop;
  compute_.host([this, scalars, record, asked] {
    StepResult& result = record->result;
    result.loss = scalars->loss;
    result.gradient_norm = scalars->gradient_norm;
    result.skipped = scalars->skip != 0;
    result.stop = *asked > 0;
    result.exposed_comm_s = compute_.waited_s() - record->waited_before;
    result.wire_bytes = collectives_.traffic().bytes - record->bytes_before;
    result.compressed = exchange_->report().compressed;
    record->finished = true;
  });
  flights_.push_back({record, compute_.record()});
}

void StepEngine::enqueue(std::int64_t step, float rate, data::Loader& loader, bool stop) {
  const auto record = open_record(step, rate);
  exchange_->begin(
      replica_.store().gradients(),
      {.step = step, .rate = rate, .scale = 1.0f / static_cast<float>(options_.global_microbatches)});
  for (std::int64_t j = 0; j < options_.microbatches; ++j) microbatch(j, loader, stop);
  exchange_statistics();
  finish_norm();
  exchange_->settle(&static_cast<StepScalars*>(scalars_.span.data)->skip, compute_);
  optimizer_.step(replica_.store().values(), replica_.store().gradients(),
                  static_cast<StepScalars*>(scalars_.span.data), compute_);
  update_state();
  update_average();
  replica_.refresh_working(replica_.store().values(), compute_);
  close_record(record);
}

std::int64_t StepEngine::feed(data::Loader& loader) {
  // Fed arrays stay valid for two further reads: the third must wait for the first to be consumed.
  while (feeds_.size() >= 2) {
    feeds_.front().wait();
    feeds_.pop_front();
  }
  const data::Microbatch& batch = loader.next();
  replica_.executor().feed(batch.input, batch.target, compute_);
  feeds_.push_back(compute_.record());
  return batch.first_position;
}

void StepEngine::microbatch(std::int64_t j, data::Loader& loader, bool stop) {
  const std::int64_t first_position = feed(loader);
  models::Executor& executor = replica_.executor();
  const int index = static_cast<int>(j);
  models::Pass pass = replica_.pass(models::Mode::train, replica_.store().values());
  const FlatSpan statistics = statistics_tree_ ? statistics_tree_->target(index) : statistics_.span;
  if (gradient_tree_) pass.gradients = gradient_tree_->target(index);
  pass.statistics = statistics.part(0, statistics.count - kTail);
  pass.accumulate = !gradient_tree_ && j > 0;
  pass.first_sample = first_position;

  const FlatSpan tail = statistics.part(statistics.count - kTail, kTail);
  if (!pass.accumulate) {
    vector::fill(tail.part(kLoss, 1), 0, compute_);
    vector::fill(tail.part(kStop, 1), stop && j == 0 ? 1.0f : 0.0f, compute_);
  }
  executor.forward(pass, compute_);
  executor.add_loss(static_cast<float*>(tail.data) + kLoss, compute_);
  if (statistics_tree_) statistics_tree_->complete(index, statistics.count, compute_);

  executor.backward(
      pass, [&](int complete) { gradients_ready(index, complete); }, compute_);
}

void StepEngine::gradients_ready(int microbatch, int complete) {
  const auto slots = replica_.store().layout().slots();
  const bool whole = complete == static_cast<int>(slots.size());
  const bool last = microbatch + 1 == options_.microbatches;
  if (gradient_tree_) {
    const std::int64_t elements =
        whole ? replica_.store().gradients().count : slots[static_cast<std::size_t>(complete)].offset;
    gradient_tree_->complete(microbatch, elements, compute_);
  }
  if (last && (options_.overlap || whole)) exchange_->complete(complete, compute_.record());
}

void StepEngine::exchange_statistics() {
  Stream& stream = exchange_->stream();
  stream.wait(compute_.record());
  poison_loss(stream);
  collectives_.sum(statistics_.span, stream);
  exchange_->finish(compute_);
  compute_.wait(stream.record());
}

/// A gradient that is not finite is never compressed: the loss tells all ranks instead.
void StepEngine::poison_loss(Stream& stream) {
  const FlatSpan nonfinite = exchange_->nonfinite();
  if (nonfinite.count == 0) return;
  float* loss = static_cast<float*>(statistics_.span.data) + statistics_.span.count - kTail + kLoss;
  stream.host([loss, nonfinite] {
    if (*static_cast<const std::int64_t*>(nonfinite.data) != 0)
      *loss = std::numeric_limits<float>::quiet_NaN();
  });
}

void StepEngine::finish_norm() {
  vector::sum_of_squares(replica_.store().gradients(), squares_.span, compute_);
  auto* scalars = static_cast<StepScalars*>(scalars_.span.data);
  const auto* squares = static_cast<const double*>(squares_.span.data);
  const auto* statistics = static_cast<const float*>(statistics_.span.data);
  const std::int64_t loss = statistics_.span.count - kTail + kLoss;
  compute_.host([scalars, squares, statistics, loss, bound = options_.clip_norm] {
    const double norm = std::sqrt(*squares) * static_cast<double>(scalars->gradient_scale);
    scalars->gradient_norm = static_cast<float>(norm);
    scalars->loss = statistics[loss] * scalars->gradient_scale;
    // Sticky: a step enqueued behind a bad one must not move the parameters either.
    if (!std::isfinite(norm) || !std::isfinite(scalars->loss)) scalars->skip = 1;
    if (bound > 0 && norm > bound) scalars->clip_factor = static_cast<float>(bound / norm);
  });
}

void StepEngine::update_state() {
  const auto* scalars = static_cast<const StepScalars*>(scalars_.span.data);
  const FlatSpan state = replica_.store().state();
  if (state.count == 0) return;
  const auto* statistics = static_cast<const float*>(statistics_.span.data);
  compute_.host([this, scalars, state, statistics] {
    if (scalars->skip != 0) return;
    auto running = state.as<float>();
    for (std::size_t i = 0; i < running.size(); ++i) {
      const float fresh = statistics[i] * scalars->gradient_scale;
      running[i] = (1.0f - state_momentum_[i]) * running[i] + state_momentum_[i] * fresh;
    }
  });
}

void StepEngine::update_average() {
  if (options_.ema <= 0) return;
  const auto* scalars = static_cast<const StepScalars*>(scalars_.span.data);
  compute_.host([this, scalars, keep = static_cast<float>(options_.ema)] {
    if (scalars->skip != 0) return;
    auto average = average_.span.as<float>();
    auto values = replica_.store().values().as<float>();
    for (std::size_t i = 0; i < average.size(); ++i)
      average[i] = keep * average[i] + (1.0f - keep) * values[i];
  });
}

StepResult StepEngine::collect() {
  Flight flight = std::move(flights_.front());
  flights_.pop_front();
  flight.done.wait();
  if (!flight.record->finished) {
    compute_.synchronize();
    throw Error(Fault::internal, "step " + std::to_string(flight.record->result.step) + " did not finish",
                "");
  }
  return flight.record->result;
}

int StepEngine::in_flight() const noexcept { return static_cast<int>(flights_.size()); }

void StepEngine::acknowledge() {
  auto* scalars = static_cast<StepScalars*>(scalars_.span.data);
  compute_.host([scalars] { scalars->skip = 0; });
  compute_.synchronize();
}

FlatSpan StepEngine::evaluation_values() const noexcept {
  return options_.ema > 0 ? average_.span : replica_.store().values();
}

void StepEngine::save(StateWriter& writer) const {
  StateWriter model = writer.scope("model");
  replica_.store().save(model);
  StateWriter optimizer = writer.scope("optimizer");
  optimizer_.save(optimizer);
  if (options_.ema > 0) {
    StateWriter average = writer.scope("average");
    save_slots(average, replica_.store().layout(), average_.span);
  }
}

void StepEngine::load(const StateReader& reader) {
  compute_.synchronize();  // the constructor's copies must not come after what is loaded
  replica_.store().load(reader.scope("model"));
  optimizer_.load(reader.scope("optimizer"));
  if (options_.ema > 0) load_slots(reader.scope("average"), replica_.store().layout(), average_.span);
  replica_.refresh_working(replica_.store().values(), compute_);
  compute_.synchronize();
}

void StepEngine::save_own(StateWriter& writer) const {
  StateWriter compression = writer.scope("compression");
  exchange_->save(compression);
}

std::span<const comm::Bucket> StepEngine::buckets() const noexcept { return exchange_->buckets(); }

}  // namespace lockstep::trainer
