// Element types, attributes and links as other programs write them: what each becomes, and what is refused.
#include <array>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "data/info.h"
#include "hdf5_raw.h"

namespace lockstep::data {
namespace {

/// A float type of two bytes in either order.
Hdf5Handle small_float(Dtype dtype, H5T_order_t order) {
  auto type = owned(H5Tcopy(hdf5_type(dtype)), H5Tclose);
  H5Tset_order(type.id(), order);
  return type;
}

struct NumberType {
  const char* text;  ///< as data info prints it
  hid_t type;
  Dtype dtype;
  bool exact;
  std::vector<double> values;
};

std::vector<NumberType> number_types(const std::vector<Hdf5Handle>& smalls) {
  const double u32 = std::numeric_limits<std::uint32_t>::max();
  const double i32 = std::numeric_limits<std::int32_t>::min();
  return {
      {"i8", H5T_STD_I8LE, Dtype::i32, false, {-128, -1, 0, 127}},
      {"u8", H5T_STD_U8LE, Dtype::u8, true, {0, 1, 200, 255}},
      {"i16", H5T_STD_I16LE, Dtype::i32, false, {-32768, -1, 256, 32767}},
      {"i16 big-endian", H5T_STD_I16BE, Dtype::i32, false, {-32768, -1, 256, 32767}},
      {"u16", H5T_STD_U16LE, Dtype::u16, true, {0, 255, 256, 65535}},
      {"u16 big-endian", H5T_STD_U16BE, Dtype::u16, false, {0, 255, 256, 65535}},
      {"i32", H5T_STD_I32LE, Dtype::i32, true, {i32, -1, 65536, 5}},
      {"i32 big-endian", H5T_STD_I32BE, Dtype::i32, false, {i32, -1, 65536, 5}},
      {"u32", H5T_STD_U32LE, Dtype::i64, false, {0, 1, 65536, u32}},
      {"u32 big-endian", H5T_STD_U32BE, Dtype::i64, false, {0, 1, 65536, u32}},
      {"i64", H5T_STD_I64LE, Dtype::i64, true, {-0x1p52, -1, 0, 0x1p52}},
      {"i64 big-endian", H5T_STD_I64BE, Dtype::i64, false, {-0x1p52, -1, 0, 0x1p52}},
      {"u64", H5T_STD_U64LE, Dtype::i64, false, {0, 1, 2, 0x1p52}},
      {"f32", H5T_IEEE_F32LE, Dtype::f32, true, {-0.5, 0, 0x1p-149, 0x1.fffffep127}},
      {"f32 big-endian", H5T_IEEE_F32BE, Dtype::f32, false, {-0.5, 0, 0x1p-149, 0x1.fffffep127}},
      {"f64", H5T_IEEE_F64LE, Dtype::f64, true, {-0.1, 0, 5e-324, 1.7e308}},
      {"f64 big-endian", H5T_IEEE_F64BE, Dtype::f64, false, {-0.1, 0, 5e-324, 1.7e308}},
      {"f16", smalls[0].id(), Dtype::f16, true, {-0.5, 0, 0x1p-14, 65504}},
      {"f16 big-endian", smalls[1].id(), Dtype::f16, false, {-0.5, 0, 0x1p-14, 65504}},
      {"bf16", smalls[2].id(), Dtype::bf16, true, {-0.5, 0, 0x1p-126, 0x1.fep127}},
      {"bf16", smalls[3].id(), Dtype::bf16, false, {-0.5, 0, 0x1p-126, 0x1.fep127}},
  };
}

TEST(ForeignType, every_number_type_keeps_its_values_and_says_what_it_is) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  std::vector<Hdf5Handle> smalls;
  for (const Dtype dtype : {Dtype::f16, Dtype::bf16}) {
    for (const auto order : {H5T_ORDER_LE, H5T_ORDER_BE}) smalls.push_back(small_float(dtype, order));
  }
  const auto types = number_types(smalls);
  for (std::size_t i = 0; i < types.size(); ++i) {
    raw.put_numbers("x" + std::to_string(i), types[i].type, {2, 2}, types[i].values);
  }
  const auto file = raw.reopen();
  for (std::size_t i = 0; i < types.size(); ++i) {
    const std::string name = "x" + std::to_string(i);
    const auto storage = file.dataset(name).storage();
    EXPECT_EQ(storage.type, types[i].text);
    EXPECT_EQ(storage.dtype, types[i].dtype) << types[i].text;
    EXPECT_EQ(storage.exact, types[i].exact) << types[i].text;
    EXPECT_EQ(rows_by_library(file, name, 0, 2), types[i].values) << types[i].text;
    EXPECT_EQ(rows_by_reader(file, name, 0, 2), types[i].values) << types[i].text;
    EXPECT_EQ(rows_by_reader(file, name, 1, 1),
              (std::vector<double>{types[i].values[2], types[i].values[3]}));
  }
}

TEST(ForeignType, truth_values_of_python_are_numbers) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const auto type = owned(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  for (const std::int8_t value : {0, 1}) H5Tenum_insert(type.id(), value == 0 ? "FALSE" : "TRUE", &value);
  {
    const auto dataset = raw.make("mask", type.id(), {4});
    const std::array<std::int8_t, 4> values{1, 0, 0, 1};
    ASSERT_GE(H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  }
  const auto file = raw.reopen();
  EXPECT_EQ(file.dataset("mask").storage().type, "enum");
  EXPECT_EQ(file.dataset("mask").storage().dtype, Dtype::i32);
  EXPECT_EQ(rows_by_reader(file, "mask", 0, 4), (std::vector<double>{1, 0, 0, 1}));
}

TEST(ForeignType, infinities_and_not_a_number_survive_the_change_of_byte_order) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const double infinity = std::numeric_limits<double>::infinity();
  raw.put_numbers("x", H5T_IEEE_F32BE, {3}, {infinity, -infinity, std::nan("")});
  const auto file = raw.reopen();
  const auto values = rows_by_reader(file, "x", 0, 3);
  EXPECT_EQ(values[0], infinity);
  EXPECT_EQ(values[1], -infinity);
  EXPECT_TRUE(std::isnan(values[2]));
}

/// Types that are no numbers, or of widths that nothing here holds, by what data info calls them.
std::vector<std::pair<const char*, Hdf5Handle>> other_types() {
  std::vector<std::pair<const char*, Hdf5Handle>> types;
  const auto add = [&](const char* text, hid_t type) { types.emplace_back(text, owned(type, H5Tclose)); };
  const hsize_t three = 3;
  add("string", H5Tcopy(H5T_C_S1));
  add("compound", H5Tcreate(H5T_COMPOUND, 8));
  H5Tinsert(types.back().second.id(), "a", 0, H5T_NATIVE_INT32);
  add("array", H5Tarray_create2(H5T_NATIVE_INT32, 1, &three));
  add("variable-length", H5Tvlen_create(H5T_NATIVE_INT32));
  add("opaque", H5Tcreate(H5T_OPAQUE, 5));
  add("bitfield", H5Tcopy(H5T_STD_B16LE));
  add("reference", H5Tcopy(H5T_STD_REF_OBJ));
  add("i24", H5Tcopy(H5T_STD_I32LE));
  H5Tset_precision(types.back().second.id(), 24);
  H5Tset_size(types.back().second.id(), 3);
  add("f128", H5Tcopy(H5T_NATIVE_LDOUBLE));
  return types;
}

TEST(ForeignType, what_is_no_number_is_named_and_refused) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const auto types = other_types();
  for (const auto& [text, type] : types) (void)raw.make(text, type.id(), {2});
  const auto file = raw.reopen();
  BlockCache cache(100);
  std::vector<double> room(2);
  for (const auto& [text, type] : types) {
    const auto array = file.dataset(text);
    EXPECT_EQ(array.storage().type, text);
    EXPECT_FALSE(array.storage().dtype) << text;
    const auto read = error_of([&] { array.read(flat(std::span<double>(room))); });
    EXPECT_TRUE(mentions(read, std::string("of type ") + text + ", not numbers")) << read.what();
    const auto tensor = error_of([&] { (void)make_row_reader(file, text, cache); });
    EXPECT_EQ(tensor.fault(), Fault::data);
    EXPECT_TRUE(mentions(tensor, "cannot be a tensor") && mentions(tensor, text)) << tensor.what();
  }
}

TEST(ForeignType, scalars_and_empty_spaces_are_no_tensors) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("vector", H5T_STD_I32LE, {1}, {1});
  for (const auto& [name, space_class] : {std::pair("scalar", H5S_SCALAR), std::pair("null", H5S_NULL)}) {
    const auto space = owned(H5Screate(space_class), H5Sclose);
    const auto made =
        owned(H5Dcreate2(raw.id(), name, H5T_STD_I32LE, space.id(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
              H5Dclose);
    ASSERT_TRUE(made.valid());
  }
  const auto file = raw.reopen();
  BlockCache cache(100);
  for (const char* name : {"scalar", "null"}) {
    EXPECT_TRUE(mentions(error_of([&] { (void)make_row_reader(file, name, cache); }), "cannot be a tensor"))
        << name;
  }
  EXPECT_FALSE(file.dataset("null").storage().dtype);
  EXPECT_NO_THROW((void)make_row_reader(file, "vector", cache));
}

// ---- attributes

TEST(ForeignAttribute, numbers_of_any_type_become_text) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const std::array<std::int32_t, 3> whole{3, -1, 2};
  const std::array<float, 2> single{0.1F, -2.5F};
  const double real = 0.25;
  const std::uint8_t byte = 200;
  raw.put_attribute("whole", H5T_NATIVE_INT32, {3}, whole.data());
  raw.put_attribute("single", H5T_NATIVE_FLOAT, {2}, single.data());
  raw.put_attribute("real", H5T_NATIVE_DOUBLE, {}, &real);
  raw.put_attribute("byte", H5T_NATIVE_UINT8, {1, 1}, &byte);
  const auto file = raw.reopen();
  EXPECT_EQ(file.attribute("/", "whole"), "3, -1, 2");
  EXPECT_EQ(file.attribute("/", "single"), "0.1, -2.5");  // the float's own shortest digits
  EXPECT_EQ(file.attribute("/", "real"), "0.25");
  EXPECT_EQ(file.attribute("/", "byte"), "200");
  EXPECT_EQ(file.attributes(), (std::vector<std::string>{"byte", "real", "single", "whole"}));
  EXPECT_FALSE(file.attribute("/", "absent"));
}

TEST(ForeignAttribute, strings_of_either_kind_lose_their_padding_and_lists_get_lines) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const auto fixed = owned(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(fixed.id(), 5);
  raw.put_attribute("padded", fixed.id(), {2}, "cat\0\0horse");
  const auto spaces = owned(H5Tcopy(H5T_FORTRAN_S1), H5Tclose);
  H5Tset_size(spaces.id(), 5);
  raw.put_attribute("spaces", spaces.id(), {}, "a b  ");
  const auto variable = owned(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(variable.id(), H5T_VARIABLE);
  const std::array<const char*, 3> words{"one", "", "three"};
  raw.put_attribute("words", variable.id(), {3}, words.data());
  const auto file = raw.reopen();
  EXPECT_EQ(file.attribute("/", "padded"), "cat\nhorse");
  EXPECT_EQ(file.attribute("/", "spaces"), "a b");
  EXPECT_EQ(file.attribute("/", "words"), "one\n\nthree");
}

TEST(ForeignAttribute, other_types_are_named_in_brackets) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const auto type = owned(H5Tcreate(H5T_COMPOUND, 4), H5Tclose);
  H5Tinsert(type.id(), "a", 0, H5T_NATIVE_INT32);
  const std::int32_t value = 1;
  raw.put_attribute("pair", type.id(), {}, &value);
  EXPECT_EQ(raw.reopen().attribute("/", "pair"), "(compound)");
}

TEST(ForeignAttribute, class_names_may_be_a_list_of_strings) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("image", H5T_STD_U8LE, {4, 2, 2}, std::vector<double>(16, 1));
  raw.put_numbers("label", H5T_STD_I64LE, {4}, {0, 1, 2, 2});
  const auto fixed = owned(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(fixed.id(), 3);
  raw.put_attribute("class_names", fixed.id(), {3}, "catdogemu");
  raw.close();
  const auto set = open_hdf5({folder.file("a.h5")}, "/");
  EXPECT_EQ(set->fact("class_names"), "cat\ndog\nemu");
  EXPECT_EQ(set->classes(), 3);
}

// ---- links

TEST(ForeignLink, links_that_lead_somewhere_are_followed_and_others_left_out) {
  const TemporaryFolder folder;
  {
    RawFile other(folder.file("other.h5"));
    other.put_numbers("far", H5T_STD_I32LE, {2}, {5, 6});
  }
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("x", H5T_STD_I32LE, {2}, {3, 4});
  H5Lcreate_soft("/x", raw.id(), "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/nowhere", raw.id(), "dangling", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("other.h5", "/far", raw.id(), "external", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("absent.h5", "/far", raw.id(), "lost", H5P_DEFAULT, H5P_DEFAULT);
  const auto file = raw.reopen();
  EXPECT_EQ(file.datasets(), (std::vector<std::string>{"external", "soft", "x"}));
  EXPECT_TRUE(file.groups().empty());
  EXPECT_EQ(rows_by_reader(file, "soft", 0, 2), (std::vector<double>{3, 4}));
  EXPECT_EQ(rows_by_library(file, "external", 0, 2), (std::vector<double>{5, 6}));
  EXPECT_FALSE(file.has_dataset("dangling"));
  EXPECT_TRUE(mentions(error_of([&] { (void)file.dataset("dangling"); }), "'dangling'"));
}

TEST(ForeignLink, external_dataset_is_read_from_its_own_file_by_the_row_reader) {
  const TemporaryFolder folder;
  {
    RawFile other(folder.file("other.h5"));
    other.put_numbers("pad", H5T_STD_I32LE, {100}, std::vector<double>(100, 9));
    other.put_numbers("far", H5T_STD_I32LE, {2}, {5, 6});
  }
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("big", H5T_STD_I32LE, {5000}, std::vector<double>(5000, 1));
  H5Lcreate_external("other.h5", "/far", raw.id(), "external", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_EQ(rows_by_reader(raw.reopen(), "external", 0, 2), (std::vector<double>{5, 6}));
}

TEST(ForeignLink, groups_that_contain_themselves_are_described_to_an_end) {
  const TemporaryFolder folder;
  {
    RawFile raw(folder.file("a.h5"));
    const auto group = owned(H5Gcreate2(raw.id(), "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    H5Lcreate_hard(raw.id(), "/", group.id(), "again", H5P_DEFAULT, H5P_DEFAULT);
  }
  const auto text = describe_file(folder.file("a.h5"));
  EXPECT_NE(text.find("/g/again/g/again"), std::string::npos);
  EXPECT_LT(text.size(), 10'000U);
}

}  // namespace
}  // namespace lockstep::data
