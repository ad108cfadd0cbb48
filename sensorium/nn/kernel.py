"""One token a row through a LLaMA on a processor, as one call of C++ over weights of few bits.

Reading the weights is what a token costs. The source below is compiled once by Inductor's cache of
compiled code (which picks the flags of this machine); where no compiler works, `kernel` gives None
and everything runs through torch. Sums are in float32 whatever the weights are.
"""

import ctypes
from functools import lru_cache

from torch._inductor.codecache import CppCodeCache

SOURCE = r"""
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
constexpr long ROWS = 8;  // vectors at a time
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
// a row of the weight as floats
inline void unpack(const Weight& m, long k, long row, float* out) {
  if (m.kind == F32) std::memcpy(out, (const float*)m.w + row * k, k * sizeof(float));
  else if (m.kind == BF16)
    for (long i = 0; i < k; ++i) out[i] = up(((const uint16_t*)m.w + row * k)[i]);
  else if (m.kind == INT8)
    for (long i = 0; i < k; ++i) out[i] = m.scale[row] * ((const int8_t*)m.w + row * k)[i];
  else
    for (long g = 0; g < k / GROUP; ++g) {
      const uint8_t* b = (const uint8_t*)m.w + row * (k / 2) + g * (GROUP / 2);
      const float s = m.scale[row * (k / GROUP) + g], l = m.least[row * (k / GROUP) + g];
      for (long i = 0; i < GROUP / 2; ++i) {
        out[g * GROUP + i] = s * (b[i] & 15) + l;
        out[g * GROUP + i + GROUP / 2] = s * (b[i] >> 4) + l;
      }
    }
}
// rows o .. o + n - 1 (n at most 4) of W x, for b vectors; out[i * 4 + t] is row o + t of vector i
inline void rows(const Weight& m, long k, long o, long n, const float* x, long stride, long b,
                 float* out) {
  if (b > 1) {  // unpacked once for all vectors
    static thread_local std::vector<float> held;
    if ((long)held.size() < 4 * k) held.resize(4 * k);
    float* w = held.data();
    for (long t = 0; t < n; ++t) unpack(m, k, o + t, w + t * k);
    for (long i = 0; i < b; ++i) {
      if (n == 4) four(w, k, x + i * stride, out + i * 4);
      else for (long t = 0; t < n; ++t) out[i * 4 + t] = one(w + t * k, k, x + i * stride);
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
inline void norm(const float* x, const float* gain, long d, float eps, float* out) {
  float s = 0;
#pragma omp simd reduction(+ : s)
  for (long i = 0; i < d; ++i) s += x[i] * x[i];
  float r = 1 / std::sqrt(s / d + eps);
  for (long i = 0; i < d; ++i) out[i] = x[i] * r * gain[i];
}
}  // namespace

struct Layer {
  const float* norm1; Weight qkv; Weight out; const float* norm2; Weight gate_up; Weight down;
  void* k; void* v;  // (b, g, room, w)
};
struct Sizes {
  long layers, rows, width, heads, groups, head, hidden, vocab, room, half, threads, bf16;
  double eps; float scale, pad;
};

template <typename C>
static void run(const Sizes& z, const Layer* layers, const float* last, const Weight& words,
                const long* pos, const float* cos, const float* sin, float* x, float* work,
                float* logits) {
  const long b = z.rows, d = z.width, h = z.heads, g = z.groups, w = z.head, f = z.hidden;
  const long all = (h + 2 * g) * w, r = z.half;
  float *y = work, *qkv = y + b * d, *mix = qkv + b * all, *act = mix + b * h * w;
  float* scores = act + b * f;
#pragma omp parallel num_threads(z.threads)
  {
    for (long l = 0; l < z.layers; ++l) {
      const Layer& m = layers[l];
#pragma omp for schedule(static)
      for (long i = 0; i < b; ++i) norm(x + i * d, m.norm1, d, z.eps, y + i * d);
#pragma omp for schedule(static)
      for (long o = 0; o < all; o += 4) {
        float part[4 * ROWS];
        const long n = std::min(4L, all - o);
        rows(m.qkv, d, o, n, y, d, b, part);
        for (long i = 0; i < b; ++i)
          for (long t = 0; t < n; ++t) qkv[i * all + o + t] = part[i * 4 + t];
      }
#pragma omp for schedule(static) collapse(2)
      for (long i = 0; i < b; ++i)
        for (long e = 0; e < h; ++e) {
          float* q = qkv + i * all + e * w;
          const float *c = cos + i * r, *s = sin + i * r;
          const long kv = e / (h / g), n = pos[i] + 1;
          C* keys = (C*)m.k + (i * g + kv) * z.room * w;
          C* values = (C*)m.v + (i * g + kv) * z.room * w;
          float own[512], turned[512];
          for (long t = 0; t < w; ++t) turned[t] = q[t];
          const float* key = qkv + i * all + (h + kv) * w;
          for (long t = 0; t < w; ++t) own[t] = key[t];
          for (long t = 0; t < r; ++t) {
            turned[t] = q[t] * c[t] - q[t + r] * s[t];
            turned[t + r] = q[t + r] * c[t] + q[t] * s[t];
            own[t] = key[t] * c[t] - key[t + r] * s[t];
            own[t + r] = key[t + r] * c[t] + key[t] * s[t];
          }
          const float* value = qkv + i * all + (h + g + kv) * w;
          if (e % (h / g) == 0)  // one head of the group writes what all of it read later
            for (long t = 0; t < w; ++t) {
              if (z.bf16) {
                ((uint16_t*)keys)[(n - 1) * w + t] = down(own[t]);
                ((uint16_t*)values)[(n - 1) * w + t] = down(value[t]);
              } else {
                ((float*)keys)[(n - 1) * w + t] = own[t];
                ((float*)values)[(n - 1) * w + t] = value[t];
              }
            }
          float *p = scores + (i * h + e) * z.room, top = -INFINITY, sum = 0;
          for (long j = 0; j < n; ++j) {
            p[j] = z.scale * (j < n - 1 ? one(keys + j * w, w, turned) : one(own, w, turned));
            top = std::max(top, p[j]);
          }
          float* out = mix + (i * h + e) * w;
          for (long t = 0; t < w; ++t) out[t] = 0;
          for (long j = 0; j < n; ++j) {
            const float a = std::exp(p[j] - top);
            sum += a;
            if (j < n - 1)
              for (long t = 0; t < w; ++t) out[t] += a * get(values + j * w, t);
            else
              for (long t = 0; t < w; ++t) out[t] += a * value[t];
          }
          for (long t = 0; t < w; ++t) out[t] /= sum;
        }
#pragma omp for schedule(static)
      for (long o = 0; o < d; o += 4) {
        float part[4 * ROWS];
        const long n = std::min(4L, d - o);
        rows(m.out, h * w, o, n, mix, h * w, b, part);
        for (long i = 0; i < b; ++i)
          for (long t = 0; t < n; ++t) x[i * d + o + t] += part[i * 4 + t];
      }
#pragma omp for schedule(static)
      for (long i = 0; i < b; ++i) norm(x + i * d, m.norm2, d, z.eps, y + i * d);
#pragma omp for schedule(static)
      for (long o = 0; o < f; o += 4) {
        float a[4 * ROWS], u[4 * ROWS];
        const long n = std::min(4L, f - o);
        rows(m.gate_up, d, o, n, y, d, b, a);
        rows(m.gate_up, d, f + o, n, y, d, b, u);
        for (long i = 0; i < b; ++i)
          for (long t = 0; t < n; ++t) {
            const float one = a[i * 4 + t];
            act[i * f + o + t] = one / (1 + std::exp(-one)) * u[i * 4 + t];
          }
      }
#pragma omp for schedule(static)
      for (long o = 0; o < d; o += 4) {
        float part[4 * ROWS];
        const long n = std::min(4L, d - o);
        rows(m.down, f, o, n, act, f, b, part);
        for (long i = 0; i < b; ++i)
          for (long t = 0; t < n; ++t) x[i * d + o + t] += part[i * 4 + t];
      }
    }
#pragma omp for schedule(static)
    for (long i = 0; i < b; ++i) norm(x + i * d, last, d, z.eps, y + i * d);
#pragma omp for schedule(static)
    for (long o = 0; o < z.vocab; o += 4) {
      float part[4 * ROWS];
      const long n = std::min(4L, z.vocab - o);
      rows(words, d, o, n, y, d, b, part);
      for (long i = 0; i < b; ++i)
        for (long t = 0; t < n; ++t) logits[i * z.vocab + o + t] = part[i * 4 + t];
    }
  }
}

extern "C" void step(const Sizes* z, const Layer* layers, const float* last, const Weight* words,
                     const long* pos, const float* cos, const float* sin, float* x, float* work,
                     float* logits) {
  if (z->bf16) run<uint16_t>(*z, layers, last, *words, pos, cos, sin, x, work, logits);
  else run<float>(*z, layers, last, *words, pos, cos, sin, x, work, logits);
}
"""


@lru_cache(maxsize=1)
def kernel() -> ctypes.CDLL | None:
    """The compiled source; None where it cannot be compiled here. Compiling takes some seconds."""
    try:
        made = CppCodeCache.load(SOURCE)
    except (RuntimeError, OSError, ImportError):  # no compiler, or one that does not work
        return None
    return made
