# libFuzzer targets: cmake -DPOCKETUNI_FUZZ=ON -DPOCKETUNI_SANITIZE=address,undefined,fuzzer-no-link with clang++. One
# executable per file tests/LAYER/fuzz_NAME.cc; `fuzz` builds them all. How they are run: tests/fuzz.sh.
file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/*/fuzz_*.cc)
add_custom_target(fuzz)
foreach(source IN LISTS fuzz_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_compile_definitions(${name} PRIVATE POCKETUNI_FUZZ_RUN)
  target_include_directories(${name} PRIVATE tests)
  target_link_libraries(${name} PRIVATE pocketuni_core)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzz ${name})
endforeach()
