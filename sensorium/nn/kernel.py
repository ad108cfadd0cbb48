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
#include <omp.h>

namespace {
enum Kind { F32 = 0, BF16 = 1, INT8 = 2, INT4 = 3 };
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

template <typename T>
inline void four(const T* w, long k, const float* x, float* out) {
  const T *a = w, *b = w + k, *c = w + 2 * k, *d = w + 3 * k;
  float p = 0, q = 0, r = 0, s = 0;
#pragma omp simd reduction(+ : p, q, r, s)
  for (long i = 0; i < k; ++i) {
    p += get(a, i) * x[i]; q += get(b, i) * x[i]; r += get(c, i) * x[i]; s += get(d, i) * x[i];
  }
  out[0] = p; out[1] = q; out[2] = r; out[3] = s;
}
template <typename T>
inline float one(const T* w, long k, const float* x) {
  float p = 0;
#pragma omp simd reduction(+ : p)
  for (long i = 0; i < k; ++i) p += get(w, i) * x[i];
  return p;
}
// byte i of a group holds number i in its low half and number i + 16 in its high one
inline float one4(const uint8_t* w, const float* scale, const float* least, long k,
                  const float* x) {
  float total = 0;
  for (long g = 0; g < k / GROUP; ++g) {
    const uint8_t* b = w + g * (GROUP / 2);
    const float* y = x + g * GROUP;
    float p = 0, s = 0;
#pragma omp simd reduction(+ : p, s)
    for (long i = 0; i < GROUP / 2; ++i) {
      p += float(b[i] & 15) * y[i] + float(b[i] >> 4) * y[i + GROUP / 2];
      s += y[i] + y[i + GROUP / 2];
    }
    total += scale[g] * p + least[g] * s;
  }
  return total;
}
// rows o .. o + n - 1 of W x for one vector
inline void rows(const Weight& m, long k, long o, long n, const float* x, float* out) {
  if (m.kind == INT4) {
    for (long i = 0; i < n; ++i) {
      long at = (o + i) * (k / GROUP);
      out[i] = one4((const uint8_t*)m.w + (o + i) * (k / 2), m.scale + at, m.least + at, k, x);
    }
    return;
  }
#define BOTH(T)                                                        \
  { const T* w = (const T*)m.w + o * k;                                \
    if (n == 4) four(w, k, x, out);                                    \
    else for (long i = 0; i < n; ++i) out[i] = one(w + i * k, k, x); }
  if (m.kind == F32) BOTH(float)
  else if (m.kind == BF16) BOTH(uint16_t)
  else {
    BOTH(int8_t)
    for (long i = 0; i < n; ++i) out[i] *= m.scale[o + i];
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
      for (long o = 0; o < all; o += 4)
        for (long i = 0; i < b; ++i)
          rows(m.qkv, d, o, std::min(4L, all - o), y + i * d, qkv + i * all + o);
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
      for (long o = 0; o < d; o += 4)
        for (long i = 0; i < b; ++i) {
          float part[4];
          const long n = std::min(4L, d - o);
          rows(m.out, h * w, o, n, mix + i * h * w, part);
          for (long t = 0; t < n; ++t) x[i * d + o + t] += part[t];
        }
#pragma omp for schedule(static)
      for (long i = 0; i < b; ++i) norm(x + i * d, m.norm2, d, z.eps, y + i * d);
#pragma omp for schedule(static)
      for (long o = 0; o < f; o += 4)
        for (long i = 0; i < b; ++i) {
          float a[4], u[4];
          const long n = std::min(4L, f - o);
          rows(m.gate_up, d, o, n, y + i * d, a);
          rows(m.gate_up, d, f + o, n, y + i * d, u);
          for (long t = 0; t < n; ++t) act[i * f + o + t] = a[t] / (1 + std::exp(-a[t])) * u[t];
        }
#pragma omp for schedule(static)
      for (long o = 0; o < d; o += 4)
        for (long i = 0; i < b; ++i) {
          float part[4];
          const long n = std::min(4L, d - o);
          rows(m.down, f, o, n, act + i * f, part);
          for (long t = 0; t < n; ++t) x[i * d + o + t] += part[t];
        }
    }
#pragma omp for schedule(static)
    for (long i = 0; i < b; ++i) norm(x + i * d, last, d, z.eps, y + i * d);
#pragma omp for schedule(static)
    for (long o = 0; o < z.vocab; o += 4)
      for (long i = 0; i < b; ++i)
        rows(words, d, o, std::min(4L, z.vocab - o), y + i * d, logits + i * z.vocab + o);
  }
}

extern "C" void step(const Sizes* z, const Layer* layers, const float* last, const Weight* words,
                     const long* pos, const float* cos, const float* sin, float* x, float* work,
                     float* logits) {
  if (z->bf16) run<uint16_t>(*z, layers, last, *words, pos, cos, sin, x, work, logits);
  else run<float>(*z, layers, last, *words, pos, cos, sin, x, work, logits);
}
extern "C" void product(const Weight* m, long b, long k, long o, long threads, const float* x,
                        float* out) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (long at = 0; at < o; at += 4)
    for (long i = 0; i < b; ++i) rows(*m, k, at, std::min(4L, o - at), x + i * k, out + i * o + at);
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
