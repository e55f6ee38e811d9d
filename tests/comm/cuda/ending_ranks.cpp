// A program that ends badly, for job_end_test: GPUs sum by `peer` in a loop until the last rank does what
// argv[1] says. Errors end as in the real program.
#include <cuda_runtime_api.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "comm/collectives.h"
#include "comm/device_transport.h"
#include "comm/transport/mpi_options.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "core/memory.h"

namespace lockstep::comm {
namespace {

void misbehave(const std::string& how) {
  if (how == "kill") std::raise(SIGKILL);
  if (how == "stop") std::raise(SIGSTOP);
  if (how == "late") std::this_thread::sleep_for(std::chrono::seconds(100));
}

void sum_steps(World& world, const std::string& how, double deadline_s, std::int64_t count) {
  int gpus = 1;
  static_cast<void>(cudaGetDeviceCount(&gpus));
  const TransportSite site{{DeviceKind::cuda, world.local_rank() % gpus}, deadline_s};
  const std::shared_ptr<const Schedule> schedule =
      schedules().create("peer", Options::of(schedules().row("peer").settings));
  const Options no_settings = Options::of(transports().row("mpi").settings);
  const auto collectives = make_collectives(connect("mpi", no_settings, *schedule, world, site), schedule);
  const FlatArray data = make_array(site.device, Dtype::f32, count);
  const auto stream = make_stream(site.device);
  for (int step = 1; step <= 6; ++step) {
    if (step == 6 && world.rank() == world.size() - 1) misbehave(how);
    collectives->sum(data.span, *stream, 0);
    stream->synchronize();
  }
}

}  // namespace
}  // namespace lockstep::comm

int main(int argc, char** argv) {
  using namespace lockstep;
  const std::string how = argc > 1 ? argv[1] : "";
  const double deadline_s = argc > 2 ? std::atof(argv[2]) : 30;
  const std::int64_t count = argc > 3 ? std::atoll(argv[3]) : 1000;
  int rank = -1;
  try {
    const auto world = comm::make_mpi_world(&argc, &argv, {.farewell_s = deadline_s});
    rank = world->rank();
    comm::sum_steps(*world, how, deadline_s, count);
    if (rank == 0) std::printf("all steps done\n");
  } catch (const Error& error) {
    std::fprintf(stderr, "rank %d: %s error: %s; %s\n", rank, fault_name(error.fault()), error.what(),
                 error.hint().c_str());
    comm::abort_job(error.exit_code());
  }
  return 0;
}
