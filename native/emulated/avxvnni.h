#pragma once
/* AVX-VNNI, written out: included before everything else, it makes a compiler with AVX2 take that path. */
#include "lanes.h"

#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 emulated::dotBytes<__m256i>
