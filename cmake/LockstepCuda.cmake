# The CUDA language, toolkit, cuDNN with its header-only frontend, and NCCL. Called only when LOCKSTEP_CUDA is on.

if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90)  # A100; H100 and H200
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc speaks C++20 since 12.0
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
find_package(CUDAToolkit 12.0 REQUIRED)

target_compile_options(
  lockstep_compile INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda --expt-relaxed-constexpr
                             -Xcompiler=-Wall,-Wno-unused-parameter -diag-suppress=20012>)

find_package(cuDNN REQUIRED)
find_package(NCCL REQUIRED)

# lockstep_cuda_folder(comm nccl SOURCES ... LINKS ...): a folder for GPUs, part of lockstep_comm. Its sources are compiled apart, so that
# the room's others are compiled as in a build without CUDA and a compiler cache keeps one object of each.
function(lockstep_cuda_folder room folder)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_library(lockstep_${room}_${folder} OBJECT ${arg_SOURCES})
  target_link_libraries(lockstep_${room}_${folder} PRIVATE lockstep_compile spdlog::spdlog CUDA::cudart ${arg_LINKS})
  target_sources(lockstep_${room} PRIVATE $<TARGET_OBJECTS:lockstep_${room}_${folder}>)
  foreach(library CUDA::cudart ${arg_LINKS})
    target_link_libraries(lockstep_${room} INTERFACE $<LINK_ONLY:${library}>)
  endforeach()
endfunction()
