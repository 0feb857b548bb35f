// csrc/kernels/gemm_avxvnni.cc once more, in the encoding of AVX-512 VNNI; see avxvnni_in_evex.h.
#define POCKETUNI_VNNI_ENCODING "%{evex%}"
#define fill_gemm_avxvnni fill_gemm_evexvnni
#include "../../csrc/kernels/gemm_avxvnni.cc"
