// Sums of GPU buffers under mpirun, for tests.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/collectives.h"
#include "comm/device_transport.h"
#include "comm/named.h"
#include "core/memory.h"
#include "tests/comm/sums.h"
#include "tests/support/mpi_main.h"

namespace lockstep::comm {

using Settings = std::vector<std::pair<std::string, std::string>>;

inline World& world() { return lockstep::testing::mpi_world(); }

inline int gpus() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return 0;
  return count;
}

/// One rank's sums on its GPU by a schedule over a transport: "nccl", "mpi:gpu_messages=staged".
struct DeviceSummer {
  DeviceSummer(const std::string& name, const Settings& settings, const std::string& transport,
               double deadline_s = 60)
      : site{{DeviceKind::cuda, world().local_rank() % gpus()}, deadline_s},
        schedule(schedules().create(name, Options::of(schedules().row(name).settings, settings))) {
    const auto [row, options] = part_called(transports(), transport);
    collectives = make_collectives(connect(row, options, *schedule, world(), site), schedule);
    stream = make_stream(site.device);
  }

  template <class T>
  void sum(FlatSpan on_gpu, std::vector<T>& values) {
    copy_from_host(values.data(), on_gpu);
    collectives->sum(on_gpu, *stream);
    stream->synchronize();
    copy_to_host(on_gpu, values.data());
  }
  FlatSpan lent(Dtype dtype, std::int64_t count) {
    if (lent_.data() == nullptr) lent_ = collectives->shared_memory(std::size_t{16} << 20);
    return lent_.data() == nullptr ? FlatSpan{} : lent_.view(dtype, count);
  }

  TransportSite site;
  std::shared_ptr<const Schedule> schedule;
  std::unique_ptr<Collectives> collectives;
  Memory lent_;
  std::unique_ptr<Stream> stream;  // dies first
};

template <class T>
void expect_exact(DeviceSummer& summer, FlatSpan on_gpu, const std::string& what) {
  std::vector<T> data(static_cast<std::size_t>(on_gpu.count));
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = small_integer<T>(i, world().rank());
  const Traffic before = summer.collectives->traffic();
  summer.sum(on_gpu, data);
  for (std::size_t i = 0; i < data.size(); ++i) {
    float expected = 0;
    for (int rank = 0; rank < world().size(); ++rank)
      expected += static_cast<float>(small_integer<T>(i, rank));
    ASSERT_EQ(static_cast<float>(data[i]), expected)
        << what << ", " << name_of(on_gpu.dtype) << ", element " << i << " of " << on_gpu.count;
  }
  if (summer.schedule->library()) return;
  const Traffic after = summer.collectives->traffic();
  const Cost stated = summer.schedule->stated_cost(world().rank(), world().size(), on_gpu.count);
  EXPECT_EQ(after.messages - before.messages, stated.messages) << what;
  EXPECT_EQ(after.bytes - before.bytes, stated.elements * static_cast<std::int64_t>(sizeof(T))) << what;
}

}  // namespace lockstep::comm
