// Products of a matrix of weights, in any of four forms, with one or several vectors of floats.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#include <omp.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {
enum Kind { F32 = 0, BF16 = 1, INT8 = 2, INT4 = 3 };
constexpr long ROWS = 16;  // vectors at most
constexpr long AHEAD = 4096;  // bytes that weights are asked for before they are needed
constexpr int BLOCK = 8;  // vectors whose sums stay in registers
constexpr long GROUP = 32;  // numbers that share a scale and a minimum, of four bits

struct Weight { const void* w; const float* scale; const float* least; long kind; };

inline float up(uint16_t x) {
  uint32_t u = uint32_t(x) << 16; float f;
  std::memcpy(&f, &u, 4);
  return f;
}
inline uint16_t down(float f) {
  uint32_t u; std::memcpy(&u, &f, 4);
  return uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
template <typename T> inline float get(const T* p, long i);
template <> inline float get(const float* p, long i) { return p[i]; }
template <> inline float get(const uint16_t* p, long i) { return up(p[i]); }
template <> inline float get(const int8_t* p, long i) { return float(p[i]); }

#if defined(__AVX512F__) && defined(__AVX512BW__)
inline __m512 take(const float* p) { return _mm512_loadu_ps(p); }
inline __m512 take(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline __m512 take(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
}
inline __m512 low(__m128i b) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(b, _mm_set1_epi8(15))));
}
inline __m512 high(__m128i b) { return low(_mm_srli_epi16(b, 4)); }
// weights come from memory one after the other, but in rows too short for the machine to foresee
inline void ahead(const void* p) { _mm_prefetch((const char*)p + AHEAD, _MM_HINT_T0); }
inline float sum(__m512 x) { return _mm512_reduce_add_ps(x); }
#define WIDE 1
#endif

template <typename T>
inline float one(const T* w, long k, const float* x) {
  long i = 0;
  float p = 0;
#ifdef WIDE
  __m512 a = _mm512_setzero_ps();
  for (; i + 16 <= k; i += 16) a = _mm512_fmadd_ps(take(w + i), take(x + i), a);
  p = sum(a);
#endif
  for (; i < k; ++i) p += get(w, i) * x[i];
  return p;
}
template <typename T>
inline void four(const T* w, long k, const float* x, float* out) {
  const T *a = w, *b = w + k, *c = w + 2 * k, *d = w + 3 * k;
  float p = 0, q = 0, r = 0, s = 0;
  long i = 0;
#ifdef WIDE
  __m512 e = _mm512_setzero_ps(), f = e, g = e, h = e;
  for (; i + 16 <= k; i += 16) {
    const __m512 y = take(x + i);
    ahead(a + i); ahead(b + i); ahead(c + i); ahead(d + i);
    e = _mm512_fmadd_ps(take(a + i), y, e);
    f = _mm512_fmadd_ps(take(b + i), y, f);
    g = _mm512_fmadd_ps(take(c + i), y, g);
    h = _mm512_fmadd_ps(take(d + i), y, h);
  }
  p = sum(e); q = sum(f); r = sum(g); s = sum(h);
#endif
  for (; i < k; ++i) {
    p += get(a, i) * x[i]; q += get(b, i) * x[i]; r += get(c, i) * x[i]; s += get(d, i) * x[i];
  }
  out[0] = p; out[1] = q; out[2] = r; out[3] = s;
}
// byte i of a group holds number i in its low half and number i + 16 in its high one
inline float one4(const uint8_t* w, const float* scale, const float* least, long k,
                  const float* x, const float* sums) {
  float total = 0;
#ifdef WIDE
  __m512 all = _mm512_setzero_ps();
#endif
  for (long g = 0; g < k / GROUP; ++g) {
    const uint8_t* b = w + g * (GROUP / 2);
    const float* y = x + g * GROUP;
    total += least[g] * sums[g];
#ifdef WIDE
    const __m128i both = _mm_loadu_si128((const __m128i*)b);
    const __m512 first = _mm512_mul_ps(low(both), take(y));
    const __m512 part = _mm512_fmadd_ps(high(both), take(y + 16), first);
    all = _mm512_fmadd_ps(part, _mm512_set1_ps(scale[g]), all);
#else
    float p = 0;
    for (long i = 0; i < GROUP / 2; ++i)
      p += float(b[i] & 15) * y[i] + float(b[i] >> 4) * y[i + GROUP / 2];
    total += scale[g] * p;
#endif
  }
#ifdef WIDE
  total += sum(all);
#endif
  return total;
}
// a row of four bits as floats
inline void unpack(const Weight& m, long k, long row, float* out) {
  for (long g = 0; g < k / GROUP; ++g) {
    const uint8_t* b = (const uint8_t*)m.w + row * (k / 2) + g * (GROUP / 2);
    const float s = m.scale[row * (k / GROUP) + g], l = m.least[row * (k / GROUP) + g];
#ifdef WIDE
    const __m128i both = _mm_loadu_si128((const __m128i*)b);
    const __m512 scale = _mm512_set1_ps(s), least = _mm512_set1_ps(l);
    _mm512_storeu_ps(out + g * GROUP, _mm512_fmadd_ps(low(both), scale, least));
    _mm512_storeu_ps(out + g * GROUP + 16, _mm512_fmadd_ps(high(both), scale, least));
#else
    for (long i = 0; i < GROUP / 2; ++i) {
      out[g * GROUP + i] = s * (b[i] & 15) + l;
      out[g * GROUP + i + GROUP / 2] = s * (b[i] >> 4) + l;
    }
#endif
  }
}
#ifdef WIDE
// n rows (at most 4) of W, two at a time, with B vectors: a weight is read and widened once for all
template <typename T, int B>
inline void tile(const T* w, long k, long n, const float* x, long stride, float* out) {
  for (long t = 0; t < n; t += 2) {
    const bool two = t + 1 < n;
    const T *a = w + t * k, *c = two ? a + k : a;
    __m512 p[B], q[B];
    for (int v = 0; v < B; ++v) p[v] = q[v] = _mm512_setzero_ps();
    long i = 0;
    for (; i + 16 <= k; i += 16) {
      const __m512 e = take(a + i), f = take(c + i);
      ahead(a + i); ahead(c + i);
#pragma GCC unroll 8
      for (int v = 0; v < B; ++v) {
        const __m512 y = take(x + v * stride + i);
        p[v] = _mm512_fmadd_ps(e, y, p[v]);
        q[v] = _mm512_fmadd_ps(f, y, q[v]);
      }
    }
    for (int v = 0; v < B; ++v) {
      float r = sum(p[v]), s = sum(q[v]);
      for (long j = i; j < k; ++j) {
        r += get(a, j) * x[v * stride + j];
        s += get(c, j) * x[v * stride + j];
      }
      out[v * 4 + t] = r;
      if (two) out[v * 4 + t + 1] = s;
    }
  }
}
template <typename T>
inline void tiles(const T* w, long k, long n, const float* x, long stride, long b, float* out) {
  for (long i = 0; i < b; i += BLOCK) {
    const float* y = x + i * stride;
    float* to = out + i * 4;
    switch (std::min(b - i, (long)BLOCK)) {
      case 1: tile<T, 1>(w, k, n, y, stride, to); break;
      case 2: tile<T, 2>(w, k, n, y, stride, to); break;
      case 3: tile<T, 3>(w, k, n, y, stride, to); break;
      case 4: tile<T, 4>(w, k, n, y, stride, to); break;
      case 5: tile<T, 5>(w, k, n, y, stride, to); break;
      case 6: tile<T, 6>(w, k, n, y, stride, to); break;
      case 7: tile<T, 7>(w, k, n, y, stride, to); break;
      default: tile<T, 8>(w, k, n, y, stride, to);
    }
  }
}
#else
template <typename T>
inline void tiles(const T* w, long k, long n, const float* x, long stride, long b, float* out) {
  for (long i = 0; i < b; ++i)
    if (n == 4) four(w, k, x + i * stride, out + i * 4);
    else for (long t = 0; t < n; ++t) out[i * 4 + t] = one(w + t * k, k, x + i * stride);
}
#endif
#if defined(WIDE) && defined(__AVX512BF16__)
#define PAIRS 1
inline __m512bh pairs(const uint16_t* p) { return (__m512bh)_mm512_loadu_si512(p); }
// as `tile`, of weights and vectors in bfloat16, R rows at a time: two products an addition
template <int R, int B>
inline void halves(const uint16_t* w, long k, long n, const uint16_t* x, long stride, float* out) {
  for (long t = 0; t < n; t += R) {
    const uint16_t* row[R];
    for (int j = 0; j < R; ++j) row[j] = w + std::min(t + j, n - 1) * k;
    __m512 p[R][B];
    for (int j = 0; j < R; ++j)
      for (int v = 0; v < B; ++v) p[j][v] = _mm512_setzero_ps();
    long i = 0;
    for (; i + 32 <= k; i += 32) {
      __m512bh e[R];
#pragma GCC unroll 4
      for (int j = 0; j < R; ++j) { e[j] = pairs(row[j] + i); ahead(row[j] + i); }
#pragma GCC unroll 8
      for (int v = 0; v < B; ++v) {
        const __m512bh y = pairs(x + v * stride + i);
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) p[j][v] = _mm512_dpbf16_ps(p[j][v], e[j], y);
      }
    }
    for (int j = 0; j < R && t + j < n; ++j)
      for (int v = 0; v < B; ++v) {
        float r = sum(p[j][v]);
        for (long g = i; g < k; ++g) r += up(row[j][g]) * up(x[v * stride + g]);
        out[v * 4 + t + j] = r;
      }
  }
}
#endif
// vectors as a product of W takes them: with weights in bfloat16, so rounded where this machine
// multiplies such pairs (as torch does)
struct Vectors { const float* x; const uint16_t* h; long stride, count; };

inline Vectors vectors(const Weight& m, const float* x, long k, long count) {
#ifdef PAIRS
  if (m.kind == BF16) {
    static thread_local std::vector<uint16_t> held;
    if ((long)held.size() < k * count) held.resize(k * count);
    for (long i = 0; i < k * count; ++i) held[i] = down(x[i]);
    return {x, held.data(), k, count};
  }
#endif
  return {x, nullptr, k, count};
}
// rows o .. o + n - 1 (n at most 4) of W x; out[i * 4 + t] is row o + t of vector i
inline void rows(const Weight& m, long k, long o, long n, const Vectors& all, float* out) {
  const float* x = all.x;
  const long stride = all.stride, b = all.count;
#ifdef PAIRS
  if (all.h) {
    const uint16_t* w = (const uint16_t*)m.w + o * k;
    for (long i = 0; i < b; i += BLOCK) {
      const uint16_t* y = all.h + i * stride;
      float* to = out + i * 4;
      switch (std::min(b - i, (long)BLOCK)) {
        case 1: halves<4, 1>(w, k, n, y, stride, to); break;
        case 2: halves<4, 2>(w, k, n, y, stride, to); break;
        case 3: halves<4, 3>(w, k, n, y, stride, to); break;
        case 4: halves<4, 4>(w, k, n, y, stride, to); break;
        case 5: halves<4, 5>(w, k, n, y, stride, to); break;
        case 6: halves<4, 6>(w, k, n, y, stride, to); break;
        case 7: halves<2, 7>(w, k, n, y, stride, to); break;
        default: halves<2, 8>(w, k, n, y, stride, to);
      }
    }
    return;
  }
#endif
  if (b > 1) {
    if (m.kind == F32) tiles((const float*)m.w + o * k, k, n, x, stride, b, out);
    else if (m.kind == BF16) tiles((const uint16_t*)m.w + o * k, k, n, x, stride, b, out);
    else if (m.kind == INT8) {
      tiles((const int8_t*)m.w + o * k, k, n, x, stride, b, out);
      for (long i = 0; i < b; ++i)
        for (long t = 0; t < n; ++t) out[i * 4 + t] *= m.scale[o + t];
    } else {  // unpacked once for all vectors
      static thread_local std::vector<float> held;
      if ((long)held.size() < 4 * k) held.resize(4 * k);
      for (long t = 0; t < n; ++t) unpack(m, k, o + t, held.data() + t * k);
      tiles(held.data(), k, n, x, stride, b, out);
    }
    return;
  }
  if (m.kind == INT4) {
    float sums[1024];
    for (long g = 0; g < k / GROUP; ++g) {
      float s = 0;
      for (long i = 0; i < GROUP; ++i) s += x[g * GROUP + i];
      sums[g] = s;
    }
    for (long t = 0; t < n; ++t) {
      const long at = (o + t) * (k / GROUP);
      const uint8_t* w = (const uint8_t*)m.w + (o + t) * (k / 2);
      out[t] = one4(w, m.scale + at, m.least + at, k, x, sums);
    }
    return;
  }
#define BOTH(T)                                                        \
  { const T* w = (const T*)m.w + o * k;                                \
    if (n == 4) four(w, k, x, out);                                    \
    else for (long t = 0; t < n; ++t) out[t] = one(w + t * k, k, x); }
  if (m.kind == F32) BOTH(float)
  else if (m.kind == BF16) BOTH(uint16_t)
  else {
    BOTH(int8_t)
    for (long t = 0; t < n; ++t) out[t] *= m.scale[o + t];
  }
#undef BOTH
}
