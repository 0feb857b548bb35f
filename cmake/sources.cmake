# All sources of the library, by layer, and the flags of the files that are compiled for one instruction set.
file(GLOB POCKETUNI_SOURCES CONFIGURE_DEPENDS csrc/base/*.cc csrc/format/*.cc csrc/kernels/*.cc csrc/ops/*.cc
     csrc/graph/*.cc csrc/speech/*.cc csrc/lm/*.cc csrc/api/c_*.cc)

file(GLOB kernel_sources csrc/kernels/*.cc)
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
set(avx2 -mavx2 -mfma -mf16c)
set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni)
if(POCKETUNI_SANITIZE MATCHES "address")
  # An address that is bad does not go unnoticed; checking its arithmetic, too, makes clang take twice as long.
  set(unchecked -fno-sanitize=null,pointer-overflow,object-size)
endif()
foreach(source IN LISTS kernel_sources)
  get_filename_component(name ${source} NAME_WE)
  # No exception passes through arithmetic, so nothing has to know how its frames unwind.
  set(flags -O2)
  if(name MATCHES "amx|avx|neon")
    list(APPEND flags -fno-exceptions -fno-unwind-tables -fno-asynchronous-unwind-tables)
  endif()
  if(processor MATCHES "x86_64|amd64")
    if(name MATCHES "amx")
      list(APPEND flags ${avx512} -mamx-tile -mamx-int8)
    elseif(name MATCHES "avx512")
      list(APPEND flags ${avx512})
    elseif(name MATCHES "avxvnni")
      list(APPEND flags ${avx2} -mavxvnni)
    elseif(name MATCHES "avx2")
      list(APPEND flags ${avx2})
    endif()
  elseif(processor MATCHES "aarch64|arm64")
    if(name MATCHES "neondot")
      list(APPEND flags -march=armv8.2-a+dotprod+fp16)
    endif()
  endif()
  list(APPEND flags ${unchecked})
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags}")
endforeach()

# What does no arithmetic on arrays is compiled for size: it is two thirds of it then, and no slower to the ear or eye.
file(GLOB small_sources csrc/format/*.cc csrc/graph/*.cc csrc/speech/*.cc csrc/lm/*.cc csrc/api/*.cc)
foreach(op attention attributes binary conv conv_window depthwise embedding experts gemm_weight linear matmul norm reduce
        registry transposed unary)
  list(APPEND small_sources ${CMAKE_CURRENT_SOURCE_DIR}/csrc/ops/${op}.cc)  # those that only call kernels
endforeach()
list(FILTER small_sources EXCLUDE REGEX "/(audio_frames|excitation|fft|kv_cache|layer_chain|mel_frames|noise|pitch_meter|resample|row_tower)\\.cc$")
set_source_files_properties(${small_sources} PROPERTIES COMPILE_OPTIONS "$<$<CONFIG:Release>:-Os>")

# A fuzzer that looks at every comparison of a loop over samples gets nowhere.
if(POCKETUNI_FUZZ)
  set(arithmetic ${kernel_sources})
  file(GLOB looping csrc/speech/*.cc csrc/ops/*.cc csrc/base/blake2b.cc)
  list(FILTER looping INCLUDE REGEX "/(audio_frames|excitation|fft|mel_frames|pitch_meter|resample|recording|mel|linear|conv|depthwise|blake2b)\\.cc$")
  set(flags -O2 -fno-sanitize-coverage=trace-cmp ${unchecked})
  set_property(SOURCE ${arithmetic} ${looping} APPEND PROPERTY COMPILE_OPTIONS "${flags}")
endif()
