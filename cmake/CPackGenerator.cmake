# Read by cpack for each kind of package: a tarball unpacks into one folder, a Debian package into the root.
if(CPACK_GENERATOR STREQUAL "TGZ")
  set(CPACK_COMPONENT_INCLUDE_TOPLEVEL_DIRECTORY ON)
endif()
