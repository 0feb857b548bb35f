# One executable per C++ test file: tests/LAYER/test_NAME.cc; each prints "N passed, N failed".
file(GLOB test_sources CONFIGURE_DEPENDS tests/*/test_*.cc)
foreach(source IN LISTS test_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE tests)
  target_link_libraries(${name} PRIVATE pocketuni_core)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
endforeach()

if(NOT POCKETUNI_PYTHON AND EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/examples/run_tower.c)
  add_executable(run_tower examples/run_tower.c)
  target_link_libraries(run_tower PRIVATE pocketuni)
endif()
