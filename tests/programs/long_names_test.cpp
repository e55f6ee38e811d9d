// A name longer than the system allows, wherever the program takes one: the fault of who gave it, with the
// cure, never "a mistake of the program".
#include <filesystem>

#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

struct Place {
  const char* name;
  int code;
  std::string words;  ///< LONG stands for the name, DIR for the folder of good files
};

void PrintTo(const Place& place, std::ostream* out) { *out << place.words; }

class LongNames : public ProgramTest, public testing::WithParamInterface<Place> {
 protected:
  [[nodiscard]] std::string command() const {
    std::string words = "$L " + GetParam().words;
    for (const auto& [mark, text] : std::vector<std::pair<std::string, std::string>>{
             {"LONG", std::string(300, 'x')}, {"DIR", file("")}}) {
      for (std::size_t at; (at = words.find(mark)) != std::string::npos;)
        words.replace(at, mark.size(), text);
    }
    return words;
  }
};

TEST_P(LongNames, are_refused_like_any_other_that_is_not_there) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}", "device: reference\n");
  write_text(file("t.txt"), "some text");
  write_text(file("t.bin"), std::string("\1\0\2\0", 4));
  expect_refused(shell(command(), 20), GetParam().code, {std::string(300, 'x')});
  for (const auto& entry : std::filesystem::directory_iterator(file("")))
    EXPECT_NE(entry.path().extension(), ".partial") << entry.path();
}

INSTANTIATE_TEST_SUITE_P(
    Words, LongNames,
    testing::Values(Place{"config", 2, "train LONG"}, Place{"config_of_eval", 2, "eval LONG --weights w"},
                    Place{"run_directory", 2, "train DIRc.yaml --run-dir LONG"},
                    Place{"run_to_resume", 2, "train DIRc.yaml --run-dir LONG --resume"},
                    Place{"data_file", 3, "train DIRc.yaml --set data.files=LONG --run-dir DIRr"},
                    Place{"initial_weights", 6, "train DIRc.yaml --set init.weights=LONG --run-dir DIRr"},
                    Place{"weights", 6, "eval DIRc.yaml --weights LONG"},
                    Place{"checkpoint", 2, "export LONG DIRo.st"},
                    Place{"checkpoint_with_config", 6, "export LONG DIRo.st --config DIRc.yaml"},
                    Place{"idx_folder", 3, "data import idx --input LONG --output DIRo.h5"},
                    Place{"image_folder", 3, "data import images --input LONG --output DIRo.h5"},
                    Place{"text", 3, "data import text --input LONG --output DIRo.h5"},
                    Place{"text_output", 3, "data import text --input DIRt.txt --output LONG"},
                    Place{"tokens", 3, "data import tokens --train LONG --output DIRo.h5"},
                    Place{"records", 3, "data import cifar --train LONG --test LONG --output DIRo.h5"},
                    Place{"hdf5", 3, "data import hdf5 --input LONG --tensors a=/x --output DIRo.h5"},
                    Place{"info", 3, "data info LONG"},
                    Place{"json", 2, "bench allreduce --max 8 -n 1 --schedule ring --json LONG"}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace lockstep::programs
