// main() of tests under mpirun: MPI is initialised once, every rank runs all tests in the same order, rank 0
// prints what passes and any rank prints what fails. After a failed test the ranks may be out of step, so the
// whole job ends there.
#include "tests/support/mpi_main.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>
#include <thread>

#include "comm/transport/mpi_options.h"
#include "comm/worlds.h"
#include "core/error.h"

namespace {

std::unique_ptr<lockstep::comm::World> world;

/// What a rank other than 0 prints, and the end of the job after a failure on any rank.
class RankListener final : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed() || world->rank() == 0) return;
    std::fprintf(stderr, "[rank %d of %d] %s:%d: %s\n", world->rank(), world->size(),
                 result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(),
                 result.summary());
  }
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (!test.result()->Failed()) return;
    std::fprintf(stderr, "[rank %d of %d] FAILED %s.%s\n", world->rank(), world->size(),
                 test.test_suite_name(), test.name());
    std::fflush(nullptr);
    std::this_thread::sleep_for(
        std::chrono::milliseconds(500));  // the others may have something to print too
    lockstep::comm::abort_job(1);
  }
};

int run() {
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (world->rank() != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new RankListener);  // owned by GoogleTest
  const int code = RUN_ALL_TESTS();
  world.reset();
  return code;
}

}  // namespace

lockstep::comm::World& lockstep::testing::mpi_world() { return *world; }

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  try {
    lockstep::comm::MpiOptions options;
    const std::string_view last = argv[argc - 1];
    constexpr std::string_view kPieces = "--piece-bytes=";
    if (last.starts_with(kPieces)) options.piece_bytes = std::atoll(last.data() + kPieces.size());
    world = lockstep::comm::make_mpi_world(&argc, &argv, options);
    return run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    lockstep::comm::abort_job(1);
  }
}
