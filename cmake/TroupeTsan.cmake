# tsan_test: every unit test with threads whose code needs nothing of CAF, under the thread sanitizer. Debian's CAF is not instrumented, so what its threads do
# among themselves would look like races; nor are Arrow and RocksDB. Which tests these are follows from the includes: a header brings the .cc beside it, and
# whose code includes <thread> nowhere has one thread.

include(TroupeTests)

# Headers of CAF that hold types of messages, and no code that runs.
set(TROUPE_CAF_TYPES_ONLY caf/allowed_unsafe_message_type.hpp caf/typed_actor.hpp)

# Sets `result` to what a file of ours includes between quotation marks, as paths from the top.
function(TroupeIncludes file result)
  get_property(known GLOBAL PROPERTY troupe_includes_of_${file} SET)
  if(NOT known)
    file(STRINGS ${PROJECT_SOURCE_DIR}/${file} lines REGEX "^#include [<\"]")
    set(found)
    foreach(line ${lines})
      string(REGEX REPLACE "^#include [<\"]([^>\"]*)[>\"].*" "\\1" path "${line}")
      list(APPEND found ${path})
    endforeach()
    set_property(GLOBAL PROPERTY troupe_includes_of_${file} ${found})
  endif()
  get_property(found GLOBAL PROPERTY troupe_includes_of_${file})
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# Sets `sources` and `schemas` to everything that a file needs of ours, or both to nothing where that includes `forbidden` (a regular expression), and `threads` to
# whether any of it includes <thread>.
function(TroupeCodeBehind file forbidden sources schemas threads)
  set(queue ${file})
  set(seen)
  set(found_sources)
  set(found_schemas)
  set(found_threads FALSE)
  while(queue)
    list(POP_FRONT queue next)
    if(next IN_LIST seen)
      continue()
    endif()
    list(APPEND seen ${next})
    if(next MATCHES "\\.cc$")
      list(APPEND found_sources ${next})
    endif()
    TroupeIncludes(${next} includes)
    foreach(include ${includes})
      if(include MATCHES "^(capnp|kj)/")
        continue()
      elseif(include STREQUAL "thread")
        set(found_threads TRUE)
      elseif(include MATCHES "\\.capnp\\.h$")
        string(REGEX REPLACE "\\.h$" "" schema ${include})
        list(APPEND found_schemas ${schema})
      elseif(include MATCHES "${forbidden}" AND NOT include IN_LIST TROUPE_CAF_TYPES_ONLY)
        set(${sources} "" PARENT_SCOPE)
        set(${schemas} "" PARENT_SCOPE)
        return()
      elseif(EXISTS ${PROJECT_SOURCE_DIR}/${include} AND NOT include IN_LIST seen)
        list(APPEND queue ${include})
        string(REGEX REPLACE "\\.h$" ".cc" beside ${include})
        if(EXISTS ${PROJECT_SOURCE_DIR}/${beside})
          list(APPEND queue ${beside})
        endif()
      endif()
    endforeach()
  endwhile()
  list(REMOVE_DUPLICATES found_schemas)
  set(${sources} ${found_sources} PARENT_SCOPE)
  set(${schemas} ${found_schemas} PARENT_SCOPE)
  set(${threads} ${found_threads} PARENT_SCOPE)
endfunction()

function(TroupeTsanTest)
  set(all)
  set(all_schemas)
  set(programs)
  # What registers itself, and what stands in a header of another name, is found by its folder; a file that needs CAF is left out.
  file(GLOB_RECURSE registered RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/actors/storage/*.cc ${PROJECT_SOURCE_DIR}/actors/cluster/*.cc
    ${PROJECT_SOURCE_DIR}/ps/rules/*.cc ${PROJECT_SOURCE_DIR}/ps/functions/*.cc ${PROJECT_SOURCE_DIR}/ps/internal/*.cc ${PROJECT_SOURCE_DIR}/ps/shard*.cc
    ${PROJECT_SOURCE_DIR}/dataflow/*.cc)
  list(FILTER registered EXCLUDE REGEX "^dataflow/arrow/")
  file(GLOB_RECURSE tests RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/actors/*_test.cc ${PROJECT_SOURCE_DIR}/tests/ps/*_test.cc
    ${PROJECT_SOURCE_DIR}/tests/dataflow/*_test.cc)
  list(FILTER tests EXCLUDE REGEX "/(bench|generator|prediction_writer|row_tier|limited_table|limited_shard)_test\\.cc$")   # these load a plugin: Arrow's or RocksDB's
  foreach(file ${registered} ${tests})
    TroupeCodeBehind(${file} "^(caf/|arrow/|parquet/|rocksdb/)" sources schemas threads)
    if(file MATCHES "_test\\.cc$" AND NOT threads)
      continue()
    endif()
    list(APPEND all ${sources})
    list(APPEND all_schemas ${schemas})
    if(sources AND file MATCHES "_test\\.cc$")
      list(APPEND programs ${file})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES all)
  list(REMOVE_DUPLICATES all_schemas)
  list(LENGTH programs count)
  list(LENGTH tests of)
  message(STATUS "tsan_test: ${count} of ${of} files of unit tests have threads and need nothing of CAF")
  list(TRANSFORM all PREPEND ${PROJECT_SOURCE_DIR}/)
  add_executable(tsan_test EXCLUDE_FROM_ALL ${all})
  target_include_directories(tsan_test PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
  foreach(schema ${all_schemas})
    TroupeSchema(tsan_test ${PROJECT_SOURCE_DIR}/${schema})
  endforeach()
  get_target_property(caf CAF::core INTERFACE_INCLUDE_DIRECTORIES)
  target_include_directories(tsan_test SYSTEM PRIVATE ${caf})   # its headers alone
  target_link_libraries(tsan_test PRIVATE troupe_boost_main CapnProto::capnp-rpc CapnProto::capnp-json CapnProto::kj-async CapnProto::kj-http absl::status
    absl::statusor absl::strings absl::str_format absl::time absl::flat_hash_map troupe::eigen troupe::xxhash troupe::sqlite troupe::zstd spdlog::spdlog OpenSSL::SSL
    ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
  add_test(NAME tsan COMMAND tsan_test --catch_system_errors=no)   # a handler that jumps out of a signal is a report of its own
  set_tests_properties(tsan PROPERTIES LABELS fast TIMEOUT 1800 ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.suppressions:halt_on_error=0:exitcode=66")
endfunction()
