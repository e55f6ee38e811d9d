// Reader and writer of safetensors. The reader trusts nothing: lengths, offsets and shapes are checked
// against each other and against the file's size before any byte is interpreted.
#include "trainer/safetensors.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/dtype.h"
#include "core/error.h"
#include "core/output.h"

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian, and so are we");

namespace lockstep::trainer {
namespace {

using nlohmann::json;

/// The format's own limit on the header.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

Error damaged(const std::string& path, const std::string& what) {
  return {Fault::checkpoint, fmt::format("'{}' is not a whole safetensors file: {}", path, what),
          "copy or export it again"};
}

/// Bytes per element of the types that the format knows, 0 for others.
std::uint64_t element_bytes(const std::string& type) {
  static const std::map<std::string, std::uint64_t, std::less<>> bytes{
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},  {"I32", 4},     {"I16", 2},    {"I8", 1},
      {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1},   {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  const auto found = bytes.find(type);
  return found == bytes.end() ? 0 : found->second;
}

/// One entry of the header, checked.
struct Entry {
  std::string name, type;
  Shape shape;
  std::uint64_t begin = 0, end = 0;  ///< within the data
};

/// Numbers that are not negative and small enough to multiply, or nothing.
std::optional<std::vector<std::int64_t>> counts(const json& list) {
  if (!list.is_array()) return std::nullopt;
  std::vector<std::int64_t> numbers;
  for (const json& each : list) {
    if (!each.is_number_integer()) return std::nullopt;
    const auto number = each.get<std::int64_t>();
    if (number < 0 || number > (std::int64_t{1} << 48)) return std::nullopt;
    numbers.push_back(number);
  }
  return numbers;
}

/// Bytes of a tensor, or nothing on overflow.
std::optional<std::uint64_t> bytes_of(const Shape& shape, std::uint64_t element) {
  std::uint64_t bytes = element;
  for (const auto extent : shape.extents()) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes;
}

Entry entry_of(const std::string& path, const std::string& name, const json& facts,
               std::uint64_t data_bytes) {
  const auto refuse = [&](const std::string& why) {
    return damaged(path, fmt::format("tensor '{}' {}", name, why));
  };
  const auto has = [&](const char* key) { return facts.is_object() && facts.contains(key); };
  if (!has("dtype") || !has("shape") || !has("data_offsets") || !facts["dtype"].is_string()) {
    throw refuse("lacks dtype, shape or data_offsets");
  }
  Entry entry{.name = name, .type = facts["dtype"].get<std::string>(), .shape = {}};
  const auto shape = counts(facts["shape"]), offsets = counts(facts["data_offsets"]);
  if (!shape || !offsets || offsets->size() != 2) throw refuse("has a shape or offsets that are no counts");
  entry.shape = Shape(*shape);
  entry.begin = static_cast<std::uint64_t>((*offsets)[0]);
  entry.end = static_cast<std::uint64_t>((*offsets)[1]);
  if (entry.begin > entry.end || entry.end > data_bytes) {
    throw refuse(
        fmt::format("lies at bytes {} to {}, the file holds {}", entry.begin, entry.end, data_bytes));
  }
  const std::uint64_t element = element_bytes(entry.type);
  if (element == 0) throw refuse(fmt::format("has the unknown dtype '{}'", entry.type));
  if (bytes_of(entry.shape, element) != entry.end - entry.begin) {
    throw refuse(fmt::format("of shape {} and dtype {} has {} bytes", entry.shape.text(), entry.type,
                             entry.end - entry.begin));
  }
  return entry;
}

/// The format wants the tensors to cover the data, each byte once.
void check_coverage(const std::string& path, std::vector<Entry> entries, std::uint64_t data_bytes) {
  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  std::uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) {
      throw damaged(
          path, fmt::format("tensor '{}' starts at byte {}, expected {}", entry.name, entry.begin, covered));
    }
    covered = entry.end;
  }
  if (covered != data_bytes)
    throw damaged(path, fmt::format("{} of its bytes belong to no tensor", data_bytes - covered));
}

template <class Stored>
std::vector<float> converted(const std::vector<char>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<float>(stored);
  }
  return values;
}

std::vector<float> floats_of(const std::string& type, const std::vector<char>& bytes) {
  if (type == "F32") return converted<float>(bytes);
  if (type == "F64") return converted<double>(bytes);
  if (type == "F16") return converted<F16>(bytes);
  if (type == "BF16") return converted<Bf16>(bytes);
  return {};
}

std::vector<Entry> read_header(const std::string& path, std::ifstream& file, std::uint64_t file_bytes) {
  std::uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  if (!file || header_bytes > kMaxHeaderBytes || header_bytes > file_bytes - 8) {
    throw damaged(path,
                  fmt::format("it has {} bytes and announces a header of {}", file_bytes, header_bytes));
  }
  std::string text(header_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(header_bytes));
  const json header = json::parse(text, nullptr, false);
  if (!file || !header.is_object()) throw damaged(path, "its header is not a JSON object");
  std::vector<Entry> entries;
  const std::uint64_t data_bytes = file_bytes - 8 - header_bytes;
  for (const auto& [name, facts] : header.items()) {
    if (name != "__metadata__") entries.push_back(entry_of(path, name, facts, data_bytes));
  }
  check_coverage(path, entries, data_bytes);
  return entries;
}

json header_of(const NamedTensors& tensors) {
  json header = {{"__metadata__", {{"format", "pt"}}}};  // transformers wants to be told the framework
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::uint64_t end = at + tensor.values.size() * sizeof(float);
    header[name] = {{"dtype", "F32"}, {"shape", tensor.shape.extents()}, {"data_offsets", {at, end}}};
    at = end;
  }
  return header;
}

}  // namespace

bool looks_like_safetensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 9> start{};
  file.read(start.data(), start.size());
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, start.data(), sizeof header_bytes);
  return file.good() && header_bytes <= kMaxHeaderBytes && start[8] == '{';
}

NamedTensors read_safetensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    throw Error(Fault::checkpoint, fmt::format("cannot open '{}': {}", path, std::strerror(errno)),
                "check the path");
  }
  const auto file_bytes = static_cast<std::uint64_t>(file.tellg());
  if (file_bytes < 8) throw damaged(path, fmt::format("it has only {} bytes", file_bytes));
  file.seekg(0);
  const std::vector<Entry> entries = read_header(path, file, file_bytes);
  const auto data = static_cast<std::uint64_t>(file.tellg());
  NamedTensors tensors;
  for (const Entry& entry : entries) {
    std::vector<char> bytes(entry.end - entry.begin);
    file.seekg(static_cast<std::streamoff>(data + entry.begin));
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file) throw damaged(path, fmt::format("tensor '{}' cannot be read", entry.name));
    tensors[entry.name] = {entry.shape, floats_of(entry.type, bytes), entry.type};
  }
  return tensors;
}

void write_safetensors(const std::string& path, const NamedTensors& tensors) {
  check_replaceable(path, Fault::checkpoint);
  std::string header = header_of(tensors).dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');  // data starts aligned
  const std::uint64_t header_bytes = header.size();
  const std::string aside = path + ".partial";
  std::ofstream file(aside, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const auto& [name, tensor] : tensors) {
    file.write(reinterpret_cast<const char*>(tensor.values.data()),
               static_cast<std::streamsize>(tensor.values.size() * sizeof(float)));
  }
  file.close();
  std::error_code failure;
  if (file) std::filesystem::rename(aside, path, failure);
  if (!file || failure) {
    const std::string reason = failure ? failure.message() : std::strerror(errno);
    std::filesystem::remove(aside, failure);
    throw Error(Fault::checkpoint, fmt::format("cannot write '{}': {}", path, reason),
                "check that the folder exists, is writable and has space");
  }
}

}  // namespace lockstep::trainer
