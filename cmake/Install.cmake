# What `cmake --install` puts where, in three components: `program` (r1, r1-verify, recipes, man pages, shell completions),
# `development` (libraries, headers, find_package(r1)) and `python` (python/CMakeLists.txt, for the wheel). Packages of the first two: cpack.
include(CMakePackageConfigHelpers)
set(r1_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/r1)

# Headers keep their paths: #include "core/types.h" with include/r1 on the path.
foreach(folder IN LISTS folders)
  if(folder MATCHES "^(core|text|rewards|proto|kernels|comm|rollout|model|rl|sft|preference|kd|distill|recipes)$")
    install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/r1 COMPONENT development FILES_MATCHING
      PATTERN "*.h"
      PATTERN "*test*" EXCLUDE)
  endif()
endforeach()

foreach(set rewards all)
  if(set STREQUAL "rewards" OR NOT R1_REWARDS_ONLY)
    install(EXPORT r1-${set} NAMESPACE r1:: FILE r1-${set}.cmake DESTINATION ${r1_cmake_dir} COMPONENT development)
  endif()
endforeach()
set(installed_arrow_root "")  # Parquet's library stays where it was unpacked
if(TARGET arrow::parquet)
  set(installed_arrow_root ${R1_ARROW_ROOT})
endif()
configure_package_config_file(cmake/r1Config.cmake.in ${CMAKE_BINARY_DIR}/r1Config.cmake INSTALL_DESTINATION ${r1_cmake_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/r1ConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/r1Config.cmake ${CMAKE_BINARY_DIR}/r1ConfigVersion.cmake DESTINATION ${r1_cmake_dir} COMPONENT development)
if(TARGET arrow::parquet)
  install(FILES cmake/Arrow.cmake DESTINATION ${r1_cmake_dir} COMPONENT development)
endif()
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development PATTERN "*_test.cpp" EXCLUDE PATTERN "examples/CMakeLists.txt" EXCLUDE)

if(TARGET r1)
  # Arrow comes from a Python wheel, so no package of the system has it: it travels along.
  if(TARGET arrow::parquet)
    install(FILES ${R1_LIBARROW} ${R1_LIBPARQUET} DESTINATION ${CMAKE_INSTALL_LIBDIR}/r1 COMPONENT program)
    set_target_properties(r1 PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/r1")
  endif()
  install(DIRECTORY recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/r1 COMPONENT program FILES_MATCHING PATTERN "*.yaml" PATTERN "*.jsonl")
  # The program writes them itself, so they cannot lag behind it.
  install(CODE "
    execute_process(COMMAND \"$<TARGET_FILE:r1>\" docs man \"${CMAKE_BINARY_DIR}/share/man/man1\" COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND \"$<TARGET_FILE:r1>\" docs completions \"${CMAKE_BINARY_DIR}/share/completions\" COMMAND_ERROR_IS_FATAL ANY)"
    COMPONENT program)
  set(completions ${CMAKE_BINARY_DIR}/share/completions)
  install(DIRECTORY ${CMAKE_BINARY_DIR}/share/man/man1 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT program FILES_MATCHING PATTERN "*.1")
  install(FILES ${completions}/r1.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME r1 COMPONENT program)
  install(FILES ${completions}/_r1 DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT program)
  install(FILES ${completions}/r1.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT program)
endif()

# cpack -G TGZ -D CPACK_COMPONENTS_ALL=program: a tarball; cpack -G DEB: r1 and libr1-dev, which depend on Debian's libraries.
set(CPACK_PACKAGE_NAME r1)
set(CPACK_PACKAGE_VENDOR "r1.cpp")
set(CPACK_PACKAGE_CONTACT "r1.cpp <r1@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Reinforcement-learning post-training of language models")
set(CPACK_PACKAGE_INSTALL_DIRECTORY r1)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL program development)
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME r1)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
if(TARGET arrow::parquet)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${R1_ARROW_ROOT})
endif()
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS python3)
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION_SUMMARY}
 The program r1: GRPO and other settings, SFT, LoRA, reward models, DPO, distillation, evaluation and data generation; its recipes, man
 pages and shell completions. r1-verify holds the checkers alone.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libr1-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "nlohmann-json3-dev, libyaml-cpp-dev, libicu-dev, libre2-dev, libseccomp-dev, libflint-dev, libflint-arb-dev, libgmp-dev, libxxhash-dev, pkg-config")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Libraries and headers of r1.cpp
 Static libraries for find_package(r1): the rewards alone, or everything that training needs.")
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_SOURCE_DIR}/cmake/CPackGenerator.cmake)
include(CPack)

# The wheel of the program (python/program): r1 and every library it needs but the C and C++ ones, below the package's folder.
option(R1_WHEEL "Install rules of the program's Python wheel" OFF)
if(R1_WHEEL AND TARGET r1)
  # RPATH and not RUNPATH: the libraries find each other by the program's.
  set_target_properties(r1 PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
  target_link_options(r1 PRIVATE LINKER:--disable-new-dtags)
  install(TARGETS r1 RUNTIME_DEPENDENCY_SET r1_needs RUNTIME DESTINATION r1_cpp/bin COMPONENT wheel)
  install(RUNTIME_DEPENDENCY_SET r1_needs
    PRE_EXCLUDE_REGEXES "^lib(c|m|dl|rt|pthread|stdc\\+\\+|gcc_s)\\.so" "^ld-linux" "^linux-vdso"
    LIBRARY DESTINATION r1_cpp/lib COMPONENT wheel)
  install(DIRECTORY recipes DESTINATION r1_cpp COMPONENT wheel FILES_MATCHING PATTERN "*.yaml" PATTERN "*.jsonl")
endif()
