#include "comm/transport/host_transport.h"

#include <spdlog/fmt/fmt.h>

#include <utility>
#include <vector>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

void HostTransport::check(int peer, const FlatSpan& data) const {
  if (peer < 0 || peer >= size()) {
    throw Error(Fault::internal, fmt::format("a message names rank {} of {} ranks", peer, size()));
  }
  if (!takes(data.device.kind)) {
    throw Error(Fault::device, "this transport moves host memory only, but the message lies on a device",
                "choose a transport for that device, or device: cpu");
  }
}

void HostTransport::transfer(std::span<const Send> sends, std::span<const Recv> receives,
                             const Operation& operation, Stream& stream) {
  std::vector<Send> outgoing;
  std::vector<Recv> incoming;
  for (const Send& send : sends) {
    check(send.to, send.data);
    if (send.data.count > 0) outgoing.push_back(send);
  }
  for (const Recv& receive : receives) {
    check(receive.from, receive.data);
    if (receive.data.count > 0) incoming.push_back(receive);
  }
  if (outgoing.empty() && incoming.empty()) return;
  stream.host([this, operation, outgoing = std::move(outgoing), incoming = std::move(incoming)] {
    publish(position_in(operation, true));
    move(outgoing, incoming, operation);
    publish(position_in(operation, false));
    std::int64_t bytes = 0;
    for (const Send& send : outgoing) bytes += static_cast<std::int64_t>(send.data.bytes());
    count(static_cast<std::int64_t>(outgoing.size()), bytes);
  });
}

void HostTransport::count(std::int64_t messages, std::int64_t bytes) noexcept {
  messages_ += messages;
  bytes_ += bytes;
}

SharedExchange& HostTransport::shared() {
  if (shared_ == nullptr) {
    std::vector<std::byte*> stages = share(SharedExchange::stage_bytes());
    if (stages.empty()) {
      throw Error(Fault::communication, "this node has no room for shared memory (/dev/shm) to sum in",
                  "enlarge it (docker run --shm-size=1g) or set allreduce.name to halving_doubling");
    }
    shared_ = std::make_unique<SharedExchange>(rank_, stages, crowded_);
  }
  return *shared_;
}

Memory HostTransport::shared_memory(std::size_t bytes) {
  if (!shares() || bytes == 0) return {};
  std::vector<std::byte*> blocks = share(bytes);
  if (blocks.empty()) return {};
  std::byte* const mine = blocks[static_cast<std::size_t>(rank_)];
  shared().add_blocks(std::move(blocks), bytes);
  return {mine, bytes, Device{}, [](void*) {}};
}

bool HostTransport::shared_sum(const Plan& plan, FlatSpan data, const Operation& operation, Stream& stream) {
  if (size() == 1 || data.count == 0) return true;
  if (!shares() || data.device.kind != DeviceKind::cpu) return false;
  const bool whole = plan.rounds.size() == 1;
  if (whole && data.bytes() > SharedExchange::piece_bytes()) return false;
  const Cost cost = plan.cost();
  stream.host([this, whole, cost, data, operation] {
    publish(position_in(operation, true));
    const Deadline deadline(deadline_s_);
    const auto impatience = [&](const SharedExchange::Missing& missing) {
      stop_if_hopeless(operation, deadline, missing);
    };
    try {
      whole ? shared().one_shot(data, impatience) : shared().two_shot(data, impatience);
    } catch (const std::exception& error) {
      tell_failure(error);
      throw;
    }
    publish(position_in(operation, false));
    count(cost.messages, cost.elements * static_cast<std::int64_t>(size_of(data.dtype)));
  });
  return true;
}

Traffic HostTransport::traffic() const noexcept { return {messages_.load(), bytes_.load()}; }

}  // namespace lockstep::comm
