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
