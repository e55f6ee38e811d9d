#!/usr/bin/env bash
# Fails when an #include goes up or sideways: core < comm, data, models < trainer < trainer/programs. Usage: layering.sh ROOT
set -u
cd "$1" || exit 2
broken=0

# forbid FOLDER REGEX: no file of FOLDER may include a header that matches REGEX.
forbid() {
  local found
  found=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+\"($2)/" "$1" --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh')
  if [ -n "$found" ]; then
    printf '%s may not include from (%s):\n%s\n' "$1" "$2" "$found"
    broken=1
  fi
}

forbid core 'comm|data|models|trainer'
forbid comm 'data|models|trainer'
forbid data 'comm|models|trainer'
forbid models 'comm|data|trainer'
up=$(grep -rnE '#[[:space:]]*include[[:space:]]+"trainer/programs/' trainer --include='*.h' --include='*.cpp' | grep -v '^trainer/programs/')
[ -z "$up" ] || { printf 'trainer may not include its programs:\n%s\n' "$up"; broken=1; }

# Device code selects folders, not lines: preprocessor switches for it belong to CMake and the registry of backends.
switches=$(grep -rnE '#[[:space:]]*(if|ifdef|ifndef).*(CUDA|NCCL)' core comm data models trainer --include='*.h' --include='*.cpp' | grep -v 'backends.cpp')
[ -z "$switches" ] || { printf 'preprocessor switches for devices:\n%s\n' "$switches"; broken=1; }
exit $broken
