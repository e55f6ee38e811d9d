#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include "comm/collectives.h"

namespace lockstep::comm {

namespace {

template <class T>
std::vector<T> gather_all(Collectives& collectives, Stream& stream, std::span<T> mine) {
  std::vector<T> all(mine.size() * static_cast<std::size_t>(collectives.size()));
  collectives.gather(flat(mine), flat(std::span<T>(all)), stream);
  stream.synchronize();
  return all;
}

std::span<std::uint8_t> bytes_of(std::string& text) {
  return {reinterpret_cast<std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

Control::Control(std::unique_ptr<Collectives> collectives)
    : collectives_(std::move(collectives)),
      stream_(make_stream(Device{}, {.name = "control", .threads = 1})) {}

void Control::barrier() {
  collectives_->barrier(*stream_);
  stream_->synchronize();
}

void Control::sum(std::span<double> values) {
  const std::vector<double> all = gather_all(*collectives_, *stream_, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double total = all[i];
    for (std::size_t at = i + values.size(); at < all.size(); at += values.size()) total += all[at];
    values[i] = total;
  }
}

double Control::sum(double value) {
  sum(std::span(&value, 1));
  return value;
}

double Control::maximum(double value) {
  const std::vector<double> all = gather_all(*collectives_, *stream_, std::span(&value, 1));
  return *std::max_element(all.begin(), all.end());
}

std::vector<std::int64_t> Control::gather(std::int64_t value) {
  return gather_all(*collectives_, *stream_, std::span(&value, 1));
}

std::vector<std::string> Control::gather(const std::string& text) {
  const std::vector<std::int64_t> lengths = gather(static_cast<std::int64_t>(text.size()));
  const auto longest = static_cast<std::size_t>(*std::max_element(lengths.begin(), lengths.end()));
  std::string padded = text;
  padded.resize(longest);
  const std::vector<std::uint8_t> all = gather_all(*collectives_, *stream_, bytes_of(padded));
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < lengths.size(); ++rank) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(rank * longest);
    texts.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(lengths[rank]));
  }
  return texts;
}

std::string Control::broadcast(const std::string& text, int root) {
  auto length = static_cast<std::int64_t>(text.size());
  collectives_->broadcast(flat(std::span(&length, 1)), root, *stream_);
  stream_->synchronize();
  std::string everyones = rank() == root ? text : std::string(static_cast<std::size_t>(length), '\0');
  collectives_->broadcast(flat(bytes_of(everyones)), root, *stream_);
  stream_->synchronize();
  return everyones;
}

}  // namespace lockstep::comm
