#!/usr/bin/env bash
# From a fresh Debian or Ubuntu to a trained model: installs what is missing, builds, makes the embedded data set of weather patterns and trains on
# two MPI ranks. Asks nothing.
set -euo pipefail
cd "$(dirname "$0")"
started=$SECONDS

./install-dependencies.sh
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
# Installed above, and it keeps all cores busy. A build folder that another generator made keeps that one.
export CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"

[ -f build/release/CMakeCache.txt ] || cmake --preset release >build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
rm -f build-configure.log
echo "building (a few minutes the first time)"
cmake --build --preset release --parallel "$(nproc)" --target lockstep

mkdir -p build/data
if [ ! -f build/data/weather.h5 ]; then
  build/release/lockstep data generate weather --output build/data/weather.h5
fi

run=runs/quickstart-$(date +%Y%m%d-%H%M%S)
mpirun -n 2 --bind-to none build/release/lockstep train configs/quickstart.yaml --run-dir "$run"

# The commands below are typed in a shell that lacks this script's settings.
as_root=""
[ "$(id -u)" -ne 0 ] || as_root="
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1        without them Open MPI refuses root"

cat <<END

Two ranks trained one model in $((SECONDS - started)) s, everything included. The run is in $run:
  summary.json    accuracy, speed, bytes sent, hash of the parameters
  metrics.jsonl   one line per logged step
  checkpoints/    resume with --resume, evaluate with 'lockstep eval'

Try next:$as_root
  build/release/lockstep train configs/quickstart.yaml --dry-run          what the model costs
  mpirun -n 2 build/release/lockstep train configs/quickstart.yaml --set allreduce.name=ring
  mpirun -n 2 build/release/lockstep bench allreduce                       the schedules beside each other
  ./test.sh                                                               the tests
END
