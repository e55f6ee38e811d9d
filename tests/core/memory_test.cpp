#include "core/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace lockstep {
namespace {

TEST(Memory, blocks_of_any_size_are_aligned_and_zero) {
  for (const std::size_t bytes : {0UL, 1UL, 255UL, 256UL, 257UL, 1'000'003UL}) {
    const Memory memory = allocate(Device{}, bytes);
    EXPECT_EQ(memory.bytes(), bytes);
    EXPECT_EQ(memory.device(), Device{});
    ASSERT_NE(memory.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 256, 0U);
    const auto* first = static_cast<const unsigned char*>(memory.data());
    EXPECT_TRUE(std::all_of(first, first + bytes, [](unsigned char byte) { return byte == 0; }));
  }
}

TEST(Memory, impossible_size_is_a_device_fault_that_names_it) {
  for (const std::size_t bytes : {std::size_t{1} << 60, ~std::size_t{0}}) {
    try {
      static_cast<void>(allocate(Device{}, bytes));
      FAIL() << "must throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::device);
      EXPECT_NE(std::string(error.what()).find(bytes_text(bytes)), std::string::npos) << error.what();
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

TEST(Memory, moves_hand_over_and_release_once) {
  int released = 0;
  int block = 0;
  {
    Memory first(&block, sizeof block, Device{}, [&released](void*) { ++released; });
    Memory second(std::move(first));
    EXPECT_EQ(first.data(), nullptr);  // NOLINT(bugprone-use-after-move): the promise under test
    EXPECT_EQ(first.bytes(), 0U);
    EXPECT_EQ(second.data(), &block);
    Memory third;
    third = std::move(second);
    EXPECT_EQ(third.data(), &block);
    EXPECT_EQ(released, 0);
    third = Memory{};
    EXPECT_EQ(released, 1);
  }
  EXPECT_EQ(released, 1);
}

TEST(Memory, assigning_to_itself_keeps_the_block) {
  Memory memory = allocate(Device{}, 64);
  void* const data = memory.data();
  Memory& same = memory;
  memory = std::move(same);
  EXPECT_EQ(memory.data(), data);
  EXPECT_EQ(memory.bytes(), 64U);
}

TEST(Memory, view_has_type_place_and_count) {
  const Memory memory = allocate(Device{}, 100);
  const FlatSpan view = memory.view(Dtype::f32, 5, 16);
  EXPECT_EQ(view.data, static_cast<std::byte*>(memory.data()) + 16);
  EXPECT_EQ(view.bytes(), 20U);
  EXPECT_EQ(memory.view(Dtype::u8, 100).count, 100);
  EXPECT_EQ(memory.view(Dtype::f64, 0, 96).count, 0);
}

TEST(Memory, view_outside_the_block_is_refused) {
  const Memory memory = allocate(Device{}, 100);
  EXPECT_THROW(static_cast<void>(memory.view(Dtype::u8, 101)), Error);
  EXPECT_THROW(static_cast<void>(memory.view(Dtype::f32, 25, 4)), Error);
  EXPECT_THROW(static_cast<void>(memory.view(Dtype::f32, -1)), Error);
  EXPECT_THROW(static_cast<void>(memory.view(Dtype::f32, 1, 2)), Error);  // not aligned to its element
  EXPECT_THROW(static_cast<void>(memory.view(Dtype::u8, 0, 101)), Error);
}

TEST(Memory, array_owns_its_elements) {
  const FlatArray array = make_array(Device{}, Dtype::bf16, 7);
  EXPECT_EQ(array.span.count, 7);
  EXPECT_EQ(array.memory.bytes(), 14U);
  EXPECT_EQ(array.span.data, array.memory.data());
  EXPECT_EQ(make_array(Device{}, Dtype::f32, 0).span.count, 0);
  EXPECT_THROW(static_cast<void>(make_array(Device{}, Dtype::f32, -1)), Error);
}

TEST(Memory, copies_to_and_from_host_move_every_element) {
  const FlatArray array = make_array(Device{}, Dtype::i32, 1009);
  std::vector<std::int32_t> given(1009);
  std::iota(given.begin(), given.end(), -500);
  copy_from_host(given.data(), array.span);
  std::vector<std::int32_t> seen(1009);
  copy_to_host(array.span, seen.data());
  EXPECT_EQ(seen, given);
  copy_to_host(array.span.part(3, 0), nullptr);  // nothing to do
}

TEST(Memory, bytes_text_is_for_people) {
  EXPECT_EQ(bytes_text(0), "0 bytes");
  EXPECT_EQ(bytes_text(1), "1 byte");
  EXPECT_EQ(bytes_text(1023), "1023 bytes");
  EXPECT_EQ(bytes_text(1024), "1.0 KiB");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text((std::size_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(bytes_text(std::size_t{3} << 30), "3.0 GiB");
  EXPECT_EQ(bytes_text(~std::size_t{0}), "16.0 EiB");
}

}  // namespace
}  // namespace lockstep
