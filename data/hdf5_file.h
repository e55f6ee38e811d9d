// HDF5 files behind owned handles: typed reads and writes by name, with errors that say file, dataset and
// cure instead of HDF5's error stack. One lock guards the HDF5 library in the whole process, so every call is
// thread-safe; what is fast goes around the library (row_reader.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/flat_span.h"
#include "core/shape.h"

namespace lockstep::data {

/// An HDF5 identifier that closes itself.
class Hdf5Handle {
 public:
  using Close = int (*)(std::int64_t);
  Hdf5Handle() = default;
  Hdf5Handle(std::int64_t id, Close close) : id_(id), close_(close) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept;
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept;
  ~Hdf5Handle();
  [[nodiscard]] std::int64_t id() const noexcept { return id_; }
  [[nodiscard]] bool valid() const noexcept { return id_ >= 0; }

 private:
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

enum class Hdf5Layout : std::uint8_t { contiguous, chunked, compact, other };

struct Hdf5Filter {
  int id = 0;        ///< 1 deflate, 2 shuffle, 3 fletcher32, ...
  std::string name;  ///< "deflate 4"
};

/// How a dataset is stored.
struct Hdf5Storage {
  Shape shape;                 ///< of the whole dataset; a scalar has rank 0
  std::string type;            ///< "f32", "f32 big-endian", "i8", "string", "compound", ...
  std::optional<Dtype> dtype;  ///< what reads give; none when the elements are not numbers
  bool exact = false;          ///< the file's bytes are the elements of `dtype`, no conversion needed
  Hdf5Layout layout = Hdf5Layout::other;
  std::int64_t offset = -1;  ///< of a contiguous dataset in this file; -1 when it has none
  Shape chunk;               ///< of a chunked one
  std::vector<Hdf5Filter> filters;
  bool whole_edge_chunks = true;  ///< partial chunks at the edge are filtered like the others
  std::int64_t stored_bytes = 0;
};

/// An open dataset. Keeps its file open. Thread-safe. storage() tells how it was when it was opened.
class Hdf5Array {
 public:
  struct State;
  explicit Hdf5Array(std::shared_ptr<const State> state);

  [[nodiscard]] const Hdf5Storage& storage() const noexcept;
  /// "train.h5:/train/image": how to name it in an error.
  [[nodiscard]] std::string where() const;
  /// Rows [first, first + count) along the first axis (a scalar has one row), converted to into.dtype.
  void read_rows(std::int64_t first, std::int64_t count, FlatSpan into) const;
  /// The whole dataset.
  void read(FlatSpan into) const;
  /// The stored bytes of the chunk that starts at `row` (other coordinates 0), and the mask of the filters
  /// that were skipped; empty when the chunk was never written.
  [[nodiscard]] std::vector<std::byte> read_raw_chunk(std::int64_t row, std::uint32_t& skipped_filters) const;
  /// Overwrites rows from `first` on, growing the dataset when it was made to grow.
  void write_rows(std::int64_t first, std::int64_t count, FlatSpan from);

 private:
  std::shared_ptr<const State> state_;
};

/// How make_dataset() stores: `chunk_rows` 0 is contiguous (then nothing is compressed and it cannot grow).
struct Hdf5Creation {
  std::int64_t chunk_rows = 0;
  int deflate = 0;  ///< 0 none ... 9 smallest; always with shuffle
};

/// An open file. Cheap to copy: copies share it. Object names are paths: "/train/image".
class Hdf5File {
 public:
  struct State;

  /// For reading. Throws Fault::data naming the file: missing, unreadable, not HDF5, truncated.
  static Hdf5File open(const std::string& path);
  /// Makes or empties the file. Throws Fault::data naming the file and the system's reason.
  static Hdf5File create(const std::string& path);
  /// For reading and writing what is there. Throws like open().
  static Hdf5File edit(const std::string& path);

  [[nodiscard]] const std::string& path() const noexcept;
  [[nodiscard]] bool has_group(const std::string& name) const;
  [[nodiscard]] bool has_dataset(const std::string& name) const;
  /// Names (not paths) of the children of a group, sorted. Links that lead nowhere are left out.
  [[nodiscard]] std::vector<std::string> groups(const std::string& parent = "/") const;
  [[nodiscard]] std::vector<std::string> datasets(const std::string& parent = "/") const;
  /// Throws Fault::data when there is none of that name.
  [[nodiscard]] Hdf5Array dataset(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> attributes(const std::string& object = "/") const;
  /// As text: several strings one a line, several numbers separated by ", ", other types as "(compound)".
  [[nodiscard]] std::optional<std::string> attribute(const std::string& object, const std::string& key) const;

  void make_group(const std::string& name);
  Hdf5Array make_dataset(const std::string& name, Dtype dtype, const Shape& shape,
                         const Hdf5Creation& how = {});
  void set_attribute(const std::string& object, const std::string& key, const std::string& text);
  void set_attribute(const std::string& object, const std::string& key, std::span<const double> numbers);
  void set_attribute(const std::string& object, const std::string& key, std::int64_t number);
  /// Writes everything out. Throws Fault::data when the disk refuses.
  void flush();

 private:
  enum class Access : std::uint8_t { read, edit };
  static Hdf5File open_as(const std::string& path, Access access);
  explicit Hdf5File(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

/// The files that paths and globs name, in the order given, each glob sorted. Throws Fault::data for one that
/// matches nothing.
[[nodiscard]] std::vector<std::string> expand_globs(const std::vector<std::string>& patterns);

}  // namespace lockstep::data
