# Tests of what is built rather than of its parts: the C examples run (under emulation where the build is for another
# CPU), and the stripped library with the kernels of every instruction set keeps to its size.
set(golden ${CMAKE_CURRENT_SOURCE_DIR}/tests/golden)
set(speaking ${CMAKE_CURRENT_SOURCE_DIR}/tests/speech/speaking.puni)
add_test(NAME example_run_tower
         COMMAND run_tower ${golden}/text.puni text input_ids=2,4,5,6,3 attention_mask=1,1,1,1,1)
set_tests_properties(example_run_tower PROPERTIES PASS_REGULAR_EXPRESSION "^embedding -?[0-9.e-]+ ")
add_test(NAME example_say COMMAND say ${speaking} "Hello world.")
set_tests_properties(example_say PROPERTIES PASS_REGULAR_EXPRESSION "hello\n.* world\n")
add_test(NAME example_say_without_model COMMAND say missing.puni "Hello.")
set_tests_properties(example_say_without_model PROPERTIES WILL_FAIL ON)

if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT POCKETUNI_SANITIZE AND CMAKE_STRIP)
  if(processor MATCHES "aarch64|arm64")
    set(limit 1050000)
  else()
    set(limit 1360000)
  endif()
  add_test(NAME size_of_library COMMAND ${CMAKE_COMMAND} -DLIBRARY=$<TARGET_FILE:pocketuni> -DSTRIP=${CMAKE_STRIP}
           -DLIMIT=${limit} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/check_size.cmake)
endif()
