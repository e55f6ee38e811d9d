// The whole way of a user with published weights: import CIFAR-10 records, evaluate the HDF5 state dict, and
// get exactly the 3688 right answers of 4000 that the original gets.
#include <array>
#include <filesystem>

#include "data/hdf5_file.h"
#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

const std::string kData = LOCKSTEP_SHARED_DATA;

class PublishedResNet20 : public ProgramTest {
 protected:
  void SetUp() override {
    const std::string records = kData + "/cifar10/dev_test.bin.xz";
    if (!std::filesystem::exists(records) || !std::filesystem::exists(weights()))
      GTEST_SKIP() << "cifar10 or resnet-cifar-weights is not here";
    if (std::string(LOCKSTEP_TEST_DEVICE) != "cpu") GTEST_SKIP() << "the reference would take minutes";
    write_text(file("one.bin"), std::string(3073, '\0'));  // only the test records matter here
    const std::string output = run("$L data import cifar --train " + file("one.bin") + " --test " + records +
                                   " --output " + file("cifar.h5") + " --compression 0");
    EXPECT_PRED2(holds, output, "test         4000 samples");
    write_config("mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225]");
  }
  static std::string weights() { return kData + "/resnet-cifar-weights/resnet20_dev.h5"; }
  void write_config(const std::string& normalisation) const {
    write_text(file("c.yaml"), "model: {name: resnet, resnet: {depth: 20}}\ndata: {files: [" +
                                   file("cifar.h5") + "], " + normalisation +
                                   "}\nbatch: {global: 120}\ndevice: " LOCKSTEP_TEST_DEVICE "\n");
  }
  std::string correct(const std::string& words, const std::string& launcher = "") const {
    return after(run(launcher + " $L eval " + file("c.yaml") + " --weights " + words), "correct ");
  }
};

TEST_F(PublishedResNet20, evaluates_to_3688_of_4000) { EXPECT_EQ(correct(weights()), "3688"); }

TEST_F(PublishedResNet20, two_ranks_and_a_normalisation_in_the_data_file_give_the_same) {
  write_config("normalise: true");
  {
    data::Hdf5File data = data::Hdf5File::edit(file("cifar.h5"));
    data.set_attribute("/", "mean", std::array{0.485, 0.456, 0.406});
    data.set_attribute("/", "deviation", std::array{0.229, 0.224, 0.225});
  }
  EXPECT_EQ(correct(weights() + " --set batch.microbatch=77", "$MPI -n 2"), "3688");
}

TEST_F(PublishedResNet20, another_normalisation_or_shortcut_does_not_pass) {
  write_config("normalise: false");
  EXPECT_NE(correct(weights() + ""), "3688");
  expect_refused(shell("$L eval " + file("c.yaml") + " --set model.resnet.shortcut=B --weights " + weights()),
                 6, {"it lacks", ".shortcut.0.weight"});
}

}  // namespace
}  // namespace lockstep::programs
