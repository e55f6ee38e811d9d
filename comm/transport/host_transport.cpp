#include "comm/transport/host_transport.h"

#include <spdlog/fmt/fmt.h>

#include <utility>
#include <vector>

namespace lockstep::comm {

void HostTransport::check(int peer, const FlatSpan& data) const {
  if (peer < 0 || peer >= size()) {
    throw Error(Fault::internal, fmt::format("a message names rank {} of {} ranks", peer, size()));
  }
  if (data.device.kind != DeviceKind::cpu) {
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
    messages_ += static_cast<std::int64_t>(outgoing.size());
    bytes_ += bytes;
  });
}

Traffic HostTransport::traffic() const noexcept { return {messages_.load(), bytes_.load()}; }

}  // namespace lockstep::comm
