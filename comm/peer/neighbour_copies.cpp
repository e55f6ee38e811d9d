// The ceiling that sums over NVLink are held against.
#include "comm/collectives.h"
#include "comm/device_transport.h"
#include "comm/peer/region.h"
#include "core/cuda/cuda.h"

namespace lockstep::comm {

namespace {

class MappedCopies final : public NeighbourCopies {
 public:
  MappedCopies(Control& control, Device device, std::size_t most_bytes)
      : next_(static_cast<std::size_t>((control.rank() + 1) % control.size())),
        source_(allocate(device, most_bytes)),
        target_(control, device, most_bytes) {}

  void enqueue(std::int64_t bytes, Stream& stream) override {
    cuda::copy_on_device(target_.blocks()[next_], source_.data(), static_cast<std::size_t>(bytes),
                         cuda::native(stream));
  }

 private:
  std::size_t next_;
  Memory source_;
  Region target_;
};

}  // namespace

std::unique_ptr<NeighbourCopies> make_neighbour_copies(World& world, const TransportSite& site,
                                                       std::int64_t most_bytes) {
  Control control(make_collectives(world.transport(site.deadline_s),
                                   schedules().create("recursive_doubling", Options())));
  return std::make_unique<MappedCopies>(control, site.device, static_cast<std::size_t>(most_bytes));
}

}  // namespace lockstep::comm
