// The promises of every compressor over MPI.
#include <gtest/gtest.h>

#include "tests/comm/compress_rig.h"
#include "tests/support/mpi_main.h"

namespace lockstep::comm::compress {
namespace {

TEST(CompressMpi, every_compressor_keeps_its_promises) {
  World& world = lockstep::testing::mpi_world();
  for (const std::string& name : names()) {
    const bool exact = name != "powersgd" && world.size() != 3;
    if (has_feedback(name)) {
      virtual_iterate(world, name, exact);
      rate_zero_is_silent(world, name);
    }
    same_bits_and_stated_bytes(world, name, true);
    nonfinite_leaves_no_trace(world, name);
    resumes_exactly(world, name, false);
  }
}

}  // namespace
}  // namespace lockstep::comm::compress
