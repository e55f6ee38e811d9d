# cuDNN 9 and its header-only frontend. Defines cuDNN::cuDNN with both include folders; looks beside the CUDA Toolkit, in
# the system's folders, in cuDNN_ROOT, and for the frontend also in CUDNN_FRONTEND_ROOT and an installed
# nvidia-cudnn-frontend wheel.
find_path(cuDNN_INCLUDE_DIR cudnn.h HINTS ${cuDNN_ROOT} ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
find_library(cuDNN_LIBRARY cudnn HINTS ${cuDNN_ROOT} ${CUDAToolkit_LIBRARY_DIR} ${CUDAToolkit_LIBRARY_ROOT} PATH_SUFFIXES lib lib64)
file(GLOB cudnn_frontend_wheels /usr/lib/python3*/site-packages/include /usr/local/lib/python3*/*-packages/include
     "$ENV{VIRTUAL_ENV}/lib/python3*/site-packages/include")
find_path(cuDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h
  HINTS ${CUDNN_FRONTEND_ROOT} ENV CUDNN_FRONTEND_ROOT ${cuDNN_INCLUDE_DIR} ${cudnn_frontend_wheels} "${PROJECT_SOURCE_DIR}/build/cudnn-frontend"
  PATH_SUFFIXES include)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  cuDNN
  REQUIRED_VARS cuDNN_LIBRARY cuDNN_INCLUDE_DIR cuDNN_FRONTEND_INCLUDE_DIR
  REASON_FAILURE_MESSAGE
    "install cuDNN 9 (cudnn9-cuda-13) and its frontend headers (libcudnn-frontend-dev, or 'pip install nvidia-cudnn-frontend' and -DCUDNN_FRONTEND_ROOT=FOLDER)")
if(cuDNN_FOUND AND NOT TARGET cuDNN::cuDNN)
  add_library(cuDNN::cuDNN UNKNOWN IMPORTED)
  set_target_properties(cuDNN::cuDNN PROPERTIES IMPORTED_LOCATION "${cuDNN_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                "${cuDNN_INCLUDE_DIR};${cuDNN_FRONTEND_INCLUDE_DIR}")
endif()
