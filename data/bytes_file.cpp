#include "data/bytes_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <lzma.h>
#include <zlib.h>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

namespace lockstep::data {
namespace {

constexpr std::size_t kBlock = 1 << 20;
constexpr int kGzipWindow = 15 + 16;  ///< zlib's way to say: the largest window, gzip header

Error damaged(const std::string& path, const char* format) {
  return {Fault::data, fmt::format("'{}' is a damaged or truncated {} file", path, format),
          "download it again and compare sizes"};
}

std::vector<std::byte> read_stored(const std::string& path) {
  std::error_code failure;
  if (std::filesystem::is_directory(path, failure)) {
    throw Error(Fault::data, fmt::format("'{}' is a folder, not a file", path), "name the file in it");
  }
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    throw Error(Fault::data, fmt::format("cannot open '{}': {}", path, std::strerror(errno)),
                "check the path");
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.tellg()));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file)
    throw Error(Fault::data, fmt::format("cannot read '{}': {}", path, std::strerror(errno)),
                "check the disk it lies on");
  return bytes;
}

bool starts_with(const std::vector<std::byte>& bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

/// zlib's stream, ended when it goes out of scope.
struct Inflater {
  z_stream stream{};
  bool ready = inflateInit2(&stream, kGzipWindow) == Z_OK;
  Inflater() = default;
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream); }
};

/// One member after the other until the packed bytes end.
std::vector<std::byte> unpack_gzip(const std::vector<std::byte>& packed, const std::string& path) {
  Inflater inflater;
  z_stream& stream = inflater.stream;
  std::vector<std::byte> bytes;
  std::size_t used = 0;
  std::size_t done = 0;
  int status = inflater.ready ? Z_OK : Z_STREAM_ERROR;
  while (status == Z_OK && used < packed.size()) {
    bytes.resize(done + kBlock);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data() + used));
    stream.avail_in = static_cast<uInt>(std::min(packed.size() - used, kBlock));
    const uInt given = stream.avail_in;
    stream.next_out = reinterpret_cast<Bytef*>(bytes.data() + done);
    stream.avail_out = kBlock;
    status = inflate(&stream, Z_NO_FLUSH);
    used += given - stream.avail_in;
    done += kBlock - stream.avail_out;
    if (status == Z_BUF_ERROR) status = Z_OK;
    if (status == Z_STREAM_END && used < packed.size()) status = inflateReset(&stream);
  }
  bytes.resize(done);
  if (status != Z_STREAM_END) throw damaged(path, "gzip");
  return bytes;
}

std::vector<std::byte> unpack_xz(const std::vector<std::byte>& packed, const std::string& path) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&stream, UINT64_MAX, LZMA_CONCATENATED) != LZMA_OK) throw damaged(path, "xz");
  stream.next_in = reinterpret_cast<const std::uint8_t*>(packed.data());
  stream.avail_in = packed.size();
  std::vector<std::byte> bytes;
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK) {
    const std::size_t done = stream.total_out;
    bytes.resize(done + kBlock);
    stream.next_out = reinterpret_cast<std::uint8_t*>(bytes.data() + done);
    stream.avail_out = kBlock;
    status = lzma_code(&stream, LZMA_FINISH);
  }
  bytes.resize(stream.total_out);
  lzma_end(&stream);
  if (status != LZMA_STREAM_END) throw damaged(path, "xz");
  return bytes;
}

}  // namespace

std::vector<std::byte> read_bytes(const std::string& path) {
  auto stored = read_stored(path);
  if (starts_with(stored, "\x1f\x8b")) return unpack_gzip(stored, path);
  if (starts_with(stored, {"\xfd"
                           "7zXZ\0",
                           6})) {
    return unpack_xz(stored, path);
  }
  return stored;
}

std::string read_text(const std::string& path) {
  const auto bytes = read_bytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace lockstep::data
