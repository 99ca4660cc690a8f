# Imported target arrow::parquet (libarrow, libparquet) from an unpacked `pyarrow` wheel, if it is there. Needs no Python.
# R1_ARROW_ROOT: the wheel's pyarrow/ folder; default: the project's own dependency folder (scripts/deps.sh). Its headers
# carry nothing that torch's or Debian's carry too, and only text/parquet_arrow.cpp sees them.
set(R1_ARROW_ROOT "${R1_DEPS_DIR}/arrow/pyarrow" CACHE PATH "The pyarrow/ folder of an unpacked pyarrow wheel")
option(R1_PARQUET "Read and write Parquet, where Arrow is found" ON)

file(GLOB R1_LIBARROW "${R1_ARROW_ROOT}/libarrow.so.*")
file(GLOB R1_LIBPARQUET "${R1_ARROW_ROOT}/libparquet.so.*")
if(NOT R1_PARQUET OR NOT R1_LIBARROW OR NOT R1_LIBPARQUET)
  message(STATUS "Parquet is left out (R1_PARQUET=${R1_PARQUET}; it needs the pyarrow wheel in ${R1_ARROW_ROOT}: scripts/deps.sh)")
  return()
endif()
list(GET R1_LIBARROW 0 R1_LIBARROW)
list(GET R1_LIBPARQUET 0 R1_LIBPARQUET)
add_library(arrow_core SHARED IMPORTED GLOBAL)
set_target_properties(arrow_core PROPERTIES IMPORTED_LOCATION "${R1_LIBARROW}")
add_library(arrow_parquet SHARED IMPORTED GLOBAL)
set_target_properties(arrow_parquet PROPERTIES IMPORTED_LOCATION "${R1_LIBPARQUET}")
target_include_directories(arrow_parquet SYSTEM INTERFACE "${R1_ARROW_ROOT}/include")
target_link_libraries(arrow_parquet INTERFACE arrow_core)
add_library(arrow::parquet ALIAS arrow_parquet)
list(APPEND CMAKE_BUILD_RPATH "${R1_ARROW_ROOT}")
