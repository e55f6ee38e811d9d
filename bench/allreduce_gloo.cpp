// All-reduce beside Gloo (https://github.com/facebookincubator/gloo): `shared`, the MPI library's own calls,
// a copy of as many bytes, and Gloo's ring and halving-doubling-with-bcube over TCP, in turns of one run.
//
//   mpirun -n 2 bench_allreduce_gloo [MIN_BYTES MAX_BYTES ITERATIONS]
#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include "comm/bench_allreduce.h"
#include "comm/collectives.h"
#include "comm/worlds.h"

namespace {

using namespace lockstep;

std::shared_ptr<gloo::Context> connect(comm::World& world, const std::string& directory) {
  gloo::rendezvous::FileStore store(directory);
  auto context = std::make_shared<gloo::rendezvous::Context>(world.rank(), world.size());
  std::shared_ptr<gloo::transport::Device> device = gloo::transport::tcp::CreateDevice("localhost");
  context->connectFullMesh(store, device);
  return context;
}

void sum(const std::shared_ptr<gloo::Context>& context, gloo::AllreduceOptions::Algorithm algorithm,
         FlatSpan data) {
  gloo::AllreduceOptions options(context);
  options.setAlgorithm(algorithm);
  options.setOutput(static_cast<float*>(data.data), static_cast<std::size_t>(data.count));
  options.setReduceFunction(
      [](void* out, const void* a, const void* b, std::size_t n) { gloo::sum<float>(out, a, b, n); });
  gloo::allreduce(options);
}

int run(comm::World& world, int argc, char** argv) {
  const auto number = [&](int at, long fallback) { return argc > at ? std::atol(argv[at]) : fallback; };
  comm::Control control(comm::make_collectives(
      world.transport(60), comm::schedules().create("recursive_doubling", lockstep::Options())));
  const std::string directory = control.broadcast(
      (std::filesystem::temp_directory_path() / ("gloo-" + std::to_string(getpid()))).string());
  std::filesystem::create_directories(directory);
  const auto context = connect(world, directory);
  comm::AllreduceBench bench;
  bench.min_bytes = number(1, 1 << 10);
  bench.max_bytes = number(2, 64 << 20);
  bench.iterations = static_cast<int>(number(3, 10));
  bench.schedules = comm::bench_schedules({"shared"});
  bench.beside = comm::contenders_of(world, bench);
  using Algorithm = gloo::AllreduceOptions::Algorithm;
  bench.beside.push_back({"gloo_ring", [=](FlatSpan data) { sum(context, Algorithm::RING, data); }});
  bench.beside.push_back({"gloo_bcube", [=](FlatSpan data) { sum(context, Algorithm::BCUBE, data); }});
  const auto rows = comm::bench_allreduce(world, bench);
  if (world.rank() == 0) {
    std::printf("%s", comm::bench_table(world, rows).c_str());
    std::filesystem::remove_all(directory);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto world = comm::make_mpi_world(&argc, &argv);
    return run(*world, argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_allreduce_gloo: %s\n", error.what());
    comm::abort_job(1);
  }
}
