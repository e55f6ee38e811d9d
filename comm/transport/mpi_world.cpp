// The job as MPI sees it: start, end, and the ranks of a node.
#include <dlfcn.h>
#include <spdlog/fmt/fmt.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "comm/transport/launcher.h"
#include "comm/transport/mpi_job.h"
#include "comm/transport/mpi_options.h"
#include "comm/transport/processors.h"
#include "comm/worlds.h"
#include "core/log.h"

namespace lockstep::comm {

namespace {

/// Open MPI says so by an extension that other libraries lack, so it is looked up at run time.
bool cuda_aware() {
  void* query = dlsym(RTLD_DEFAULT, "MPIX_Query_cuda_support");
  return query != nullptr && reinterpret_cast<int (*)()>(query)() == 1;
}

class MpiWorld final : public World {
 public:
  explicit MpiWorld(MpiOptions options) : options_(options), job_(std::make_shared<MpiJob>()) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm node = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
              "MPI_Comm_split_type");
    MPI_Comm_rank(node, &local_rank_);
    MPI_Comm_size(node, &local_size_);
    int leader = rank_;  // names the node
    check_mpi(MPI_Bcast(&leader, 1, MPI_INT, 0, node), "MPI_Bcast");
    ProcessorSet processors = own_processors();
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, processors.data(), static_cast<int>(processors.size()),
                            MPI_UINT64_T, MPI_BOR, node),
              "MPI_Allreduce");
    processors_ = count(processors);
    job_->crowded = local_size_ > processors_;
    MPI_Comm_free(&node);
    std::vector<int> leaders(static_cast<std::size_t>(size_));
    check_mpi(MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, MPI_COMM_WORLD),
              "MPI_Allgather");
    job_->topology = Topology(leaders);
    job_->cuda_aware = cuda_aware();
  }
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;
  ~MpiWorld() override {
    if (job_->failed || std::uncaught_exceptions() > exceptions_) return;
    if (!job_->watch.farewell(options_.farewell_s)) {
      log::error("rank {}: not all ranks came to the end within {} s", rank_, options_.farewell_s);
      return;
    }
    job_->watch.release();
    for (MPI_Win& window : job_->windows) MPI_Win_free(&window);
    for (MPI_Comm& comm : job_->measured) MPI_Comm_free(&comm);
    job_.reset();
    MPI_Finalize();
  }

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  [[nodiscard]] int local_rank() const noexcept override { return local_rank_; }
  [[nodiscard]] int local_size() const noexcept override { return local_size_; }
  [[nodiscard]] int processors() const noexcept override { return processors_; }
  [[nodiscard]] std::string host() const override { return this_host(); }
  [[nodiscard]] std::unique_ptr<Transport> transport(double deadline_s) override {
    return make_mpi_transport(job_, MPI_COMM_WORLD, deadline_s, options_.piece_bytes);
  }
  [[nodiscard]] bool takes_gpu_memory() const override { return job_->cuda_aware; }
  [[nodiscard]] std::vector<Contender> contenders() override { return mpi_contenders(*job_); }
  [[nodiscard]] std::shared_ptr<Watchpost> watchpost() override {
    return make_mpi_watchpost(job_, MPI_COMM_WORLD, options_.farewell_s);
  }
  [[nodiscard]] std::string description() const override {
    return fmt::format("mpi ({}, {}CUDA-aware)", mpi_library(), job_->cuda_aware ? "" : "not ");
  }

 private:
  MpiOptions options_;
  int exceptions_ = std::uncaught_exceptions();
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  int processors_ = 1;
  std::shared_ptr<MpiJob> job_;
};

}  // namespace

std::unique_ptr<World> make_mpi_world(int* argc, char*** argv) {
  return make_mpi_world(argc, argv, MpiOptions{});
}

std::unique_ptr<World> make_mpi_world(int* argc, char*** argv, const MpiOptions& options) {
  std::map<std::string, std::string> environment;  // MPI_Init sets variables of its own
  for (const char* name :
       {"OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) {
    if (const char* value = std::getenv(name)) environment[name] = value;
  }
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  try {
    check_launcher(ranks, [&](const char* name) -> const char* {
      const auto found = environment.find(name);
      return found == environment.end() ? nullptr : found->second.c_str();
    });
    if (provided < MPI_THREAD_MULTIPLE) {
      throw Error(Fault::communication, mpi_library() + " does not grant MPI_THREAD_MULTIPLE",
                  "use an MPI library that was built with it");
    }
  } catch (...) {
    MPI_Finalize();  // all ranks come here together
    throw;
  }
  return std::make_unique<MpiWorld>(options);
}

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  std::string name(text.data());  // "Open MPI v4.1.4, package: ..."
  name = name.substr(0, name.find_first_of(",\n"));
  if (const auto version = name.find(" v"); version != std::string::npos) name.erase(version + 1, 1);
  return name;
}

void abort_job(int exit_code) {
  std::fflush(nullptr);
  int initialised = 0;
  int finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (initialised != 0 && finalised == 0) {
    int ranks = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (ranks == 1) {
      MPI_Finalize();  // nobody to end; without the banner of MPI_Abort
    } else {
      MPI_Abort(MPI_COMM_WORLD, exit_code);
    }
  }
  std::_Exit(exit_code);
}

}  // namespace lockstep::comm
