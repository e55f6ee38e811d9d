#include "data/writer.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <variant>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "core/output.h"
#include "data/hdf5_file.h"

namespace lockstep::data {
namespace {

/// Chunks of about this size compress well and still decode in well under a millisecond.
constexpr std::size_t kChunkBytes = 64 << 10;
/// Written to every file, so that a reader knows what it holds.
constexpr const char* kFormat = "lockstep data set 1";

using Fact = std::variant<std::string, std::vector<double>, std::int64_t>;

std::string aside(const std::string& path) { return path + ".partial"; }

/// "set.h5" of part 3 of split "train" becomes "set-train-00003.h5".
std::string numbered(const std::string& path, const std::string& split, std::size_t number) {
  const std::filesystem::path whole(path);
  const auto name = fmt::format("{}-{}-{:05}{}", whole.stem().string(), split, number,
                                whole.has_extension() ? whole.extension().string() : ".h5");
  return (whole.parent_path() / name).string();
}

}  // namespace

struct SetWriter::State {
  WriterOptions options;
  std::vector<std::pair<std::string, Fact>> facts;
  Written written;
  std::optional<Hdf5File> file;
  std::string split;
  std::vector<TensorSpec> tensors;
  std::vector<Hdf5Array> arrays;
  std::int64_t rows_in_file = 0;
  std::size_t parts_of_split = 0;
  bool finished = false;

  [[nodiscard]] bool many() const { return options.samples_per_file > 0; }

  void open_file(const std::string& path) {
    check_replaceable(path, Fault::data);
    if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) {
      std::error_code failure;
      std::filesystem::create_directories(folder, failure);
    }
    written.files.push_back(path);
    file = Hdf5File::create(aside(path));
  }

  [[nodiscard]] Hdf5Creation storage_of(const TensorSpec& tensor) const {
    const auto fitting = static_cast<std::int64_t>(kChunkBytes / std::max<std::size_t>(1, tensor.bytes()));
    const auto rows = options.chunk_samples > 0 ? options.chunk_samples : std::max<std::int64_t>(1, fitting);
    return {.chunk_rows = rows, .deflate = options.deflate};
  }

  void open_split() {
    file->make_group("/" + split);
    arrays.clear();
    rows_in_file = 0;
    for (const auto& tensor : tensors) {
      std::vector<std::int64_t> extents{0};
      const auto& inner = tensor.shape.extents();
      extents.insert(extents.end(), inner.begin(), inner.end());
      arrays.push_back(file->make_dataset("/" + split + "/" + tensor.name, tensor.dtype, Shape(extents),
                                          storage_of(tensor)));
    }
  }

  void close_file() {
    arrays.clear();
    if (file) file->flush();
    file.reset();
  }

  void next_part() {
    close_file();
    open_file(numbered(options.path, split, parts_of_split++));
    open_split();
  }

  /// Facts may be known only when the last sample was seen, so they go into all files at the end.
  void write_facts(const std::string& path) const {
    auto edited = Hdf5File::edit(path);
    edited.set_attribute("/", "format", std::string(kFormat));
    for (const auto& fact : facts) {
      std::visit([&](const auto& value) { edited.set_attribute("/", fact.first, value); }, fact.second);
    }
    edited.flush();
  }

  void write(std::int64_t first, std::int64_t count, std::span<const std::byte* const> blocks) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      auto* from = const_cast<std::byte*>(blocks[i]) + static_cast<std::size_t>(first) * tensors[i].bytes();
      const FlatSpan rows{from, count * tensors[i].shape.count(), tensors[i].dtype, Device{}};
      arrays[i].write_rows(rows_in_file, count, rows);
    }
    rows_in_file += count;
    written.splits.back().second += count;
  }
};

namespace {
WriterOptions writer_options(const Options& settings) {
  return {.path = settings.text("output"),
          .deflate = static_cast<int>(settings.integer("compression")),
          .chunk_samples = settings.integer("chunk_samples"),
          .samples_per_file = settings.integer("samples_per_file")};
}

}  // namespace

SetWriter::SetWriter(const WriterOptions& options) : state_(std::make_unique<State>()) {
  state_->options = options;
  if (!state_->many()) state_->open_file(options.path);
}

SetWriter::SetWriter(const Options& settings) : SetWriter(writer_options(settings)) {
  for (const char* key : {"source", "licence"}) {
    if (const auto text = settings.text(key); !text.empty()) fact(key, text);
  }
}

SetWriter::~SetWriter() {
  if (state_->finished) return;
  state_->arrays.clear();
  state_->file.reset();
  std::error_code ignored;
  for (const auto& path : state_->written.files) std::filesystem::remove(aside(path), ignored);
}

void SetWriter::fact(const std::string& key, const std::string& text) {
  state_->facts.emplace_back(key, text);
}
void SetWriter::fact(const std::string& key, std::span<const double> numbers) {
  state_->facts.emplace_back(key, std::vector<double>(numbers.begin(), numbers.end()));
}
void SetWriter::fact(const std::string& key, std::int64_t number) { state_->facts.emplace_back(key, number); }

void SetWriter::begin_split(const std::string& name, const std::vector<TensorSpec>& tensors) {
  state_->split = name;
  state_->tensors = tensors;
  state_->parts_of_split = 0;
  state_->written.splits.emplace_back(name, 0);
  if (tensors.front().name == "tokens") state_->written.unit = "tokens";
  if (state_->many()) {
    state_->next_part();
  } else {
    state_->open_split();
  }
}

void SetWriter::append(std::int64_t count, std::span<const std::byte* const> tensors) {
  for (std::int64_t first = 0; first < count;) {
    if (state_->many() && state_->rows_in_file == state_->options.samples_per_file) state_->next_part();
    const auto room = state_->many() ? state_->options.samples_per_file - state_->rows_in_file : count;
    const auto take = std::min(count - first, room);
    state_->write(first, take, tensors);
    first += take;
  }
}

Written SetWriter::finish() {
  for (const auto& [split, samples] : state_->written.splits) {
    if (samples > 0) continue;
    throw Error(Fault::data,
                fmt::format("split '{}' of '{}' would have no samples", split, state_->options.path),
                "check that the input is the right one and not empty");
  }
  state_->close_file();
  for (const auto& path : state_->written.files) state_->write_facts(aside(path));
  for (const auto& path : state_->written.files) {
    std::error_code failure;
    std::filesystem::rename(aside(path), path, failure);
    if (failure) {
      throw Error(Fault::data,
                  fmt::format("cannot rename '{}' to '{}': {}", aside(path), path, failure.message()),
                  "clear that place, or name another as output");
    }
  }
  state_->finished = true;
  return state_->written;
}

}  // namespace lockstep::data
