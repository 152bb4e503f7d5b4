# TroupeUnitTests(layer): tests/<layer>/*_test.cc as one Boost.Test program with label `fast`.
file(WRITE ${PROJECT_BINARY_DIR}/boost_test_main.cc "#define BOOST_TEST_MODULE troupe\n#include <boost/test/unit_test.hpp>\n")
add_library(troupe_boost_main OBJECT ${PROJECT_BINARY_DIR}/boost_test_main.cc)
target_link_libraries(troupe_boost_main PUBLIC Boost::unit_test_framework)
target_compile_definitions(troupe_boost_main PUBLIC BOOST_TEST_DYN_LINK)

function(TroupeUnitTests layer)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${layer}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${layer}_test ${sources})
  target_link_libraries(${layer}_test PRIVATE troupe_boost_main troupe_${layer})
  add_test(NAME ${layer} COMMAND ${layer}_test)
  set_tests_properties(${layer} PROPERTIES LABELS fast TIMEOUT $<IF:$<BOOL:${TROUPE_SANITIZE}>,1800,600>)
endfunction()

# A test again, as long_<name>, with ten times the seeds and runs: label `long`, of `tools/check --long` (ctest -C long -L long) alone.
function(TroupeLongTest name)
  add_test(NAME long_${name} CONFIGURATIONS long COMMAND ${ARGN})
  set_tests_properties(long_${name} PROPERTIES LABELS long TIMEOUT 7200 SKIP_RETURN_CODE 77 ENVIRONMENT "TROUPE_TEST_TIMES=10")
endfunction()

# Sets `result` to every program and library that is made below a folder.
function(TroupeTargetsBelow folder result)
  get_property(targets DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} PROPERTY BUILDSYSTEM_TARGETS)
  get_property(folders DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} PROPERTY SUBDIRECTORIES)
  foreach(below ${folders})
    file(RELATIVE_PATH below ${PROJECT_SOURCE_DIR} ${below})
    TroupeTargetsBelow(${below} more)
    list(APPEND targets ${more})
  endforeach()
  set(${result} ${targets} PARENT_SCOPE)
endfunction()
