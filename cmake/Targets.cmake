# GCC 12 warns of overlapping copies inside its own std::string (bug 105329).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()

# nvcc hands warnings on to the host's compiler.
set(R1_WARNINGS $<$<COMPILE_LANGUAGE:C,CXX>:-Wall> $<$<COMPILE_LANGUAGE:C,CXX>:-Wextra> $<$<COMPILE_LANGUAGE:C,CXX>:-Wno-unused-parameter>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wno-unused-parameter>)

# Builds what the component `development` installs.
add_custom_target(r1_libraries)

# r1_library(NAME SOURCES ... [HEADERS ...] [DEPS r1 names, e.g. core text] [LIBS anything linkable, public] [PRIVATE_LIBS ...])
# makes r1_NAME (static, alias r1::NAME), which is installed for other projects unless it needs torch. Includes are written from the
# repository root: #include "core/types.h".
function(r1_library name)
  cmake_parse_arguments(A "TORCH" "" "SOURCES;HEADERS;DEPS;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(r1_${name} STATIC ${A_SOURCES})
  add_library(r1::${name} ALIAS r1_${name})
  target_include_directories(r1_${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:include/r1>)
  target_compile_options(r1_${name} PRIVATE ${R1_WARNINGS})
  foreach(dep IN LISTS A_DEPS)
    target_link_libraries(r1_${name} PUBLIC r1_${dep})
  endforeach()
  target_link_libraries(r1_${name} PUBLIC ${A_LIBS} PRIVATE ${A_PRIVATE_LIBS})
  if(A_TORCH)
    target_link_libraries(r1_${name} PUBLIC torch::cpu)
    set_target_properties(r1_${name} PROPERTIES JOB_POOL_COMPILE torch_jobs)
  else()
    # The rewards come with fewer dependencies than the rest, so they are a set of their own.
    set(export_set r1-all)
    if(name MATCHES "^(core|rewards)$")
      set(export_set r1-rewards)
    endif()
    set_target_properties(r1_${name} PROPERTIES EXPORT_NAME ${name})
    install(TARGETS r1_${name} EXPORT ${export_set} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/r1 COMPONENT development)
    add_dependencies(r1_libraries r1_${name})
  endif()
endfunction()

# r1_test(NAME SOURCES ... DEPS ... [LABELS unit] [TIMEOUT s]): one doctest binary and one ctest entry. Exit code 77 = skipped.
function(r1_test name)
  if(NOT R1_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "TORCH" "TIMEOUT" "SOURCES;DEPS;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES} ${CMAKE_SOURCE_DIR}/tests/support/doctest_main.cpp)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${R1_WARNINGS})
  target_compile_definitions(${name} PRIVATE R1_SOURCE_DIR="${CMAKE_SOURCE_DIR}" R1_BINARY_DIR="${CMAKE_BINARY_DIR}")
  foreach(dep IN LISTS A_DEPS)
    target_link_libraries(${name} PRIVATE r1_${dep})
  endforeach()
  target_link_libraries(${name} PRIVATE ${A_LIBS})
  if(A_TORCH)
    target_link_libraries(${name} PRIVATE torch::cpu)
    set_target_properties(${name} PROPERTIES JOB_POOL_COMPILE torch_jobs)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)  # a limit for hangs; machines may be busy
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()
