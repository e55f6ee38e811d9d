// How fast the loader reads, decodes, augments and lays out samples on this machine's processors, to be held
// against what a GPU consumes (ResNet-50 on an H100: some 7,000 images/s).
//
//   bench_loader FILE.h5 SPLIT MICROBATCH SECONDS [key=value ...]    keys of section "data": threads=8
//   size=224
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/options.h"
#include "data/loader.h"

namespace {

using namespace lockstep;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Options settings_of(int count, char** given) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < count; ++i) {
    const std::string text = given[i];
    const auto equals = text.find('=');
    if (equals == std::string::npos) throw Error(Fault::config, "'" + text + "' is not key=value");
    pairs.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return Options::of(data::loader_settings(), pairs);
}

void measure(char** arguments, const Options& settings) {
  const std::int64_t microbatch = std::atoll(arguments[3]);
  const double limit_s = std::atof(arguments[4]);
  const auto dataset = data::open_hdf5({arguments[1]}, arguments[2]);
  const auto loader = data::make_loader(*dataset, settings, {.microbatch = microbatch});
  static_cast<void>(loader->next());  // threads are up, the file is open
  const auto start = Clock::now();
  std::int64_t samples = 0;
  for (; seconds_since(start) < limit_s; samples += microbatch) static_cast<void>(loader->next());
  const double taken_s = seconds_since(start);
  const double bytes = static_cast<double>(samples * loader->spec().input.count()) * 4;  // f32 or i32
  std::printf("%lld samples in %.2f s: %.0f samples/s, %.2f GB/s of input\n", static_cast<long long>(samples),
              taken_s, static_cast<double>(samples) / taken_s, bytes / taken_s * 1e-9);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) {
    std::fprintf(stderr, "bench_loader FILE.h5 SPLIT MICROBATCH SECONDS [key=value ...]\n");
    return 2;
  }
  try {
    measure(arguments, settings_of(count - 5, arguments + 5));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
  return 0;
}
