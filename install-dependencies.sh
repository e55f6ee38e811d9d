#!/usr/bin/env bash
# Installs what Lockstep is built from, with the system's package manager (Debian 12 and 13, Ubuntu 24.04). Asks nothing; does nothing
# when all is there.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config
  openmpi-bin libopenmpi-dev
  libhdf5-dev libdnnl-dev ocl-icd-opencl-dev
  libcxxopts-dev libspdlog-dev libyaml-cpp-dev nlohmann-json3-dev
  libpcre2-dev zlib1g-dev liblzma-dev libjpeg-dev libpng-dev
  libgtest-dev iproute2
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "install-dependencies: this is not Debian or Ubuntu; install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
run=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install-dependencies: become root, or install: ${missing[*]}" >&2; exit 1; }
  run=(sudo)
fi
echo "installing: ${missing[*]}"
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
