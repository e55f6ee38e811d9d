// safetensors against bytes written by hand: what is written, what is read, what is refused.
#include "trainer/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "tests/trainer/weights_subject.h"

namespace lockstep::trainer {
namespace {

class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / (std::string("safetensors_") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name = "w.safetensors") const { return folder_ / name; }
  /// A file of this header and data.
  std::string file(const std::string& header, const std::string& data, std::uint64_t announced = 0) const {
    const std::uint64_t bytes = announced > 0 ? announced : header.size();
    std::string whole(sizeof bytes, '\0');
    std::memcpy(whole.data(), &bytes, sizeof bytes);
    return raw(whole + header + data);
  }
  std::string raw(const std::string& bytes) const {
    std::ofstream(path(), std::ios::binary) << bytes;
    return path();
  }
  static std::string contents(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void expect_refused(const std::string& header, const std::string& data, const std::string& part) const {
    const std::string what = refusal([&] { (void)read_safetensors(file(header, data)); });
    EXPECT_NE(what.find(part), std::string::npos) << what;
    EXPECT_NE(what.find("w.safetensors"), std::string::npos) << what;
  }

  std::filesystem::path folder_;
};

std::string bytes_of(const auto& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])};
}

TEST_F(Safetensors, written_file_has_the_published_format) {
  write_safetensors(path(), {{"b", {Shape{2}, {1.5f, -2.f}}}, {"a", {Shape{1, 1}, {3.f}}}});
  const std::string whole = contents(path());
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), 8);
  EXPECT_EQ(header_bytes % 8, 0u);
  std::string header = whole.substr(8, header_bytes);
  header.erase(header.find_last_not_of(' ') + 1);
  EXPECT_EQ(header,
            R"({"__metadata__":{"format":"pt"},"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1,1]},)"
            R"("b":{"data_offsets":[4,12],"dtype":"F32","shape":[2]}})");
  EXPECT_EQ(whole.substr(8 + header_bytes), bytes_of(std::vector<float>{3.f, 1.5f, -2.f}));
  EXPECT_FALSE(std::filesystem::exists(path() + ".partial"));
}

TEST_F(Safetensors, every_floating_type_is_converted) {
  const std::string data = bytes_of(std::vector<float>{1.f, -0.5f}) + bytes_of(std::vector<double>{0.25}) +
                           bytes_of(std::vector<std::uint16_t>{0x3c00, 0xc000}) +  // F16 1, -2
                           bytes_of(std::vector<std::uint16_t>{0x3f80, 0xc040});   // BF16 1, -3
  const NamedTensors tensors = read_safetensors(file(
      R"({"f":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"d":{"dtype":"F64","shape":[],"data_offsets":[8,16]},)"
      R"("h":{"dtype":"F16","shape":[2],"data_offsets":[16,20]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[20,24]}})",
      data));
  EXPECT_EQ(tensors.at("f").values, (std::vector<float>{1.f, -0.5f}));
  EXPECT_EQ(tensors.at("f").shape, (Shape{2, 1}));
  EXPECT_EQ(tensors.at("d").values, std::vector<float>{0.25f});
  EXPECT_EQ(tensors.at("d").shape, Shape{});
  EXPECT_EQ(tensors.at("h").values, (std::vector<float>{1.f, -2.f}));
  EXPECT_EQ(tensors.at("b").values, (std::vector<float>{1.f, -3.f}));
}

TEST_F(Safetensors, integers_keep_type_and_shape_only) {
  const auto tensors = read_safetensors(
      file(R"({"n":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", std::string(8, '\1')));
  EXPECT_FALSE(tensors.at("n").readable());
  EXPECT_EQ(tensors.at("n").type, "I64");
}

TEST_F(Safetensors, what_is_written_is_read_back) {
  NamedTensors tensors;
  tensors["scalar"] = {Shape{}, {7.f}};
  tensors["empty"] = {Shape{0, 3}, {}};
  tensors["quoted \"name\" ü"] = {Shape{3}, {1e-40f, -0.f, 3e38f}};
  write_safetensors(path(), tensors);
  const auto again = read_safetensors(path());
  ASSERT_EQ(again.size(), 3u);
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(again.at(name).shape, tensor.shape);
    EXPECT_EQ(again.at(name).values, tensor.values);
  }
  EXPECT_TRUE(looks_like_safetensors(path()));
}

TEST_F(Safetensors, missing_file_is_named) {
  const std::string what = refusal([&] { (void)read_safetensors(path("none")); });
  EXPECT_NE(what.find("none"), std::string::npos) << what;
  EXPECT_FALSE(looks_like_safetensors(path("none")));
}

TEST_F(Safetensors, truncation_anywhere_is_refused) {
  write_safetensors(path(), {{"a", {Shape{3}, {1, 2, 3}}}, {"b", {Shape{1}, {4}}}});
  const std::string whole = contents(path());
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 3) {
    EXPECT_NE(refusal([&] { (void)read_safetensors(raw(whole.substr(0, bytes))); }), "no error") << bytes;
  }
  EXPECT_NE(refusal([&] { (void)read_safetensors(raw(whole + "x")); }), "no error");
  EXPECT_EQ(refusal([&] { (void)read_safetensors(raw(whole)); }), "no error");
}

TEST_F(Safetensors, foreign_and_inconsistent_headers_are_refused) {
  const std::string four(4, '\0');
  expect_refused("not json", "", "not a JSON object");
  expect_refused("[1]", "", "not a JSON object");
  expect_refused(R"({"a":3})", "", "tensor 'a' lacks");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1]}})", four, "lacks");
  expect_refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four, "no counts");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", four, "no counts");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}})", four, "the file holds 4");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", four, "lies at bytes 4 to 0");
  expect_refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four, "[2]");
  expect_refused(R"({"a":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}})", four, "unknown dtype 'Q7'");
  expect_refused(R"({"a":{"dtype":"F32","shape":[281474976710656,281474976710656],"data_offsets":[0,4]}})",
                 four, "bytes");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four + four,
                 "belong to no tensor");
  expect_refused(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      four, "starts at byte 0, expected 4");
}

TEST_F(Safetensors, absurd_header_length_is_refused_without_reading) {
  const std::string what = refusal([&] { (void)read_safetensors(file("{}", "", 1ull << 60)); });
  EXPECT_NE(what.find("announces a header"), std::string::npos) << what;
}

TEST_F(Safetensors, unwritable_path_is_named_and_leaves_nothing) {
  const std::string what = refusal([&] { write_safetensors(path("no/such/folder.safetensors"), {}); });
  EXPECT_NE(what.find("no/such/folder"), std::string::npos) << what;
  std::filesystem::create_directory(path("taken"));
  EXPECT_NE(refusal([&] { write_safetensors(path("taken"), {}); }), "no error");
  EXPECT_FALSE(std::filesystem::exists(path("taken.partial")));
}

TEST_F(Safetensors, full_disk_is_reported) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  std::filesystem::create_symlink("/dev/full", path("full.partial"));
  const std::string what = refusal([&] {
    write_safetensors(path("full"), {{"a", {Shape{4096}, std::vector<float>(4096)}}});
  });
  EXPECT_NE(what.find("full"), std::string::npos) << what;
  EXPECT_FALSE(std::filesystem::exists(path("full")));
}

}  // namespace
}  // namespace lockstep::trainer
