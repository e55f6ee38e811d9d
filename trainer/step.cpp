#include "trainer/step.h"

#include <chrono>
#include <cstddef>
#include <utility>
#include <variant>

#include "core/event_state.h"
#include "core/vector/vector.h"
#include "trainer/backends.h"

namespace lockstep::trainer {

/// What the streams fill in while a step is on its way.
struct StepEngine::Record {
  StepResult result;
  Memory scalars;  ///< where the device's StepScalars are copied to
  std::int64_t bytes_before = 0;
  bool finished = false;
};

struct StepEngine::Flight {
  std::shared_ptr<Record> record;
  Event done;
};

namespace {

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

/// What compressors make of the momentum, the optimizer does not.
void leave_momentum_to(const comm::GradientExchange& exchange, Optimizer& optimizer) {
  using comm::MomentumKind;
  const MomentumKind kind = exchange.momentum();
  if (kind == MomentumKind::none) return;
  optimizer.take_momentum(kind == MomentumKind::heavy_ball ? 0 : exchange.exact_steps(),
                          kind == MomentumKind::refreshed);
}

FlatArray on_device(std::span<const float> numbers, Device device) {
  FlatArray array = make_array(device, Dtype::f32, static_cast<std::int64_t>(numbers.size()));
  copy_from_host(numbers.data(), array.span);
  return array;
}

}  // namespace

StepEngine::StepEngine(Replica& replica, Optimizer& optimizer, comm::Collectives& collectives,
                       const StepOptions& options, Stream& compute)
    : replica_(replica),
      optimizer_(optimizer),
      collectives_(collectives),
      options_(options),
      compute_(compute),
      kernels_(*device_kernels(replica.device()).step),
      exchange_(comm::make_exchange(replica.store().layout(), collectives, options.exchange)),
      statistics_(make_array(replica.device(), Dtype::f32, replica.store().state().count + kTailElements)),
      scalars_(make_array(replica.device(), Dtype::u8, sizeof(StepScalars))),
      squares_(make_array(replica.device(), Dtype::f64, 2)),
      shares_(
          on_device(momentum_of_state(replica.graph(), replica.store().state_layout()), replica.device())) {
  leave_momentum_to(*exchange_, optimizer_);
  place_optimizer();
  StepScalars start;
  if (options_.rule.scaling.dynamic) start.loss_scale = options_.rule.scaling.first;
  copy_from_host(&start, scalars_.span);
  decide_recording();  // before anything is enqueued: it may refuse
  if (options_.reproducible) make_trees();
  if (options_.ema > 0) {
    average_ = make_array(replica.device(), Dtype::f32, replica.store().values().count);
    vector::cast(replica_.store().values(), average_.span, compute_);
  }
  replica_.refresh_working(replica_.store().values(), compute_);
  if (can_record(replica.device())) position_ = make_array(replica.device(), Dtype::i64, 1);
}

StepEngine::~StepEngine() {
  try {
    compute_.synchronize();
  } catch (const Error&) {  // told to whoever collects a step
  }
}

void StepEngine::make_trees() {
  const int microbatches = static_cast<int>(options_.microbatches);
  gradient_tree_ = comm::make_tree_accumulator(replica_.store().gradients(), microbatches);
  statistics_tree_ = comm::make_tree_accumulator(statistics_.span, microbatches);
}

std::shared_ptr<StepEngine::Record> StepEngine::open_record(const StepOpening& opening) {
  auto record = std::make_shared<Record>();
  record->result.step = opening.step;
  record->result.rate = opening.rate;
  if (staging_.empty()) staging_.push_back(allocate_staging(replica_.device(), sizeof(StepScalars)));
  record->scalars = std::move(staging_.back());
  staging_.pop_back();
  kernels_.open(scalars(), opening, compute_);
  kernels_.note(compute_, [this, record] { record->bytes_before = sent_bytes(); });
  return record;
}

void StepEngine::close_record(const std::shared_ptr<Record>& record) {
  kernels_.read(scalars(), static_cast<StepScalars*>(record->scalars.data()), compute_);
  kernels_.note(compute_, [this, record] {
    StepResult& result = record->result;
    result.wire_bytes = sent_bytes() - record->bytes_before;
    result.compressed = exchange_->report().compressed;
    record->finished = true;
  });
  flights_.push_back({record, compute_.record()});
}

void StepEngine::enqueue(std::int64_t step, float rate, data::Loader& loader, bool stop) {
  const float mean = 1.0f / static_cast<float>(options_.global_microbatches);
  const StepOpening opening{.step = step, .rate = rate, .mean = mean, .stop = stop};
  if (trace_ != nullptr) trace_->enter(step);
  const auto record = open_record(opening);
  for (std::int64_t j = 0; j < options_.microbatches; ++j) {
    feed(loader);
    microbatch(j, opening);
  }
  close_record(record);
  ++enqueued_;
}

void StepEngine::feed(data::Loader& loader) {
  // Fed arrays stay valid for two further reads: the third must wait for the first to be consumed.
  while (feeds_.size() >= 2) {
    feeds_.front().wait();
    feeds_.pop_front();
  }
  const auto asked = std::chrono::steady_clock::now();
  const data::Microbatch& batch = loader.next();
  if (trace_ != nullptr) trace_->add("host", "wait for data", asked, std::chrono::steady_clock::now());
  const Trace::Span span(trace_, "compute", "feed", compute_);
  replica_.executor().feed(batch.input, batch.target, compute_);
  feeds_.push_back(compute_.record());
  first_position_ = batch.first_position;
}

void StepEngine::decide_recording() {
  if (options_.record == StepOptions::Record::never) return;
  if (!can_record(replica_.device())) {
    why_not_recorded_ = "the device cannot record";
  } else if (!collectives_.capturable()) {
    why_not_recorded_ = "messages go through the host";
  } else if (!exchange_->recordable()) {
    why_not_recorded_ = "compression takes the numbers of a step from the host";
  }
  if (options_.record == StepOptions::Record::always && !why_not_recorded_.empty()) {
    throw Error(Fault::config, "device.cuda.graph is on, but " + why_not_recorded_,
                "set device.cuda.graph to auto");
  }
  records_ = why_not_recorded_.empty();
}

std::int64_t StepEngine::recording_key(std::int64_t j) const {
  if (gradient_tree_) return j;
  const bool first = j == 0, last = j + 1 == options_.microbatches;
  return (first ? 1 : 0) + (last ? 2 : 0);
}

void StepEngine::microbatch(std::int64_t j, const StepOpening& opening) {
  if (position_.span.count > 0)
    kernels_.set_position(static_cast<std::int64_t*>(position_.span.data), first_position_, compute_);
  // The first step lets libraries and scratch memory settle.
  if (!records_ || trace_ != nullptr || enqueued_ == 0 || !exchange_->recordable_in(opening.step))
    return compute(j, opening);
  Recorded& recorded = recordings_[recording_key(j)];
  if (recorded.work != nullptr) {
    replayed_bytes_ += recorded.bytes;
    exchange_->replayed();
  } else {
    const std::int64_t before = collectives_.traffic().bytes;
    recorded.work = record_work(compute_, [&] { compute(j, opening); });
    recorded.bytes = collectives_.traffic().bytes - before;  // counted once, while it was recorded
  }
  const Event begin = compute_.record();
  recorded.work->run(compute_);
  collectives_.replayed(recorded.bytes, begin, compute_.record(), compute_);
}

std::int64_t StepEngine::sent_bytes() const { return collectives_.traffic().bytes + replayed_bytes_; }

models::Pass StepEngine::pass_of(std::int64_t j, FlatSpan statistics) {
  models::Pass pass = replica_.pass(models::Mode::train, replica_.store().values());
  if (gradient_tree_) pass.gradients = gradient_tree_->target(static_cast<int>(j));
  pass.statistics = statistics.part(0, statistics.count - kTailElements);
  pass.accumulate = !gradient_tree_ && j > 0;
  pass.trace = trace_;
  pass.first_sample = first_position_;
  if (position_.span.count > 0) pass.first_sample_at = static_cast<const std::int64_t*>(position_.span.data);
  if (options_.rule.scaling.dynamic) pass.loss_scale = &scalars()->loss_scale;
  return pass;
}

void StepEngine::compute(std::int64_t j, const StepOpening& opening) {
  models::Executor& executor = replica_.executor();
  const int index = static_cast<int>(j);
  const bool last = j + 1 == options_.microbatches;
  const FlatSpan statistics = statistics_tree_ ? statistics_tree_->target(index) : statistics_.span;
  const models::Pass pass = pass_of(j, statistics);
  if (last) {
    exchange_->begin(replica_.store().gradients(),
                     {.step = opening.step, .rate = opening.rate, .scale = opening.mean});
  }
  StepTail* tail = tail_of(statistics);
  if (!pass.accumulate) kernels_.begin_tail(tail, scalars(), j == 0, compute_);
  executor.forward(pass, compute_);
  executor.add_loss(&tail->loss, compute_);
  if (statistics_tree_) statistics_tree_->complete(index, statistics.count, compute_);
  if (last && !compresses()) sum_statistics();

  executor.backward(
      pass, [&](int complete) { gradients_ready(index, complete); }, compute_);
  if (!last) return;
  await_sums();
  const Trace::Span span(trace_, "compute", "update", compute_);
  finish_norm();
  exchange_->settle(&scalars()->skip, compute_);
  update();
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

StepResult StepEngine::collect() {
  Flight flight = std::move(flights_.front());
  flights_.pop_front();
  flight.done.wait();
  if (!flight.record->finished || flight.done.state()->failure()) {
    compute_.synchronize();
    throw Error(Fault::internal, "step " + std::to_string(flight.record->result.step) + " did not finish",
                "");
  }
  StepResult& result = flight.record->result;
  const auto& scalars = *static_cast<const StepScalars*>(flight.record->scalars.data());
  result.loss = scalars.loss;
  result.gradient_norm = scalars.gradient_norm;
  result.skipped = scalars.skip == kSkipNonfinite;
  result.overflowed = scalars.skip == kSkipOverflow;
  result.loss_scale = scalars.loss_scale;
  result.stop = scalars.stop > 0;
  result.exposed_comm_s = static_cast<double>(scalars.waited_s);
  staging_.push_back(std::move(flight.record->scalars));
  return result;
}

void StepEngine::tell(Trace* trace) noexcept {
  trace_ = trace;
  exchange_->tell(trace);
}

int StepEngine::in_flight() const noexcept { return static_cast<int>(flights_.size()); }

void StepEngine::acknowledge() {
  kernels_.acknowledge(scalars(), compute_);
  compute_.synchronize();
}

FlatSpan StepEngine::evaluation_values() const noexcept {
  return options_.ema > 0 ? average_.span : replica_.store().values();
}

std::span<const comm::Bucket> StepEngine::buckets() const noexcept { return exchange_->buckets(); }

}  // namespace lockstep::trainer
