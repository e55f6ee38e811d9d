#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests. Asks nothing. Extra words go to ctest: ./test.sh -R allreduce
set -euo pipefail
cd "$(dirname "$0")"

./install-dependencies.sh
# Open MPI refuses root and more ranks than cores unless told; both are common in containers.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
# Installed above, and it keeps all cores busy. A build folder that another generator made keeps that one.
export CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"

cmake --preset release
cmake --build --preset release --parallel "$(nproc)"
# One more at a time than there are cores: some tests wait, for deadlines or for ranks that stand still.
ctest --preset release --parallel $(($(nproc) + 1)) "$@"
