# cmake -DLIBRARY=FILE -DSTRIP=PROGRAM -DLIMIT=BYTES -P check_size.cmake: fails where the stripped library is larger.
set(stripped ${CMAKE_CURRENT_BINARY_DIR}/stripped.so)
execute_process(COMMAND ${STRIP} -o ${stripped} ${LIBRARY} RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${STRIP} failed on ${LIBRARY}")
endif()
file(SIZE ${stripped} bytes)
file(REMOVE ${stripped})
if(bytes GREATER LIMIT)
  message(FATAL_ERROR "${LIBRARY}: ${bytes} bytes stripped, expected at most ${LIMIT}. What takes room: "
                      "nm -S --size-sort -C ${LIBRARY} | tail, and size of the objects")
endif()
message(STATUS "${LIBRARY}: ${bytes} bytes stripped of at most ${LIMIT}")
