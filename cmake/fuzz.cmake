# libFuzzer targets: cmake -DPOCKETUNI_FUZZ=ON -DPOCKETUNI_SANITIZE=address,undefined,fuzzer-no-link with clang++.
add_executable(fuzz_model_file tests/format/fuzz_model_file.cc)
target_compile_definitions(fuzz_model_file PRIVATE POCKETUNI_FUZZ_RUN)
target_include_directories(fuzz_model_file PRIVATE tests)
target_link_libraries(fuzz_model_file PRIVATE pocketuni_core)
target_link_options(fuzz_model_file PRIVATE -fsanitize=fuzzer)

add_executable(fuzz_text tests/speech/fuzz_text.cc)
target_link_libraries(fuzz_text PRIVATE pocketuni_core)
target_link_options(fuzz_text PRIVATE -fsanitize=fuzzer)
