# One executable per C++ test file: tests/LAYER/test_NAME.cc; each prints "N passed, N failed".
file(GLOB test_sources CONFIGURE_DEPENDS tests/*/test_*.cc)
foreach(source IN LISTS test_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE tests)
  target_link_libraries(${name} PRIVATE pocketuni_core)
  target_link_options(${name} PRIVATE ${as_compiled})
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
endforeach()

# The AVX-VNNI kernels run on CPUs with AVX-512 VNNI too, in its encoding.
add_library(avxvnni_in_evex OBJECT tests/kernels/avxvnni_in_evex.cc)
target_link_libraries(avxvnni_in_evex PRIVATE pocketuni_core)
if(processor MATCHES "x86_64|amd64")
  set(flags -O2 ${avx2} ${unchecked})
  set_source_files_properties(tests/kernels/avxvnni_in_evex.cc PROPERTIES COMPILE_OPTIONS "${flags}")
endif()
foreach(name test_gemm test_conv test_depthwise)
  target_link_libraries(${name} PRIVATE avxvnni_in_evex)
endforeach()

# Clang links no C program against a library that has its sanitizers.
if(NOT POCKETUNI_PYTHON AND NOT POCKETUNI_FUZZ)
  foreach(example run_tower say clone)
    add_executable(${example} examples/${example}.c)
    target_link_libraries(${example} PRIVATE pocketuni)
  endforeach()
endif()

add_executable(limits bench/limits.cc)
target_link_libraries(limits PRIVATE pocketuni_core)
target_link_options(limits PRIVATE ${as_compiled})
