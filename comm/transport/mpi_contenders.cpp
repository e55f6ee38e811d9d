// MPI's own all-reduce as programs call it, to be measured beside our schedules.
#include <array>

#include "comm/allreduce/schedule.h"
#include "comm/transport/mpi_job.h"

namespace lockstep::comm {

namespace {

constexpr int kBuckets = 16;

MPI_Datatype type_of(const FlatSpan& data) {
  if (const auto type = mpi_datatype(data.dtype)) return *type;
  throw Error(Fault::config, "MPI cannot sum " + std::string(name_of(data.dtype)), "measure f32 or f64");
}

void blocking(MPI_Comm comm, const FlatSpan& data) {
  check_mpi(
      MPI_Allreduce(MPI_IN_PLACE, data.data, static_cast<int>(data.count), type_of(data), MPI_SUM, comm),
      "MPI_Allreduce");
}

void in_parts(MPI_Comm comm, const FlatSpan& data, int parts) {
  std::array<MPI_Request, kBuckets> requests{};
  for (int part = 0; part < parts; ++part) {
    const Range range = chunk_of({0, data.count}, parts, part);
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, data.at(range.first), static_cast<int>(range.count), type_of(data),
                             MPI_SUM, comm, &requests[static_cast<std::size_t>(part)]),
              "MPI_Iallreduce");
  }
  check_mpi(MPI_Waitall(parts, requests.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
}

}  // namespace

std::optional<MPI_Datatype> mpi_datatype(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return MPI_DOUBLE;
    case Dtype::f32:
      return MPI_FLOAT;
    case Dtype::i64:
      return MPI_INT64_T;
    case Dtype::i32:
      return MPI_INT32_T;
    default:
      return std::nullopt;  // MPI has no 16-bit floats
  }
}

std::vector<Contender> mpi_contenders(MpiJob& job) {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  job.measured.push_back(comm);
  return {{"mpi_blocking", [comm](FlatSpan data) { blocking(comm, data); }},
          {"mpi_nonblocking", [comm](FlatSpan data) { in_parts(comm, data, 1); }},
          {"mpi_16_buckets", [comm](FlatSpan data) { in_parts(comm, data, kBuckets); }}};
}

}  // namespace lockstep::comm
