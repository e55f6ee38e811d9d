// safetensors files with any byte changed: read, or refused as a checkpoint fault by name. A changed number
// is believed, a changed structure is not; no file makes the reader take more memory than the file is long.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "core/random.h"
#include "tests/support/refusal.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/safetensors.h"

namespace lockstep::trainer {
namespace {

class DamagedSafetensors : public testing::Test {
 protected:
  DamagedSafetensors() : path_(scratch_.path() + "/w.safetensors") {
    write_safetensors(path_, {{"a.weight", {Shape{2, 3}, {1, 2, 3, 4, 5, 6}, "F32"}},
                              {"b", {Shape{}, {7}, "F32"}},
                              {"none", {Shape{0, 4}, {}, "F32"}}});
    std::ifstream file(path_, std::ios::binary);
    whole_ = {std::istreambuf_iterator<char>(file), {}};
  }
  /// Reads the file with these bytes; tells whether it was accepted.
  bool accepted(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    try {
      for (const auto& [name, tensor] : read_safetensors(path_))
        EXPECT_TRUE(tensor.type != "F32" || tensor.readable()) << name << " of " << tensor.shape.text();
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::checkpoint) << error.what();
      EXPECT_NE(std::string(error.what()).find(path_), std::string::npos) << error.what();
    } catch (const std::exception& other) {
      ADD_FAILURE() << "not our error: " << other.what();
    }
    return false;
  }
  [[nodiscard]] std::size_t header_end() const { return whole_.size() - 7 * sizeof(float); }

  ScratchDirectory scratch_;
  std::string path_, whole_;
};

TEST_F(DamagedSafetensors, every_byte_replaced_is_read_or_refused_by_name) {
  int refused = 0;
  for (std::size_t at = 0; at < header_end(); ++at) {
    for (const char byte : {'\0', '"', '9', '-', '{', ']', '\xff'}) {
      std::string bytes = whole_;
      bytes[at] = byte;
      refused += accepted(bytes) ? 0 : 1;
    }
  }
  EXPECT_GT(refused, static_cast<int>(header_end()) * 3) << "most of the header is structure";
}

TEST_F(DamagedSafetensors, every_change_of_the_length_of_the_header_is_refused) {
  for (std::size_t at = 0; at < 8; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = whole_;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      EXPECT_FALSE(accepted(bytes)) << "byte " << at << " bit " << bit;
    }
  }
}

TEST_F(DamagedSafetensors, changed_numbers_are_believed) {  // negative control: the format has no checksum
  for (std::size_t at = header_end(); at < whole_.size(); ++at) {
    std::string bytes = whole_;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    EXPECT_TRUE(accepted(bytes)) << at;
  }
}

TEST_F(DamagedSafetensors, bytes_put_in_or_taken_out_anywhere_are_refused) {
  for (std::size_t at = 8; at < whole_.size(); ++at) {
    std::string longer = whole_, shorter = whole_;
    longer.insert(at, 1, ' ');
    shorter.erase(at, 1);
    EXPECT_FALSE(accepted(longer)) << at;
    EXPECT_FALSE(accepted(shorter)) << at;
  }
}

TEST_F(DamagedSafetensors, numbers_beyond_any_file_are_refused) {
  const auto with = [&](const std::string& header) {
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    return bytes + header + std::string(8, '\0');
  };
  EXPECT_TRUE(accepted(with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})")));
  for (const char* shape : {"[18446744073709551615]", "[-2]", "[9223372036854775807,2]",
                            "[281474976710656,65536]", "[4294967296,4294967296,2]", "[1e300]", "[2.5]",
                            "[null]", "{}", "2", "[[2]]", "[1]", "[3]", "[]", "[0]", "[2,2]"}) {
    const std::string header =
        R"({"a":{"dtype":"F32","shape":)" + std::string(shape) + R"(,"data_offsets":[0,8]}})";
    EXPECT_FALSE(accepted(with(header))) << shape;
  }
  for (const char* offsets :
       {"[0,18446744073709551615]", "[8,0]", "[0]", "[0,8,8]", "[-8,0]", "[0,9]", "[4,12]"}) {
    const std::string header =
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + std::string(offsets) + "}}";
    EXPECT_FALSE(accepted(with(header))) << offsets;
  }
}

TEST_F(DamagedSafetensors, bytes_of_two_tensors_or_of_none_are_refused) {
  const auto two = [&](const std::string& a, const std::string& b) {
    const auto entry = [](const std::string& name, const std::string& place) {
      return "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + place + "}";
    };
    const std::string header = "{" + entry("a", a) + "," + entry("b", b) + "}";
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    return bytes + header + std::string(8, '\0');
  };
  EXPECT_TRUE(accepted(two("[0,4]", "[4,8]")));
  EXPECT_TRUE(accepted(two("[4,8]", "[0,4]"))) << "the order of names is not that of bytes";
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{{"[0,4]", "[0,4]"},
                                                                             {"[0,4]", "[3,7]"},
                                                                             {"[1,5]", "[4,8]"},
                                                                             {"[4,8]", "[4,8]"},
                                                                             {"[1,5]", "[0,4]"}})
    EXPECT_FALSE(accepted(two(a, b))) << a << b;
}

}  // namespace
}  // namespace lockstep::trainer
