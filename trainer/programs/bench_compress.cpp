// lockstep bench compress: codecs alone, and the exchange of a model's gradients by each compressor.
#include "comm/compress/bench_compress.h"

#include <cstdio>
#include <cxxopts.hpp>
#include <fstream>

#include "trainer/programs/bench_compress.h"
#include "trainer/programs/config_file.h"

namespace lockstep::programs {

namespace {

cxxopts::Options compress_usage() {
  cxxopts::Options options(
      "lockstep bench compress",
      "Times codecs beside copies of memory, and the exchange of gradients by each compressor "
      "beside the exact one; run it under mpirun.\n");
  options.add_options()  //
      ("gradients", "vgg16, gpt, or elements of one matrix such as 16M",
       cxxopts::value<std::string>()->default_value("vgg16"))  //
      ("compressor", "only these: int8,powersgd:rank=2",
       cxxopts::value<std::vector<std::string>>())  //
      ("schedule", "of exact sums, one or more (by default the one that training uses)",
       cxxopts::value<std::vector<std::string>>())                                                         //
      ("device", "cpu or cuda: where gradients are", cxxopts::value<std::string>()->default_value("cpu"))  //
      ("transport", "auto, mpi or nccl; with settings: mpi:gpu_messages=staged",
       cxxopts::value<std::string>()->default_value("auto"))                            //
      ("n,iterations", "timed exchanges", cxxopts::value<int>()->default_value("5"))    //
      ("w,warmup", "exchanges before them", cxxopts::value<int>()->default_value("1"))  //
      ("values", "of the codec table; 0: no codec table",
       cxxopts::value<std::int64_t>()->default_value("4194304"))                                      //
      ("rounds", "of the codec table", cxxopts::value<int>()->default_value("9"))                     //
      ("codecs-only", "no exchanges")                                                                 //
      ("json", "also write the rows to this file", cxxopts::value<std::string>()->default_value(""))  //
      ("h,help", "this text");
  return options;
}

}  // namespace

int bench_compress(Context& context) {
  const auto words = parse_bench(compress_usage(), context);
  if (!words) return 0;
  const cxxopts::ParseResult& given = *words;
  comm::CompressBench bench;
  bench.gradients = given["gradients"].as<std::string>();
  if (given.count("compressor") > 0) bench.compressors = parts_given(given, "compressor");
  bench.iterations = given["iterations"].as<int>();
  bench.warmup = given["warmup"].as<int>();
  comm::World& world = context.world();
  bench.device = device_called(given["device"].as<std::string>(), world);
  bench.transport = given["transport"].as<std::string>();
  bench.schedules = comm::bench_schedules(
      given.count("schedule") > 0 ? parts_given(given, "schedule")
                                  : std::vector<std::string>{usual_schedule(world, bench.device)});
  const bool exchanges = given.count("codecs-only") == 0;
  if (exchanges) comm::check_bench(bench);
  std::vector<comm::CodecRow> codecs;
  if (world.rank() == 0 && given["values"].as<std::int64_t>() != 0) {
    codecs = comm::bench_codecs(given["values"].as<std::int64_t>(), given["rounds"].as<int>(), bench.device);
    std::printf("%s", comm::codec_table(codecs, bench.device).c_str());
    std::fflush(stdout);
  }
  std::vector<comm::CompressRow> rows;
  if (exchanges) rows = comm::bench_compress(world, bench);
  if (world.rank() != 0) return 0;
  if (!rows.empty()) std::printf("%s", comm::compress_table(world, bench, rows).c_str());
  write_json(given["json"].as<std::string>(), comm::compress_json(world, bench, codecs, rows));
  return 0;
}

}  // namespace lockstep::programs
