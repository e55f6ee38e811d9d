// A program that ends badly, for job_end_test: ranks sum in a loop until rank 1 (the last one, alone) does
// what argv[1] says. Errors end as in the real program: print, flush, abort_job with the fault's exit code.
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "comm/collectives.h"
#include "comm/transport/mpi_options.h"
#include "comm/worlds.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

void misbehave(const std::string& how) {
  if (how == "kill") std::raise(SIGKILL);
  if (how == "stop") std::raise(SIGSTOP);
  if (how == "exit") std::_Exit(0);
  if (how == "late") std::this_thread::sleep_for(std::chrono::seconds(100));
  if (how == "throw") throw Error(Fault::data, "label 12 is out of range", "use 12 classes");
}

void sum_steps(World& world, const std::string& how, double deadline_s) {
  const auto collectives = make_collectives(
      world.transport(deadline_s), schedules().create("ring", Options::of(schedules().row("ring").settings)));
  const auto stream = make_stream(Device{}, {.name = "comm"});
  std::vector<float> data(100'000, 1);
  for (int step = 1; step <= 6; ++step) {
    if (step == 6 && world.rank() == world.size() - 1) misbehave(how);
    collectives->sum(flat(std::span(data)), *stream, 0);
    stream->synchronize();
  }
}

}  // namespace
}  // namespace lockstep::comm

int main(int argc, char** argv) {
  using namespace lockstep;
  const std::string how = argc > 1 ? argv[1] : "";
  const double deadline_s = argc > 2 ? std::atof(argv[2]) : 30;
  int rank = -1;
  try {
    const auto world = comm::make_mpi_world(&argc, &argv, {.farewell_s = deadline_s});
    rank = world->rank();
    comm::sum_steps(*world, how, deadline_s);
    if (how == "linger" && rank == 0) std::this_thread::sleep_for(std::chrono::seconds(100));
    if (rank == 0) std::printf("all steps done\n");
  } catch (const Error& error) {
    std::fprintf(stderr, "rank %d: %s error: %s; %s\n", rank, fault_name(error.fault()), error.what(),
                 error.hint().c_str());
    comm::abort_job(error.exit_code());
  }
  return 0;
}
