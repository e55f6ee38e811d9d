// A run that is killed or asked to stop: the job ends by itself, nothing is lost, and --resume ends with the
// bits of an uninterrupted run.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>

#include "tests/programs/shell.h"
#include "tests/trainer/tiny_run.h"

namespace lockstep::programs {
namespace {

class Interruption : public testing::Test {
 protected:
  Interruption() {
    trainer::write_tiny_images(dir() + "/images.h5");
    std::ofstream(dir() + "/c.yaml") << "model: {name: cnn, cnn: {channels: [4]}}\n"
                                     << "data: {files: [" << dir() << "/images.h5]}\n"
                                     << "batch: {global: 16}\n"
                                     << "train: {steps: 1500}\n"
                                     << "device: reference\n"
                                     << "checkpoint: {every_steps: 100, best: false}\n";
  }
  [[nodiscard]] const std::string& dir() const { return scratch_.path(); }
  [[nodiscard]] std::string train(const std::string& run) const {
    return "$MPI -n 2 $L train " + dir() + "/c.yaml --run-dir " + dir() + "/" + run;
  }
  /// Starts a run in the background, waits for its first checkpoint, does `act` ($MPIRUN is the launcher's
  /// pid, $RANKS the ranks'), and prints how mpirun ended.
  [[nodiscard]] Ran interrupt(const std::string& act) const {
    return shell(train("cut") + " & MPIRUN=$!\n" + "for i in $(seq 300); do [ -e " + dir() +
                 "/cut/checkpoints/latest ] && break; sleep 0.1; done\n"
                 "RANKS=$(pgrep -P $MPIRUN)\n" +
                 act + "\nSECONDS=0; wait $MPIRUN; echo ended with $? after $SECONDS s");
  }
  [[nodiscard]] std::string uninterrupted_hash() const {
    const Ran whole = shell(train("whole"));
    EXPECT_EQ(whole.code, 0) << whole.output;
    return hash_in(whole.output);
  }
  void expect_resumes_to(const std::string& hash) const {
    const Ran rest = shell(train("cut") + " --resume");
    EXPECT_EQ(rest.code, 0) << rest.output;
    EXPECT_EQ(rest.output.find("steps    0 to"), std::string::npos) << "started from the beginning";
    EXPECT_EQ(hash_in(rest.output), hash) << rest.output;
  }

 private:
  ScratchDirectory scratch_;
};

TEST_F(Interruption, killed_rank_ends_the_job_and_resume_repeats_the_bits) {
  const auto start = std::chrono::steady_clock::now();
  const Ran cut = interrupt("kill -9 $(echo $RANKS | cut -d' ' -f2)");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(45));
  EXPECT_NE(cut.output.find("ended with 137"), std::string::npos) << cut.output;
  EXPECT_NE(cut.output.find("rank 1"), std::string::npos) << cut.output;
  expect_resumes_to(uninterrupted_hash());
}

TEST_F(Interruption, usr1_through_mpirun_stops_resumably) {
  const Ran cut = interrupt("kill -USR1 $MPIRUN");
  EXPECT_NE(cut.output.find("ended with 75"), std::string::npos) << cut.output;
  EXPECT_NE(cut.output.find("SIGUSR1"), std::string::npos) << cut.output;
  expect_resumes_to(uninterrupted_hash());
}

TEST_F(Interruption, term_to_one_rank_stops_all_resumably) {
  const Ran cut = interrupt("kill -TERM $(echo $RANKS | cut -d' ' -f2)");
  EXPECT_NE(cut.output.find("ended with 75"), std::string::npos) << cut.output;
  EXPECT_NE(cut.output.find("asked to stop by SIGTERM"), std::string::npos) << cut.output;
  expect_resumes_to(uninterrupted_hash());
}

}  // namespace
}  // namespace lockstep::programs
