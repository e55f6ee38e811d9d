// The end of a step: the sums over ranks, the norm of the summed gradients, the update, and with a sharded
// optimizer the exchange of updated values.
#include <algorithm>
#include <string>
#include <vector>

#include "core/vector/vector.h"
#include "trainer/step.h"

namespace lockstep::trainer {

std::string sharding_text(const Optimizer& optimizer, const SlotLayout& layout, int ranks) {
  const auto bytes = static_cast<std::size_t>(optimizer.state_bytes_per_parameter());
  const auto whole = static_cast<std::size_t>(layout.stored_count());
  const auto part = static_cast<std::size_t>(largest_part(layout, ranks));
  return "optimizer state: at most " + bytes_text(part * bytes) + " of " + bytes_text(whole * bytes) +
         " on a rank, sharded over " + std::to_string(ranks);
}

void StepEngine::place_optimizer() {
  const SlotLayout& layout = replica_.store().layout();
  if (options_.shard && collectives_.size() > 1) parts_ = cut_parts(layout, collectives_.size());
  optimizer_.own(parts_.empty() ? whole_of(layout) : parts_[static_cast<std::size_t>(collectives_.rank())]);
}

StepTail* StepEngine::tail_of(FlatSpan array) noexcept {
  return reinterpret_cast<StepTail*>(array.at(array.count - kTailElements));
}

bool StepEngine::compresses() const { return exchange_->nonfinite().count > 0; }

void StepEngine::sum_statistics() {
  Stream& stream = exchange_->stream();
  stream.wait(compute_.record());
  if (compresses()) {
    const auto* nonfinite = static_cast<const std::int64_t*>(exchange_->nonfinite().data);
    kernels_.poison(tail_of(statistics_.span), nonfinite, stream);
  }
  const Trace::Span span(trace_, "communication", "statistics and loss", stream,
                         static_cast<std::int64_t>(statistics_.span.bytes()));
  collectives_.sum(statistics_.span, stream);
}

void StepEngine::await_sums() {
  const Trace::Span span(trace_, "compute", "wait for sums", compute_);
  Stream& stream = exchange_->stream();
  kernels_.begin_wait(scalars(), compute_);
  if (compresses()) sum_statistics();
  add_first_squares();
  exchange_->finish(compute_);
  compute_.wait(stream.record());
  kernels_.end_wait(scalars(), compute_);
}

/// A GPU adds the squares of what has come while the last bucket is on its way. Not in reproducible mode:
/// where that begins depends on the size of buckets.
void StepEngine::add_first_squares() {
  if (options_.reproducible || replica_.device().kind == DeviceKind::cpu || collectives_.size() == 1) return;
  squared_ = exchange_->finish_first(compute_);
  if (squared_ == 0) return;
  kernels_.end_wait(scalars(), compute_);
  vector::sum_of_squares(replica_.store().gradients().part(0, squared_), squares_.span.part(0, 1), compute_);
  kernels_.begin_wait(scalars(), compute_);
}

void StepEngine::finish_norm() {
  const FlatSpan gradients = replica_.store().gradients();
  vector::sum_of_squares(gradients.part(squared_, gradients.count - squared_), squares_.span.part(1, 1),
                         compute_);
  kernels_.finish(scalars(), static_cast<const double*>(squares_.span.data), tail_of(statistics_.span),
                  options_.rule, compute_);
}

void StepEngine::update() {
  ParameterStore& store = replica_.store();
  optimizer_.step(store.values(), store.gradients(), scalars(), compute_, replica_.working());
  if (!parts_.empty()) gather_values();
  if (store.state().count > 0) {
    const FlatSpan fresh = statistics_.span.part(0, store.state().count);
    kernels_.update_state(store.state(), fresh, shares_.span, scalars(), compute_);
  }
  if (options_.ema > 0) {
    kernels_.update_average(average_.span, store.values(), static_cast<float>(options_.ema), scalars(),
                            compute_);
  }
}

/// A skipped step sends what was there: the host decides nothing within a step.
void StepEngine::gather_values() {
  const FlatSpan values = replica_.store().values();
  const auto part = [&](int rank) {
    const Part& own = parts_[static_cast<std::size_t>(rank)];
    return values.part(own.first, own.count);
  };
  std::vector<comm::Send> sends;
  std::vector<comm::Recv> receives;
  // Rank by rank from the next one on, so that not all send to the same one first.
  for (int i = 1; i < collectives_.size(); ++i) {
    const int to = (collectives_.rank() + i) % collectives_.size();
    const int from = (collectives_.rank() + collectives_.size() - i) % collectives_.size();
    if (part(collectives_.rank()).count > 0) sends.push_back({to, part(collectives_.rank())});
    if (part(from).count > 0) receives.push_back({from, part(from)});
  }
  Stream& stream = exchange_->stream();
  stream.wait(compute_.record());
  kernels_.begin_wait(scalars(), compute_);
  collectives_.exchange(sends, receives, stream);
  compute_.wait(stream.record());
  kernels_.end_wait(scalars(), compute_);
  replica_.refresh_working(values, compute_);
}

}  // namespace lockstep::trainer
