#include "comm/device_messages.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "core/backends.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/round_up.h"

namespace lockstep::comm {

namespace {

constexpr std::size_t kAlignment = 256;

class DeviceMessages final : public Transport {
 public:
  DeviceMessages(std::unique_ptr<Transport> host, Device device, MessagePath path)
      : host_(std::move(host)),
        device_(device),
        path_(path),
        worker_(make_stream(Device{}, {.name = "gpu messages", .threads = 1})) {
    if (path_ == MessagePath::direct) worker_->host([device] { backend_of(device).enter(device); });
  }

  [[nodiscard]] int rank() const noexcept override { return host_->rank(); }
  [[nodiscard]] int size() const noexcept override { return host_->size(); }
  [[nodiscard]] Topology topology() const override { return host_->topology(); }
  [[nodiscard]] Traffic traffic() const noexcept override { return host_->traffic(); }
  [[nodiscard]] std::unique_ptr<Transport> duplicate() override {
    return make_device_messages(host_->duplicate(), device_, path_);
  }

  void transfer(std::span<const Send> sends, std::span<const Recv> receives, const Operation& operation,
                Stream& stream) override {
    if (path_ == MessagePath::direct) return pass_on(sends, receives, operation, stream);
    reserve(sends, receives);
    std::size_t used = 0;
    std::vector<Send> outgoing;
    std::vector<Recv> incoming;
    for (const Send& send : sends) {
      outgoing.push_back({send.to, place(send.data, used)});
      copy(send.data, outgoing.back().data, stream);
    }
    for (const Recv& receive : receives) incoming.push_back({receive.from, place(receive.data, used)});
    pass_on(outgoing, incoming, operation, stream);
    for (std::size_t i = 0; i < receives.size(); ++i) copy(incoming[i].data, receives[i].data, stream);
    last_use_ = stream.record();
  }

  bool library_sum(FlatSpan data, const Operation& operation, Stream& stream) override {
    const Recv all{0, data};
    reserve({}, {&all, 1});
    std::size_t used = 0;
    const FlatSpan staged = place(data, used);
    copy(data, staged, stream);
    worker_->wait(stream.record());
    if (!host_->library_sum(staged, operation, *worker_)) return false;
    stream.wait(worker_->record());
    copy(staged, data, stream);
    last_use_ = stream.record();
    return true;
  }

 private:
  void pass_on(std::span<const Send> sends, std::span<const Recv> receives, const Operation& operation,
               Stream& stream) {
    worker_->wait(stream.record());
    host_->transfer(sends, receives, operation, *worker_);
    stream.wait(worker_->record());
  }

  void reserve(std::span<const Send> sends, std::span<const Recv> receives) {
    std::size_t bytes = 0;
    for (const Send& send : sends) bytes += round_up(send.data.bytes(), kAlignment);
    for (const Recv& receive : receives) bytes += round_up(receive.data.bytes(), kAlignment);
    if (bytes <= staging_.bytes()) return;
    last_use_.wait();
    staging_ = allocate_staging(device_, bytes);
  }

  FlatSpan place(const FlatSpan& data, std::size_t& used) const {
    const FlatSpan staged = staging_.view(data.dtype, data.count, used);
    used += round_up(data.bytes(), kAlignment);
    return staged;
  }

  std::unique_ptr<Transport> host_;
  Device device_;
  MessagePath path_;
  std::unique_ptr<Stream> worker_;
  Memory staging_;
  Event last_use_;
};

}  // namespace

MessagePath message_path(std::string_view wanted, bool takes_gpu_memory, const std::string& key) {
  if (wanted == "staged") return MessagePath::staged;
  if (takes_gpu_memory) return MessagePath::direct;
  if (wanted == "auto") return MessagePath::staged;
  throw Error(Fault::config, key + " is direct, but this MPI takes no GPU memory",
              "set it to auto, or run with an MPI library that is CUDA-aware");
}

std::unique_ptr<Transport> make_device_messages(std::unique_ptr<Transport> host, Device device,
                                                MessagePath path) {
  return std::make_unique<DeviceMessages>(std::move(host), device, path);
}

}  // namespace lockstep::comm
