// Small data files for tests, removed with the folder that holds them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "data/hdf5_file.h"
#include "data/loader.h"
#include "tests/support/scratch_directory.h"

namespace lockstep::data {

/// A fresh folder that disappears with the object.
class TemporaryFolder {
 public:
  [[nodiscard]] std::string file(const std::string& name) const { return scratch_.path() + "/" + name; }

 private:
  ScratchDirectory scratch_;
};

/// Writes a whole dataset.
template <class T>
void put(Hdf5File& file, const std::string& name, const Shape& shape, std::vector<T> values,
         const Hdf5Creation& how = {}) {
  auto array = file.make_dataset(name, dtype_of<T>, shape, how);
  array.write_rows(0, shape.rank() == 0 ? 1 : shape[0], flat(std::span<T>(values)));
}

/// `samples` images u8 [1, 2, 2] whose pixels are all the sample's number (modulo 256), with label number %
/// 3, and "id" i32, starting with number `first`.
inline std::string numbered_file(const std::string& path, std::int64_t samples, std::int64_t first = 0,
                                 const Hdf5Creation& how = {}) {
  auto file = Hdf5File::create(path);
  file.make_group("/train");
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> labels;
  for (std::int64_t i = first; i < first + samples; ++i) {
    pixels.insert(pixels.end(), 4, static_cast<std::uint8_t>(i));
    labels.push_back(static_cast<std::int32_t>(i % 3));
  }
  put(file, "/train/image", Shape{samples, 1, 2, 2}, pixels, how);
  put(file, "/train/label", Shape{samples}, labels, how);
  file.set_attribute("/", "classes", std::int64_t{3});
  file.flush();
  return path;
}

/// A token file whose token i is i % vocabulary.
inline std::string token_file(const std::string& path, std::int64_t tokens, std::int64_t vocabulary,
                              const std::string& split = "train") {
  auto file = Hdf5File::create(path);
  file.make_group("/" + split);
  std::vector<std::uint16_t> values;
  for (std::int64_t i = 0; i < tokens; ++i) values.push_back(static_cast<std::uint16_t>(i % vocabulary));
  put(file, "/" + split + "/tokens", Shape{tokens}, values, {.chunk_rows = 7, .deflate = 1});
  file.set_attribute("/", "classes", vocabulary);
  return path;
}

/// Loader settings with some keys given.
inline Options loader_options(const std::vector<std::pair<std::string, std::string>>& given = {}) {
  return Options::of(loader_settings(), given);
}

/// Runs `action` and returns the error it throws; fails the test when it throws none.
template <class Action>
Error error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return {Fault::internal, ""};
}

inline bool mentions(const Error& error, const std::string& text) {
  return std::string(error.what()).find(text) != std::string::npos;
}

}  // namespace lockstep::data
