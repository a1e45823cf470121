# The environment module and the Debian package (cpack -G DEB). Included by CMakeLists.txt.
if(SW2_SMPI)
  return()
endif()
if(SW2_IS_MPICH)
  set(MPI_NAME MPICH)
  set(launcher mpich)
else()
  set(MPI_NAME "Open MPI")
  set(launcher openmpi-bin)
endif()
set(module_folder ${CMAKE_INSTALL_DATADIR}/sw2/modulefiles/sw2)
file(RELATIVE_PATH PREFIX_FROM_MODULE ${CMAKE_INSTALL_PREFIX}/${module_folder}
  ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" PREFIX_FROM_MODULE "${PREFIX_FROM_MODULE}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/modulefile.in
  ${CMAKE_BINARY_DIR}/texts/modulefile/${PROJECT_VERSION} @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/texts/modulefile/${PROJECT_VERSION} DESTINATION ${module_folder})
install(PROGRAMS scripts/train.sbatch DESTINATION ${CMAKE_INSTALL_DATADIR}/sw2)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
if(GZIP)
  file(WRITE ${CMAKE_BINARY_DIR}/texts/changelog "sw2 (${PROJECT_VERSION}) unstable; urgency=low

  * Version ${PROJECT_VERSION}.

 -- The authors of sw2 <sw2@localhost>  Sun, 22 Nov 2026 12:00:00 +0000
")
  execute_process(COMMAND ${GZIP} -9nf ${CMAKE_BINARY_DIR}/texts/changelog)
  install(FILES ${CMAKE_BINARY_DIR}/texts/changelog.gz DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()

set(CPACK_GENERATOR DEB) # -DCPACK_PACKAGE_CONTACT="Name <address>" says whose package it is
set(CPACK_PACKAGE_NAME sw2)
set(CPACK_PACKAGE_VENDOR sw2)
set(CPACK_PACKAGE_CONTACT "The authors of sw2 <sw2@localhost>" CACHE STRING "Maintainer")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "distributed trainer for convolutional networks on CPUs")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# OpenBLAS is loaded at run time, where convolutions need it.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "${launcher}, libopenblas0-pthread | libopenblas0")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "environment-modules, slurm-client")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "sw2-train trains convolutional networks by data-parallel stochastic
 gradient descent on any number of MPI ranks, with the same bits at each
 number, and goes on after any crash. Other programs make data sets, test,
 explain, report, export and shrink what was trained.")
include(CPack)
