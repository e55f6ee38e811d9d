// NCCL as a transport: a transfer is one group of sends and receives, so every schedule's rounds run over it;
// the library's own all-reduce is ncclAllReduce. Memory that this transport lends is allocated by NCCL and
// registered as a symmetric window, which lets ncclAllReduce read peers directly.
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include "comm/collectives.h"
#include "comm/nccl/communicator.h"
#include "comm/nccl/watch.h"
#include "comm/worlds.h"
#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep::comm {

namespace {

using lockstep::cuda::native;

std::optional<ncclDataType_t> nccl_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return ncclFloat64;
    case Dtype::f32:
      return ncclFloat32;
    case Dtype::bf16:
      return ncclBfloat16;
    case Dtype::f16:
      return ncclFloat16;
    case Dtype::i64:
      return ncclInt64;
    case Dtype::i32:
      return ncclInt32;
    case Dtype::u8:
      return ncclUint8;
    default:
      return std::nullopt;
  }
}

/// Whether NCCL's symmetric kernels, which read registered memory of peers, beat its rings: measured on two
/// GPUs joined by NVLink (docs/benchmarks.md).
bool worth_symmetric(std::size_t bytes) {
  return bytes <= 32 << 10 || (bytes > 2 << 20 && bytes <= 32 << 20);
}

class NcclTransport final : public Transport {
 public:
  /// Collective.
  NcclTransport(std::unique_ptr<Communicator> communicator, std::shared_ptr<CommunicatorFamily> family,
                World& world, const Topology& topology, const TransportSite& site,
                const CommunicatorOptions& options)
      : communicator_(std::move(communicator)),
        family_(std::move(family)),
        world_(world),
        site_(site),
        options_(options),
        topology_(topology),
        watch_(*communicator_, family_, world.watchpost(), world.rank(), site.deadline_s) {}

  [[nodiscard]] int rank() const noexcept override { return world_.rank(); }
  [[nodiscard]] int size() const noexcept override { return world_.size(); }
  [[nodiscard]] Topology topology() const override { return topology_; }
  [[nodiscard]] bool capturable() const noexcept override { return true; }
  [[nodiscard]] Traffic traffic() const noexcept override { return {messages_.load(), bytes_.load()}; }

  void transfer(std::span<const Send> sends, std::span<const Recv> receives, const Operation& operation,
                Stream& stream) override {
    watched(operation, stream, [&](cudaStream_t on) {
      check(ncclGroupStart(), "ncclGroupStart");
      for (const Send& send : sends) {
        if (send.data.count == 0) continue;
        check(ncclSend(send.data.data, send.data.bytes(), ncclUint8, send.to, comm(), on), "ncclSend");
        ++messages_;
        bytes_ += static_cast<std::int64_t>(send.data.bytes());
      }
      for (const Recv& receive : receives) {
        if (receive.data.count == 0) continue;
        check(ncclRecv(receive.data.data, receive.data.bytes(), ncclUint8, receive.from, comm(), on),
              "ncclRecv");
      }
      check(ncclGroupEnd(), "ncclGroupEnd");
    });
  }

  bool library_sum(FlatSpan data, const Operation& operation, Stream& stream) override {
    const std::optional<ncclDataType_t> type = nccl_type(data.dtype);
    if (!type) return false;
    // NCCL reads registered memory directly wherever its communicator knows it, also where rings are faster.
    const bool ring = plain_ != nullptr && !worth_symmetric(data.bytes());
    const ncclComm_t sums = ring ? plain_->get() : comm();
    watched(operation, stream, [&](cudaStream_t on) {
      check_nccl(
          ncclAllReduce(data.data, data.data, static_cast<std::size_t>(data.count), *type, ncclSum, sums, on),
          "ncclAllReduce", sums);
    });
    return true;
  }

  void watch(const Operation& operation, const Event& begin, const Event& end, Stream& stream) override {
    watch_.add(operation, begin, end, stream);
  }

  [[nodiscard]] Memory shared_memory(std::size_t bytes) override;

  [[nodiscard]] std::unique_ptr<Transport> duplicate() override {
    return std::make_unique<NcclTransport>(std::make_unique<Communicator>(*communicator_, options_), family_,
                                           world_, topology_, site_, options_);
  }

 private:
  [[nodiscard]] ncclComm_t comm() const { return communicator_->get(); }
  void check(ncclResult_t result, const char* call) const { check_nccl(result, call, comm()); }

  /// Captured work has no events of its own: whoever launches the graph tells watch() of the whole.
  template <class Enqueue>
  void watched(const Operation& operation, Stream& stream, Enqueue enqueue) {
    const cudaStream_t on = native(stream);
    cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
    cuda::check(cudaStreamIsCapturing(on, &capturing), "cudaStreamIsCapturing");
    if (capturing != cudaStreamCaptureStatusNone) return enqueue(on);
    if (communicator_->aborted()) stream.synchronize();  // throws the watch's report
    Event begin = stream.record();
    enqueue(on);
    watch_.add(operation, std::move(begin), stream.record(), stream);
  }

  std::unique_ptr<Communicator> communicator_;
  std::shared_ptr<CommunicatorFamily> family_;
  std::unique_ptr<Communicator> plain_;  ///< knows no registered memory; null until some was lent
  World& world_;
  TransportSite site_;
  CommunicatorOptions options_;
  Topology topology_;
  std::atomic<std::int64_t> messages_{0};
  std::atomic<std::int64_t> bytes_{0};
  NcclWatch watch_;  // dies first: it looks at the communicators
};

Memory NcclTransport::shared_memory(std::size_t bytes) {
  if (!options_.register_memory || bytes == 0) return {};
  if (plain_ == nullptr && size() > 1) {
    plain_ = std::make_unique<Communicator>(*communicator_, options_);
    watch_.add(*plain_);
  }
  constexpr std::size_t kWindow = 4096;  // windows are whole pages
  const std::size_t whole = (bytes + kWindow - 1) / kWindow * kWindow;
  void* data = nullptr;
  check(ncclMemAlloc(&data, whole), "ncclMemAlloc");
  cuda::check(cudaMemset(data, 0, whole), "cudaMemset");
  cuda::check(cudaDeviceSynchronize(), "cudaMemset");
  ncclWindow_t window = nullptr;
  check(ncclCommWindowRegister(comm(), data, whole, &window, NCCL_WIN_COLL_SYMMETRIC),
        "ncclCommWindowRegister");
  return Memory(data, bytes, site_.device, [communicator = communicator_.get(), window](void* block) {
    if (window != nullptr) communicator->deregister(window);
    static_cast<void>(ncclMemFree(block));
  });
}

/// Rank 0's id on every rank.
ncclUniqueId shared_id(std::unique_ptr<Transport> host) {
  ncclUniqueId id{};
  if (host->rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
  const auto& row = schedules().row(default_schedule({.host = false}));
  Control control(make_collectives(std::move(host), schedules().create(row.name, Options::of(row.settings))));
  const std::string text = control.broadcast(std::string(id.internal, sizeof id.internal));
  std::copy(text.begin(), text.end(), id.internal);
  return id;
}

}  // namespace

std::unique_ptr<Transport> make_nccl_transport(const Options& options, World& world,
                                               const TransportSite& site) {
  if (site.device.kind != DeviceKind::cuda)
    throw Error(Fault::config, "transport 'nccl' moves GPU buffers, but the device is the CPU",
                "set transport: auto, or device: cuda");
  cuda::use(site.device);
  const CommunicatorOptions wanted{static_cast<int>(options.integer("min_ctas")),
                                   static_cast<int>(options.integer("max_ctas")),
                                   options.boolean("register")};
  std::unique_ptr<Transport> host = world.transport(site.deadline_s);
  const Topology topology = host->topology();
  auto communicator =
      std::make_unique<Communicator>(shared_id(std::move(host)), world.rank(), world.size(), wanted);
  return std::make_unique<NcclTransport>(std::move(communicator), std::make_shared<CommunicatorFamily>(),
                                         world, topology, site, wanted);
}

}  // namespace lockstep::comm
