# Everything the project uses from the system. Nothing is downloaded; what is optional and missing
# switches a feature off and says so.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenMP COMPONENTS CXX)  # optional: sets how many threads a library call may use

set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI 3.1 REQUIRED COMPONENTS C CXX)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(ZLIB REQUIRED)
find_package(LibLZMA REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(cxxopts REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)

add_library(lockstep_hdf5 INTERFACE)
target_include_directories(lockstep_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(lockstep_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
target_compile_definitions(lockstep_hdf5 INTERFACE ${HDF5_C_DEFINITIONS})

add_library(lockstep_yaml INTERFACE)
target_include_directories(lockstep_yaml SYSTEM INTERFACE ${YAML_CPP_INCLUDE_DIR})
target_link_libraries(lockstep_yaml INTERFACE $<IF:$<TARGET_EXISTS:yaml-cpp::yaml-cpp>,yaml-cpp::yaml-cpp,yaml-cpp>)

find_package(JPEG QUIET)
find_package(PNG QUIET)
if(NOT JPEG_FOUND)
  message(STATUS "libjpeg not found: 'lockstep data import images' will refuse JPEG files (install libjpeg-dev)")
endif()
if(NOT PNG_FOUND)
  message(STATUS "libpng not found: 'lockstep data import images' will refuse PNG files (install libpng-dev)")
endif()

if(LOCKSTEP_ONEDNN)
  find_package(dnnl QUIET)
  if(NOT dnnl_FOUND)
    message(STATUS "oneDNN not found: 'device: cpu' will be refused (install libdnnl-dev and ocl-icd-opencl-dev)")
  endif()
endif()
