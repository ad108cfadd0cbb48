// One token of each row through the layers of a LLaMA; stands behind products.cpp.

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
      Vectors in = vectors(m.qkv, y, d, b);
#pragma omp for schedule(static)
      for (long o = 0; o < all; o += 4) {
        float part[4 * ROWS];
        const long n = std::min(4L, all - o);
        rows(m.qkv, d, o, n, in, part);
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
      in = vectors(m.out, mix, h * w, b);
#pragma omp for schedule(static)
      for (long o = 0; o < d; o += 4) {
        float part[4 * ROWS];
        const long n = std::min(4L, d - o);
        rows(m.out, h * w, o, n, in, part);
        for (long i = 0; i < b; ++i)
          for (long t = 0; t < n; ++t) x[i * d + o + t] += part[i * 4 + t];
      }
#pragma omp for schedule(static)
      for (long i = 0; i < b; ++i) norm(x + i * d, m.norm2, d, z.eps, y + i * d);
      in = vectors(m.gate_up, y, d, b);
#pragma omp for schedule(static)
      for (long o = 0; o < f; o += 4) {
        float a[4 * ROWS], u[4 * ROWS];
        const long n = std::min(4L, f - o);
        rows(m.gate_up, d, o, n, in, a);
        rows(m.gate_up, d, f + o, n, in, u);
        for (long i = 0; i < b; ++i)
          for (long t = 0; t < n; ++t) {
            const float one = a[i * 4 + t];
            act[i * f + o + t] = one / (1 + std::exp(-one)) * u[i * 4 + t];
          }
      }
      in = vectors(m.down, act, f, b);
#pragma omp for schedule(static)
      for (long o = 0; o < d; o += 4) {
        float part[4 * ROWS];
        const long n = std::min(4L, d - o);
        rows(m.down, f, o, n, in, part);
        for (long i = 0; i < b; ++i)
          for (long t = 0; t < n; ++t) x[i * d + o + t] += part[i * 4 + t];
      }
    }
#pragma omp for schedule(static)
    for (long i = 0; i < b; ++i) norm(x + i * d, last, d, z.eps, y + i * d);
    const Vectors in = vectors(words, y, d, b);
#pragma omp for schedule(static)
    for (long o = 0; o < z.vocab; o += 4) {
      float part[4 * ROWS];
      const long n = std::min(4L, z.vocab - o);
      rows(words, d, o, n, in, part);
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
