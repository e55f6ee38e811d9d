// Which kernel sums what, and the memory that it needs.
#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "comm/collectives.h"
#include "comm/peer/copies.h"
#include "comm/peer/kernels.h"
#include "comm/peer/peer.h"
#include "comm/peer/region.h"
#include "comm/peer/watch.h"
#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep::comm {

namespace {

/// Arrays that are not in shared memory pass through it in pieces of this size: large enough that the two
/// barriers of a piece do not show.
constexpr std::size_t kStagingBytes = std::size_t{32} << 20;

/// What a transport and its duplicates have in common.
struct PeerNode {
  PeerSums sums;
  World& world;
  TransportSite site;
  Control control;
  std::vector<std::weak_ptr<const Region>> lent;
};

std::unique_ptr<Collectives> host_collectives(World& world, double deadline_s) {
  const auto& row = schedules().row(default_schedule({.host = false}));
  return make_collectives(world.transport(deadline_s),
                          schedules().create(row.name, Options::of(row.settings)));
}

class PeerTransport final : public Transport, private MappedMemory {
 public:
  PeerTransport(std::unique_ptr<Transport> messages, std::shared_ptr<PeerNode> node)
      : messages_(std::move(messages)),
        node_(std::move(node)),
        board_(node_->control, node_->site.device, sizeof(Board)),
        staging_(node_->control, node_->site.device, kStagingBytes),
        watch_(node_->world.watchpost(), rank()) {
    if (node_->sums.copies_from < std::numeric_limits<std::int64_t>::max())
      copies_.emplace(node_->control, node_->site.device, node_->sums);
    call_.notes = watch_.notes();
    call_.deadline_ns = static_cast<std::uint64_t>(node_->site.deadline_s * 1e9);
    call_.rank = rank();
    call_.ranks = size();
    for (int each = 0; each < size(); ++each)
      call_.boards[each] = reinterpret_cast<Board*>(board_.blocks()[static_cast<std::size_t>(each)]);
  }
  /// Work that is still there waits for a peer in vain.
  ~PeerTransport() override { watch_.abort(); }

  [[nodiscard]] int rank() const noexcept override { return messages_->rank(); }
  [[nodiscard]] int size() const noexcept override { return messages_->size(); }
  [[nodiscard]] Topology topology() const override { return messages_->topology(); }
  [[nodiscard]] bool capturable() const noexcept override { return true; }
  [[nodiscard]] std::unique_ptr<Transport> duplicate() override {
    return std::make_unique<PeerTransport>(messages_->duplicate(), node_);
  }
  [[nodiscard]] Traffic traffic() const noexcept override {
    const Traffic other = messages_->traffic();
    return {other.messages + sent_messages_.load(), other.bytes + sent_bytes_.load()};
  }
  void transfer(std::span<const Send> sends, std::span<const Recv> receives, const Operation& operation,
                Stream& stream) override {
    messages_->transfer(sends, receives, operation, stream);
  }
  bool library_sum(FlatSpan data, const Operation& operation, Stream& stream) override {
    return messages_->library_sum(data, operation, stream);
  }

  bool shared_sum(const Plan& plan, FlatSpan data, const Operation& operation, Stream& stream) override {
    const bool one_shot = plan.rounds.size() == 1;
    if (!peer_summable(data.dtype) || data.device != node_->site.device) return false;
    if (one_shot && static_cast<std::int64_t>(data.bytes()) > kMostLineBytes) return false;
    if (data.count == 0) return true;
    const cudaStream_t on = begin(operation.bucket, operation.bytes, stream);
    if (one_shot) {
      launch_one_shot(call_, data.dtype, data.data, data.count, on);
    } else {
      sum_in_two_shots(data, on);
    }
    const Cost cost = plan.cost();
    count(cost.messages, cost.elements * static_cast<std::int64_t>(size_of(data.dtype)));
    return true;
  }

  [[nodiscard]] Memory shared_memory(std::size_t bytes) override {
    auto region = std::make_shared<const Region>(node_->control, node_->site.device, bytes);
    node_->lent.push_back(region);
    return Memory(region->own(), bytes, node_->site.device, [region](void*) {});
  }

  [[nodiscard]] MappedMemory* mapped_memory() noexcept override { return size() > 1 ? this : nullptr; }

 private:
  [[nodiscard]] Memory lend(std::size_t bytes) override { return shared_memory(bytes); }
  [[nodiscard]] FlatSpan view(int rank, FlatSpan data) const override {
    const auto region = region_of(data);
    if (!region) throw Error(Fault::internal, "no rank but this one reaches an array");
    data.data = region->blocks()[static_cast<std::size_t>(rank)] +
                (static_cast<std::byte*>(data.data) - region->own());
    return data;
  }
  void meet(int bucket, Stream& stream) override { launch_meet(call_, begin(bucket, 0, stream)); }
  void count(std::int64_t messages, std::int64_t bytes) noexcept override {
    sent_messages_ += messages;
    sent_bytes_ += bytes;
  }

  /// What kernels of the next operation are told.
  cudaStream_t begin(int bucket, std::int64_t bytes, Stream& stream) {
    watch_.guard(stream);
    call_.bucket = bucket;
    call_.bytes = bytes;
    return cuda::native(stream);
  }

  void sum_in_two_shots(const FlatSpan& data, cudaStream_t on) {
    if (const auto region = region_of(data)) return add_mapped(*region, data, on);
    const auto most = static_cast<std::int64_t>(kStagingBytes / size_of(data.dtype));
    for (std::int64_t first = 0; first < data.count; first += most) {
      const FlatSpan piece = data.part(first, std::min(most, data.count - first));
      FlatSpan staged = piece;
      staged.data = staging_.own();
      cuda::copy_on_device(staged.data, piece.data, piece.bytes(), on);
      add_mapped(staging_, staged, on);
      cuda::copy_on_device(piece.data, staged.data, piece.bytes(), on);
    }
  }

  void add_mapped(const Region& region, const FlatSpan& data, cudaStream_t on) {
    const auto offset = static_cast<std::byte*>(data.data) - region.own();
    Arrays arrays{};
    for (int each = 0; each < size(); ++each)
      arrays.of[each] = region.blocks()[static_cast<std::size_t>(each)] + offset;
    if (data.count >= node_->sums.copies_from) {
      copies_->sum(call_, data.dtype, arrays, data.count, on);
    } else {
      launch_two_shot(call_, data.dtype, arrays, data.count, node_->sums.blocks, on);
    }
  }

  /// The shared memory that the array lies in, at a boundary that kernels can use; null: none.
  [[nodiscard]] std::shared_ptr<const Region> region_of(const FlatSpan& data) const {
    constexpr std::uintptr_t kPackBytes = 16;
    if (reinterpret_cast<std::uintptr_t>(data.data) % kPackBytes != 0) return nullptr;
    std::erase_if(node_->lent, [](const auto& each) { return each.expired(); });
    for (const auto& each : node_->lent) {
      auto region = each.lock();
      if (region && region->contains(data.data, data.bytes())) return region;
    }
    return nullptr;
  }

  std::unique_ptr<Transport> messages_;
  std::shared_ptr<PeerNode> node_;
  Region board_;
  Region staging_;
  std::optional<PeerCopies> copies_;  // where the settings let them run: they need room
  PeerWatch watch_;                   // dies first
  Call call_{};
  std::atomic<std::int64_t> sent_messages_{0};
  std::atomic<std::int64_t> sent_bytes_{0};
};

}  // namespace

std::unique_ptr<Transport> make_peer_transport(std::unique_ptr<Transport> messages, const PeerSums& sums,
                                               World& world, const TransportSite& site) {
  if (world.size() > kMostRanks || world.local_size() != world.size()) {
    throw Error(Fault::config,
                "'allreduce.name: peer' sums over at most " + std::to_string(kMostRanks) +
                    " GPUs of one node, but there are " + std::to_string(world.size()) + " ranks, " +
                    std::to_string(world.local_size()) + " of them on this node",
                "choose allreduce.name: library or hierarchical");
  }
  auto node = std::make_shared<PeerNode>(
      PeerNode{sums, world, site, Control(host_collectives(world, site.deadline_s)), {}});
  return std::make_unique<PeerTransport>(std::move(messages), std::move(node));
}

}  // namespace lockstep::comm
