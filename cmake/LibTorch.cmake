# Imported target torch::cpu (libtorch_cpu, libc10) from an unpacked `torch` wheel, if it is there. Needs no nvcc and no Python. Only
# tests link it: the program and the libraries do not.
# R1_TORCH_ROOT: the wheel's torch/ folder; default: the project's own dependency folder (scripts/deps.sh).
set(R1_DEPS_DIR "${CMAKE_SOURCE_DIR}/.deps" CACHE PATH "Folder that scripts/deps.sh fills")
set(R1_TORCH_ROOT "${R1_DEPS_DIR}/python/torch" CACHE PATH "The torch/ folder of an unpacked torch wheel")

if(NOT R1_TESTS AND NOT EXISTS "${R1_TORCH_ROOT}/lib/libtorch_cpu.so")
  return()
endif()
if(NOT EXISTS "${R1_TORCH_ROOT}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch not found at ${R1_TORCH_ROOT}. Run scripts/deps.sh, or pass -DR1_TORCH_ROOT=<torch folder of an unpacked torch 2.11.0 wheel>.")
endif()
get_filename_component(R1_SITE_PACKAGES "${R1_TORCH_ROOT}" DIRECTORY)

add_library(torch_c10 SHARED IMPORTED GLOBAL)
set_target_properties(torch_c10 PROPERTIES IMPORTED_LOCATION "${R1_TORCH_ROOT}/lib/libc10.so")
add_library(torch_cpu SHARED IMPORTED GLOBAL)
set_target_properties(torch_cpu PROPERTIES IMPORTED_LOCATION "${R1_TORCH_ROOT}/lib/libtorch_cpu.so")
add_library(torch_all INTERFACE)
target_include_directories(torch_all SYSTEM INTERFACE
  "${R1_TORCH_ROOT}/include" "${R1_TORCH_ROOT}/include/torch/csrc/api/include")
target_compile_definitions(torch_all INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
# libtorch_cpu of the CUDA wheel needs libcudart and libcupti to load.
file(GLOB R1_CUDA_LIBS "${R1_SITE_PACKAGES}/nvidia/cu13/lib" "${R1_SITE_PACKAGES}/nvidia/*/lib")
set(R1_TORCH_RPATH "${R1_TORCH_ROOT}/lib" ${R1_CUDA_LIBS})
list(REMOVE_DUPLICATES R1_TORCH_RPATH)
set(R1_RPATH_FLAGS "")
foreach(dir IN LISTS R1_TORCH_RPATH)
  list(APPEND R1_RPATH_FLAGS "LINKER:-rpath-link,${dir}")
endforeach()
target_link_options(torch_all INTERFACE ${R1_RPATH_FLAGS} "LINKER:--allow-shlib-undefined")
target_link_libraries(torch_all INTERFACE torch_cpu torch_c10)
add_library(torch::cpu ALIAS torch_all)
list(APPEND CMAKE_BUILD_RPATH ${R1_TORCH_RPATH})
