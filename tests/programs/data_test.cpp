// `lockstep data`: every importer on small files made here, then `info` on what came out, then training on
// it.
#include <zlib.h>

#include <filesystem>

#include "data/hdf5_file.h"
#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

std::string png_part(const std::string& kind, const std::string& body) {
  const std::string checked = kind + body;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size()));
  return big_endian(static_cast<std::uint32_t>(body.size())) + checked +
         big_endian(static_cast<std::uint32_t>(sum));
}

/// A grey PNG of one brightness.
std::string grey_png(std::uint32_t side, char brightness) {
  std::string rows;
  for (std::uint32_t i = 0; i < side; ++i) rows += '\0' + std::string(side, brightness);
  uLongf size = compressBound(rows.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()),
           rows.size());
  packed.resize(size);
  return "\x89PNG\r\n\x1a\n" +
         png_part("IHDR", big_endian(side) + big_endian(side) + std::string("\x08\0\0\0\0", 5)) +
         png_part("IDAT", packed) + png_part("IEND", "");
}

class Data : public ProgramTest {
 protected:
  std::string import(const std::string& words) const {
    return run("$L data import " + words + " --output " + file("out.h5"));
  }
  std::string info() const { return run("$L data info " + file("out.h5")); }
  /// Training a step on the file must work; gives the output.
  std::string train(const std::string& model, const std::string& words = "") const {
    write_text(file("c.yaml"), "model: " + model + "\ndata: {files: [" + file("out.h5") +
                                   "]}\nbatch: {global: 2}\ntrain: {steps: 1}\ndevice: " LOCKSTEP_TEST_DEVICE
                                   "\n");
    return run("$L train " + file("c.yaml") + " " + words);
  }
};

TEST_F(Data, idx_files_become_images_that_train) {
  std::string pixels;
  for (int i = 0; i < 4 * 9; ++i) pixels += static_cast<char>(7 * i);
  const std::string images =
      std::string("\0\0\x08\x03", 4) + big_endian(4) + big_endian(3) + big_endian(3) + pixels;
  const std::string labels = std::string("\0\0\x08\x01", 4) + big_endian(4) + std::string("\0\1\2\1", 4);
  for (const char* split : {"train", "t10k"}) {
    write_text(file(std::string(split) + "-images-idx3-ubyte"), images);
    write_text(file(std::string(split) + "-labels-idx1-ubyte"), labels);
  }
  const std::string output =
      import("idx --input " + file("") + " --class-names [cat,dog,eel] --compression=0");
  EXPECT_PRED2(holds, output, "train        4 samples\ntest         4 samples\nwrote " + file("out.h5"));
  for (const char* part : {"image  u8 [4, 1, 3, 3]", "classes 0: 1, 1: 2, 2: 1", "values 0 to 245",
                           "@class_names = cat, dog, eel", "@classes = 3"})
    EXPECT_PRED2(holds, info(), part);
  EXPECT_PRED2(holds, train("{name: mlp, mlp: {hidden: [4]}}"), "done after 1 steps");
}

TEST_F(Data, an_option_given_twice_is_refused_with_the_way_to_write_a_list) {
  for (const char* words : {"--train a.bin --train b.bin", "--train=a.bin --train=a.bin"})
    expect_refused(shell("$L data import tokens --output " + file("o.h5") + " " + words), 2,
                   {"--train is given twice", "--train '[..., ...]'"});
  expect_refused(shell("$L data generate weather --output " + file("o.h5") + " --seed 1 --seed 2"), 2,
                 {"--seed is given twice", "keep one"});
  EXPECT_FALSE(std::filesystem::exists(file("o.h5")));
}

TEST_F(Data, a_refused_import_leaves_no_file_behind) {
  const std::string images =
      std::string("\0\0\x08\x03", 4) + big_endian(1) + big_endian(1) + big_endian(1) + "x";
  const std::string labels = std::string("\0\0\x08\x01", 4) + big_endian(2) + std::string("\0\1", 2);
  for (const char* split : {"train", "t10k"}) {
    write_text(file(std::string(split) + "-images-idx3-ubyte"), images);
    write_text(file(std::string(split) + "-labels-idx1-ubyte"), labels);
  }
  expect_refused(shell("$L data import idx --input " + file("") + " --output " + file("out.h5")), 3,
                 {"1 images", "2 labels"});
  EXPECT_FALSE(std::filesystem::exists(file("out.h5")));
  EXPECT_FALSE(std::filesystem::exists(file("out.h5.partial")));
}

TEST_F(Data, cifar_records_of_both_variants_keep_the_right_label) {
  std::string ten, hundred;
  for (int i = 0; i < 3; ++i) {
    const std::string pixels(3072, static_cast<char>(50 * i));
    ten += static_cast<char>(i) + pixels;
    hundred += std::string(1, static_cast<char>(9)) + static_cast<char>(90 + i) + pixels;
  }
  write_text(file("ten.bin"), ten);
  write_text(file("hundred.bin"), hundred);
  EXPECT_PRED2(holds, import("cifar --train " + file("ten.bin") + " --test " + file("ten.bin")),
               "train        3");
  for (const char* part : {"image  u8 [3, 3, 32, 32]", "classes 0: 1, 1: 1, 2: 1", "@classes = 10"})
    EXPECT_PRED2(holds, info(), part);
  import("cifar --variant cifar100 --train " + file("hundred.bin") + " --test " + file("hundred.bin"));
  for (const char* part : {"classes 90: 1, 91: 1, 92: 1", "@classes = 100"})
    EXPECT_PRED2(holds, info(), part);
  expect_refused(shell("$L data import cifar --train " + file("hundred.bin") + " --test " + file("ten.bin") +
                       " --output " + file("bad.h5")),
                 3, {"hundred.bin", "cifar100"});
  EXPECT_FALSE(std::filesystem::exists(file("bad.h5")));
}

TEST_F(Data, text_is_split_into_characters_and_validation) {
  write_text(file("t.txt"), std::string(90, 'a') + std::string(10, 'b'));
  EXPECT_PRED2(holds, import("text --input " + file("t.txt")),
               "train        90 tokens\nvalidation   10 tokens");
  for (const char* part : {"@classes = 2", "tokens  u16 [90]", "values 1 to 1"})
    EXPECT_PRED2(holds, info(), part);
  EXPECT_PRED2(holds, import("text --tokenizer bytes --validation-fraction 0.5 --input " + file("t.txt")),
               "train        50 tokens");
  EXPECT_PRED2(holds, info(), "@classes = 256");
  expect_refused(
      shell("$L data import text --tokenizer gpt2 --input " + file("t.txt") + " --output " + file("o.h5")), 2,
      {"encoder"});
}

TEST_F(Data, raw_tokens_become_a_data_set_that_trains) {
  std::string raw;
  for (int i = 0; i < 64; ++i) raw += {static_cast<char>(i % 11), '\0'};
  write_text(file("t.bin"), raw);
  import("tokens --train " + file("t.bin") + " --validation " + file("t.bin") + " --classes 11");
  for (const char* part : {"tokens  u16 [64]", "values 0 to 10", "@classes = 11"})
    EXPECT_PRED2(holds, info(), part);
  const std::string output = train("{name: gpt2, gpt2: {layers: 1, heads: 1, width: 4}}",
                                   "--set data.context=8 --set eval.split=validation");
  EXPECT_PRED2(holds, output, "perplexity");
  expect_refused(
      shell("$L data import tokens --classes 10 --train " + file("t.bin") + " --output " + file("o.h5")), 3,
      {"t.bin", "10"});
}

TEST_F(Data, foreign_hdf5_becomes_fields_and_a_member_is_held_back) {
  {
    data::Hdf5File foreign = data::Hdf5File::create(file("foreign.h5"));
    std::vector<float> values(3 * 5 * 4 * 8);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 160);
    foreign.make_dataset("/t", Dtype::f32, Shape{3, 5, 4, 8}).write_rows(0, 3, flat(std::span(values)));
  }
  EXPECT_PRED2(
      holds,
      import("hdf5 --input " + file("foreign.h5") + " --tensors [field=/t] --sample-axes 2 --held-back [2]"),
      "train        10 samples\nvalidation   5 samples");
  EXPECT_PRED2(holds, info(), "field  f32 [10, 1, 4, 8]");
  EXPECT_PRED2(holds, info(), "values 0 to 159");
  expect_refused(shell("$L data import hdf5 --input " + file("foreign.h5") +
                       " --tensors [field=/u] --output " + file("o.h5")),
                 3, {"/u"});
}

TEST_F(Data, folders_of_images_become_classes) {
  for (const auto& [animal, brightness] : {std::pair("cat", 10), std::pair("dog", 200)}) {
    for (const char* split : {"train", "test"}) {
      const std::string folder = file("in/") + split + "/" + animal;
      std::filesystem::create_directories(folder);
      for (const char* name : {"/a.png", "/b.png"})
        write_text(folder + name, grey_png(6, static_cast<char>(brightness)));
    }
  }
  const Ran ran =
      shell("$L data import images --size 4 --input " + file("in") + " --output " + file("out.h5"));
  if (holds(ran.output, "which this build cannot read")) GTEST_SKIP() << ran.output;
  EXPECT_EQ(ran.code, 0) << ran.output;
  for (const char* part : {"image  u8 [4, 3, 4, 4]", "classes 0: 2, 1: 2", "values 10 to 200", "cat, dog"})
    EXPECT_PRED2(holds, info(), part);
  EXPECT_PRED2(holds, train("{name: cnn, cnn: {channels: [2]}}"), "done after 1 steps");
}

TEST_F(Data, weather_is_made_up_alike_for_a_seed_and_with_balanced_classes) {
  const auto generate = [&](const std::string& words, const std::string& name) {
    return run("$L data generate weather --train 40 --test 8 --side 16 --output " + file(name) + " " + words);
  };
  EXPECT_PRED2(holds, generate("", "out.h5"), "train        40 samples\ntest         8 samples");
  for (const char* part : {"[40, 4, 16, 16]", "classes 0: 10, 1: 10, 2: 10, 3: 10", "calm, "})
    EXPECT_PRED2(holds, info(), part);
  generate("", "again.h5");
  generate("--seed 2", "other.h5");
  const auto image = [&](const std::string& name) {
    std::vector<float> values(40 * 4 * 16 * 16);
    data::Hdf5File::open(file(name)).dataset("/train/image").read(flat(std::span(values)));
    return values;
  };
  EXPECT_EQ(image("again.h5"), image("out.h5"));
  EXPECT_NE(image("other.h5"), image("out.h5"));
  EXPECT_PRED2(holds, train("{name: cnn, cnn: {channels: [2]}}"), "done after 1 steps");
}

TEST_F(Data, many_files_are_written_and_read_as_one_set) {
  const std::string output =
      run("$L data generate weather --train 40 --test 8 --side 8 --samples-per-file 16 --output " +
          file("w.h5") + " --source 'a test' --licence none");
  std::size_t files = 0;
  for (std::size_t at = output.find("wrote "); at != std::string::npos; at = output.find("wrote ", at + 1))
    ++files;
  EXPECT_EQ(files, 4u) << output;
  const std::string words = "{name: mlp, mlp: {hidden: [4]}}";
  write_text(file("c.yaml"), "model: " + words + "\ndata: {files: ['" + file("w*.h5") +
                                 "']}\nbatch: {global: 8}\ntrain: {epochs: 1}\ndevice: " LOCKSTEP_TEST_DEVICE
                                 "\n");
  EXPECT_PRED2(holds, run("$L train " + file("c.yaml")), "done after 5 steps");
}

TEST_F(Data, info_names_what_it_cannot_read_and_describes_several_files) {
  run("$L data generate weather --train 8 --test 4 --side 8 --source 'a test' --output " + file("out.h5"));
  const std::string both = run("$L data info " + file("out.h5") + " " + file("out.h5"));
  EXPECT_NE(both.find("out.h5: HDF5"), both.rfind("out.h5: HDF5"));
  EXPECT_PRED2(holds, both, "@source = a test");
  write_text(file("text.h5"), "no HDF5");
  expect_refused(shell("$L data info " + file("text.h5")), 3, {"text.h5"});
  expect_refused(shell("$L data info " + file("absent.h5")), 3, {"absent.h5"});
}

TEST_F(Data, under_mpirun_one_rank_writes_the_file) {
  const std::string output =
      run("$MPI -n 3 $L data generate weather --train 64 --test 16 --output " + file("w.h5"));
  EXPECT_PRED2(holds, output, "train        64 samples");
  EXPECT_EQ(output.find("wrote"), output.rfind("wrote"));
  EXPECT_PRED2(holds, output, "of those that were started the first does it all");
  EXPECT_PRED2(holds, run("$L data info " + file("w.h5")), "f32 [64, 4, 32, 32]");
}

TEST_F(Data, a_disk_that_is_full_is_named_in_the_systems_words) {
  // A limit on the size of files stands for the disk.
  const Ran ran =
      shell("trap '' XFSZ; ulimit -f 64; $L data generate weather --compression 0 --output " + file("w.h5"));
  expect_refused(ran, 3, {"cannot write to '", "': File too large\n", "free space"});
}

}  // namespace
}  // namespace lockstep::programs
