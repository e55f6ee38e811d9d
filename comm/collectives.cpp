#include "comm/collectives.h"

#include <spdlog/fmt/fmt.h>

#include <map>
#include <utility>

#include "comm/allreduce/runner.h"
#include "comm/movement.h"
#include "core/memory.h"
#include "core/vector/vector.h"

namespace lockstep::comm {

namespace {

/// Scratch that grows. Blocks that enqueued work may still use are kept until their event has passed.
class Scratch {
 public:
  FlatSpan get(Device device, Dtype dtype, std::int64_t count, Stream& stream) {
    const std::size_t bytes = static_cast<std::size_t>(count) * size_of(dtype);
    if (bytes > memory_.bytes()) {
      std::erase_if(retired_, [](const auto& each) { return each.first.complete(); });
      if (memory_.bytes() > 0) retired_.emplace_back(stream.record(), std::move(memory_));
      memory_ = allocate(device, bytes);
    }
    return {memory_.data(), count, dtype, device};
  }

 private:
  Memory memory_;
  std::vector<std::pair<Event, Memory>> retired_;
};

class PlannedCollectives final : public Collectives {
 public:
  PlannedCollectives(std::unique_ptr<Transport> transport, std::shared_ptr<const Schedule> schedule)
      : transport_(std::move(transport)), schedule_(std::move(schedule)) {}

  [[nodiscard]] int rank() const noexcept override { return transport_->rank(); }
  [[nodiscard]] int size() const noexcept override { return transport_->size(); }

  void sum(FlatSpan data, Stream& stream, int bucket) override {
    const Operation operation = next(schedule_->name(), data, bucket);
    if (size() == 1) return;
    if (schedule_->library() && transport_->library_sum(data, operation, stream)) return;
    const Plan& plan = plan_for(data.count);
    if (schedule_->shared() && plan.rounds.size() <= 2 &&
        transport_->shared_sum(plan, data, operation, stream)) {
      return;
    }
    run(plan, data, operation, stream);
  }

  Memory shared_memory(std::size_t bytes) override {
    return schedule_->shared() || schedule_->library() ? transport_->shared_memory(bytes) : Memory{};
  }

  MappedMemory* mapped_memory() noexcept override { return transport_->mapped_memory(); }

  void gather(FlatSpan mine, FlatSpan all, Stream& stream) override {
    const Operation operation = next("gather", all, -1);
    if (all.count != size() * mine.count || all.dtype != mine.dtype) {
      throw Error(Fault::internal, fmt::format("gather of {} elements from {} ranks into an array of {}",
                                               mine.count, size(), all.count));
    }
    const FlatSpan block = all.part(rank() * mine.count, mine.count);
    if (block.data != mine.data && mine.count > 0) vector::cast(mine, block, stream);
    run(gather_plan(rank(), size(), mine.count), all, operation, stream);
  }

  void broadcast(FlatSpan data, int root, Stream& stream) override {
    const Operation operation = next("broadcast", data, -1);
    run(broadcast_plan(rank(), size(), root, data.count), data, operation, stream);
  }

  void exchange(std::span<const Send> sends, std::span<const Recv> receives, Stream& stream) override {
    Operation operation = next("exchange", {}, -1);
    for (const Send& send : sends) operation.bytes += static_cast<std::int64_t>(send.data.bytes());
    transport_->transfer(sends, receives, operation, stream);
  }

  void barrier(Stream& stream) override {
    const FlatSpan token = barrier_token_.get(stream.device(), Dtype::u8, 2, stream);
    run(barrier_plan(rank(), size()), token, next("barrier", token, -1), stream);
  }

  [[nodiscard]] bool capturable() const noexcept override { return size() == 1 || transport_->capturable(); }
  void replayed(std::int64_t bytes, const Event& begin, const Event& end, Stream& stream) override {
    transport_->watch({"recorded work", ++sequence_, -1, bytes}, begin, end, stream);
  }
  [[nodiscard]] Traffic traffic() const noexcept override { return transport_->traffic(); }
  [[nodiscard]] std::unique_ptr<Collectives> duplicate() override {
    return make_collectives(transport_->duplicate(), schedule_);
  }

 private:
  Operation next(std::string_view name, const FlatSpan& data, int bucket) {
    return {name, ++sequence_, bucket, static_cast<std::int64_t>(data.bytes())};
  }

  /// Buckets come again every step: their plans are kept.
  const Plan& plan_for(std::int64_t count) {
    const auto found = plans_.find(count);
    if (found != plans_.end()) return found->second;
    return plans_.emplace(count, schedule_->plan(rank(), transport_->topology(), count)).first->second;
  }

  void run(const Plan& plan, FlatSpan data, const Operation& operation, Stream& stream) {
    const FlatSpan scratch = scratch_.get(data.device, data.dtype, scratch_elements(plan), stream);
    run_plan(plan, data, scratch, *transport_, operation, stream);
  }

  std::unique_ptr<Transport> transport_;
  std::shared_ptr<const Schedule> schedule_;
  std::map<std::int64_t, Plan> plans_;
  Scratch scratch_;
  Scratch barrier_token_;
  std::int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<Collectives> make_collectives(std::unique_ptr<Transport> transport,
                                              std::shared_ptr<const Schedule> schedule) {
  return std::make_unique<PlannedCollectives>(std::move(transport), std::move(schedule));
}

}  // namespace lockstep::comm
