// State files: every dtype and shape comes back bit for bit under its key, and checksums are CRC-32 as
// everybody computes it.
#include "trainer/state_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "core/random.h"
#include "tests/support/refusal.h"
#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;

/// An entry of random bits: also signalling NaNs, denormals and negative zeros.
StateEntry random_entry(Dtype dtype, const Shape& shape, std::uint64_t seed) {
  StateEntry entry{dtype, shape, {}};
  entry.bytes.resize(static_cast<std::size_t>(shape.count()) * size_of(dtype));
  const RandomSource random(seed, "state file", 0);
  for (std::size_t i = 0; i < entry.bytes.size(); ++i)
    entry.bytes[i] = static_cast<std::byte>(random.below(i, 256));
  return entry;
}

constexpr Dtype kDtypes[] = {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16,
                             Dtype::i64, Dtype::i32, Dtype::u16,  Dtype::u8};

void expect_same(const StateMap& left, const StateMap& right) {
  ASSERT_EQ(left.entries.size(), right.entries.size());
  for (const auto& [key, entry] : left.entries) {
    ASSERT_TRUE(right.entries.contains(key)) << key;
    const StateEntry& other = right.entries.at(key);
    EXPECT_EQ(other.shape, entry.shape) << key;
    EXPECT_EQ(other.bytes, entry.bytes) << key;
  }
}

class StateFile : public testing::Test {
 protected:
  [[nodiscard]] std::string file(const std::string& name = "s.h5") const {
    return scratch_.path() + "/" + name;
  }
  [[nodiscard]] StateMap back(const StateMap& state) const {
    write_state_file(file(), state);
    return read_state_file(file());
  }
  void write(const std::string& bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }

 private:
  ScratchDirectory scratch_;
};

TEST_F(StateFile, every_dtype_and_size_comes_back_bit_for_bit) {
  StateMap state;
  std::uint64_t seed = 0;
  for (const Dtype dtype : kDtypes) {
    for (const Shape& shape :
         {Shape{}, Shape{0}, Shape{1}, Shape{13}, Shape{3, 5}, Shape{2, 3, 0}, Shape{4097}})
      state.entries[std::string(name_of(dtype)) + "/" + shape.text()] = random_entry(dtype, shape, ++seed);
  }
  expect_same(state, back(state));
}

TEST_F(StateFile, integers_and_floats_keep_their_dtype) {
  StateMap state;
  for (const Dtype dtype :
       {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::i64, Dtype::i32, Dtype::u16, Dtype::u8})
    state.entries[std::string(name_of(dtype))] = random_entry(dtype, Shape{7}, 1);
  const StateMap read = back(state);
  for (const auto& [key, entry] : state.entries) EXPECT_EQ(read.entries.at(key).dtype, entry.dtype) << key;
}

TEST_F(StateFile, nothing_comes_back_as_nothing) { expect_same(StateMap{}, back(StateMap{})); }

TEST_F(StateFile, scopes_nest_as_deep_as_keys_say_and_names_are_kept) {
  StateMap state;
  StateWriter writer(state);
  for (const char* key : {"a", "a.b", "slot with blanks", "h.0.attn.c_attn.weight", "ключ"})
    writer.scope("one/two/three").scope(key).integer(key, 5);
  writer.integer("top", 7);
  const StateMap read = back(state);
  expect_same(state, read);
  EXPECT_EQ(StateReader(read).integer("top"), 7);
  EXPECT_EQ(StateReader(read).scope("one/two").scope("three/ключ").integer("ключ"), 5);
}

TEST_F(StateFile, an_older_file_is_replaced_whole) {
  StateMap large, small;
  StateWriter(large).floats("w", Shape{5000}, std::vector<float>(5000, 1));
  StateWriter(small).integer("step", 3);
  static_cast<void>(back(large));
  expect_same(small, back(small));
}

TEST_F(StateFile, what_cannot_be_written_or_read_is_a_checkpoint_fault_by_name) {
  StateMap state;
  StateWriter(state).integer("step", 3);
  expect_error(Fault::checkpoint, {"/nowhere/s.h5"}, [&] { write_state_file("/nowhere/s.h5", state); });
  expect_error(Fault::checkpoint, {file("absent.h5")},
               [&] { static_cast<void>(read_state_file(file("absent.h5"))); });
  write("this is no state");
  expect_error(Fault::checkpoint, {file()}, [&] { static_cast<void>(read_state_file(file())); });
}

TEST_F(StateFile, cut_anywhere_is_refused_or_smaller_but_never_crashes) {
  StateMap state;
  StateWriter(state).floats("model/w", Shape{1000}, std::vector<float>(1000, 2));
  write_state_file(file(), state);
  const auto whole = fs::file_size(file());
  const FileSum sum = sum_file(file());
  for (std::uintmax_t part = 1; part < 16; ++part) {
    fs::resize_file(file(), whole * (16 - part) / 16);
    EXPECT_NE(sum_file(file()), sum) << part;
    try {
      static_cast<void>(read_state_file(file()));
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::checkpoint) << error.what();
    }
  }
}

TEST_F(StateFile, sums_are_the_published_crc_32) {
  for (const auto& [bytes, crc] : std::vector<std::pair<std::string, std::uint32_t>>{
           {"", 0},
           {"a", 0xE8B7BE43U},
           {"123456789", 0xCBF43926U},
           {"The quick brown fox jumps over the lazy dog", 0x414FA339U}}) {
    write(bytes);
    EXPECT_EQ(sum_file(file()), (FileSum{static_cast<std::int64_t>(bytes.size()), crc})) << bytes;
  }
}

TEST_F(StateFile, sums_of_files_around_a_block_are_those_of_their_bytes) {
  constexpr std::size_t kBlock = 1 << 20;
  for (const std::size_t size : {kBlock - 1, kBlock, kBlock + 1, 2 * kBlock}) {
    write(std::string(size, '\0'));
    const FileSum zeros = sum_file(file());
    EXPECT_EQ(zeros.bytes, static_cast<std::int64_t>(size));
    std::fstream(file(), std::ios::in | std::ios::out | std::ios::binary)
        .seekp(static_cast<std::streamoff>(size - 1))
        .put('\1');
    EXPECT_NE(sum_file(file()).crc, zeros.crc) << "the last of " << size << " bytes counts";
  }
  write(std::string(2 * kBlock, '\0'));
  EXPECT_EQ(sum_file(file()).crc, 0x8D89877EU);
}

TEST_F(StateFile, what_has_no_bytes_to_sum_is_refused) {
  expect_error(Fault::checkpoint, {file("absent")}, [&] { static_cast<void>(sum_file(file("absent"))); });
  fs::create_directories(file("folder"));
  expect_error(Fault::checkpoint, {file("folder")}, [&] { static_cast<void>(sum_file(file("folder"))); });
}

TEST_F(StateFile, what_is_not_there_cannot_be_flushed) {
  expect_error(Fault::checkpoint, {"absent", "No such file"}, [&] { sync_path(file("absent")); });
  write("x");
  EXPECT_NO_THROW(sync_path(file()));
  EXPECT_NO_THROW(sync_path(fs::path(file()).parent_path().string()));
}

}  // namespace
}  // namespace lockstep::trainer
