// SPDX-License-Identifier: MIT
// The layers of the generated C: one small function a kind, written out as they stand. Only
// export_c.c reads this.
#ifndef SW2_TRAINER_EXPORT_C_PARTS_H
#define SW2_TRAINER_EXPORT_C_PARTS_H

// What comes first: shapes of a layer.
#define PART_TYPES                                                                                 \
    "/* Images are h, w, c: row by row, pixel by pixel, channels together. */\n"                   \
    "struct shape {\n"                                                                             \
    "    int h, w, c;\n"                                                                           \
    "};\n\n"

#define PART_WINDOW                                                                                \
    "/* A window of kernel_h x kernel_w that walks over x and makes one pixel of y at each step."  \
    " */\n"                                                                                        \
    "struct window {\n"                                                                            \
    "    struct shape x, y;\n"                                                                     \
    "    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;\n"      \
    "    int groups;   /* of a convolution */\n"                                                   \
    "    int counts_pad; /* of a mean: padding counts as zeros */\n"                               \
    "};\n\n"

#define PART_CONV                                                                                  \
    "/* weight: (kernel_h, kernel_w, x.c / groups, y.c); bias: (y.c), or NULL */\n"                \
    "static void conv2d(const struct window *v, const float *weight, const float *bias,\n"         \
    "                   const float *x, float *y)\n"                                               \
    "{\n"                                                                                          \
    "    const int n_in = v->x.c / v->groups, n_out = v->y.c / v->groups;\n"                       \
    "    for (int p = 0; p < v->y.h; p++)\n"                                                       \
    "        for (int q = 0; q < v->y.w; q++, y += v->y.c) {\n"                                    \
    "            for (int k = 0; k < v->y.c; k++)\n"                                               \
    "                y[k] = bias ? bias[k] : 0;\n"                                                 \
    "            for (int r = 0; r < v->kernel_h; r++)\n"                                          \
    "                for (int s = 0; s < v->kernel_w; s++) {\n"                                    \
    "                    const int h = p * v->stride_h + r * v->dilation_h - v->pad_h;\n"          \
    "                    const int w = q * v->stride_w + s * v->dilation_w - v->pad_w;\n"          \
    "                    if (h < 0 || h >= v->x.h || w < 0 || w >= v->x.w)\n"                      \
    "                        continue;\n"                                                          \
    "                    const float *pixel = x + ((long)h * v->x.w + w) * v->x.c;\n"              \
    "                    const float *tap =\n"                                                     \
    "                        weight + ((long)r * v->kernel_w + s) * n_in * v->y.c;\n"              \
    "                    for (int g = 0; g < v->groups; g++)\n"                                    \
    "                        for (int c = 0; c < n_in; c++)\n"                                     \
    "                            for (int k = 0; k < n_out; k++)\n"                                \
    "                                y[g * n_out + k] += pixel[g * n_in + c] *\n"                  \
    "                                                    tap[(long)c * v->y.c + g * n_out + k];\n" \
    "                }\n"                                                                          \
    "        }\n"                                                                                  \
    "}\n\n"

#define PART_DENSE                                                                                 \
    "/* weight: (n_in, n_out); bias: (n_out), or NULL */\n"                                        \
    "static void dense(int n_in, int n_out, const float *weight, const float *bias,\n"             \
    "                  const float *x, float *y)\n"                                                \
    "{\n"                                                                                          \
    "    for (int k = 0; k < n_out; k++)\n"                                                        \
    "        y[k] = bias ? bias[k] : 0;\n"                                                         \
    "    for (int c = 0; c < n_in; c++)\n"                                                         \
    "        for (int k = 0; k < n_out; k++)\n"                                                    \
    "            y[k] += x[c] * weight[(long)c * n_out + k];\n"                                    \
    "}\n\n"

#define PART_NORM                                                                                  \
    "/* scale, shift: (c) */\n"                                                                    \
    "static void norm(int n_pixels, int c, const float *scale, const float *shift, const float "   \
    "*x,\n"                                                                                        \
    "                 float *y)\n"                                                                 \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n_pixels; i++)\n"                                                     \
    "        for (int k = 0; k < c; k++)\n"                                                        \
    "            y[(long)i * c + k] = x[(long)i * c + k] * scale[k] + shift[k];\n"                 \
    "}\n\n"

#define PART_RELU                                                                                  \
    "static void relu(int n, const float *x, float *y)\n"                                          \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n; i++)\n"                                                            \
    "        y[i] = x[i] > 0 ? x[i] : 0;\n"                                                        \
    "}\n\n"

#define PART_LEAKY_RELU                                                                            \
    "static void leaky_relu(int n, float slope, const float *x, float *y)\n"                       \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n; i++)\n"                                                            \
    "        y[i] = x[i] > 0 ? x[i] : slope * x[i];\n"                                             \
    "}\n\n"

#define PART_GELU                                                                                  \
    "static void gelu(int n, const float *x, float *y)\n"                                          \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n; i++)\n"                                                            \
    "        y[i] = 0.5f * x[i] * (1 + erff(x[i] * 0.70710678f));\n"                               \
    "}\n\n"

#define PART_SILU                                                                                  \
    "static void silu(int n, const float *x, float *y)\n"                                          \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n; i++)\n"                                                            \
    "        y[i] = x[i] / (1 + expf(-x[i]));\n"                                                   \
    "}\n\n"

#define PART_SCALE                                                                                 \
    "static void scale(int n, float factor, const float *x, float *y)\n"                           \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n; i++)\n"                                                            \
    "        y[i] = factor * x[i];\n"                                                              \
    "}\n\n"

#define PART_POOL(name, first, each, last)                                                         \
    "static void " name "(const struct window *v, const float *x, float *y)\n"                     \
    "{\n"                                                                                          \
    "    for (int p = 0; p < v->y.h; p++)\n"                                                       \
    "        for (int q = 0; q < v->y.w; q++, y += v->y.c) {\n"                                    \
    "            int n = 0;\n"                                                                     \
    "            for (int k = 0; k < v->y.c; k++)\n"                                               \
    "                y[k] = " first ";\n"                                                          \
    "            for (int r = 0; r < v->kernel_h; r++)\n"                                          \
    "                for (int s = 0; s < v->kernel_w; s++) {\n"                                    \
    "                    const int h = p * v->stride_h + r - v->pad_h;\n"                          \
    "                    const int w = q * v->stride_w + s - v->pad_w;\n"                          \
    "                    if (h < 0 || h >= v->x.h || w < 0 || w >= v->x.w)\n"                      \
    "                        continue;\n"                                                          \
    "                    const float *pixel = x + ((long)h * v->x.w + w) * v->x.c;\n"              \
    "                    n++;\n"                                                                   \
    "                    for (int k = 0; k < v->y.c; k++)\n"                                       \
    "                        " each ";\n"                                                          \
    "                }\n" last "        }\n"                                                       \
    "}\n\n"

#define PART_MAXPOOL                                                                               \
    PART_POOL("maxpool", "-INFINITY", "y[k] = pixel[k] > y[k] ? pixel[k] : y[k]",                  \
              "            (void)n;\n")

#define PART_AVGPOOL                                                                               \
    PART_POOL("avgpool", "0", "y[k] += pixel[k]",                                                  \
              "            if (v->counts_pad)\n"                                                   \
              "                n = v->kernel_h * v->kernel_w;\n"                                   \
              "            for (int k = 0; k < v->y.c; k++)\n"                                     \
              "                y[k] /= (float)n;\n")

#define PART_GLOBALPOOL                                                                            \
    "static void globalpool(int n_pixels, int c, const float *x, float *y)\n"                      \
    "{\n"                                                                                          \
    "    for (int k = 0; k < c; k++)\n"                                                            \
    "        y[k] = 0;\n"                                                                          \
    "    for (int i = 0; i < n_pixels; i++)\n"                                                     \
    "        for (int k = 0; k < c; k++)\n"                                                        \
    "            y[k] += x[(long)i * c + k];\n"                                                    \
    "    for (int k = 0; k < c; k++)\n"                                                            \
    "        y[k] /= (float)n_pixels;\n"                                                           \
    "}\n\n"

#define PART_COPY                                                                                  \
    "static void copy(int n, const float *x, float *y)\n"                                          \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n; i++)\n"                                                            \
    "        y[i] = x[i];\n"                                                                       \
    "}\n\n"

#define PART_ADD                                                                                   \
    "static void add(int n, const float *a, const float *b, float *y)\n"                           \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n; i++)\n"                                                            \
    "        y[i] = a[i] + b[i];\n"                                                                \
    "}\n\n"

#define PART_CONCAT                                                                                \
    "/* The c channels of x become those of y (n_y) from `first` on. */\n"                         \
    "static void concat(int n_pixels, int c, const float *x, int n_y, int first, float *y)\n"      \
    "{\n"                                                                                          \
    "    for (int i = 0; i < n_pixels; i++)\n"                                                     \
    "        for (int k = 0; k < c; k++)\n"                                                        \
    "            y[(long)i * n_y + first + k] = x[(long)i * c + k];\n"                             \
    "}\n\n"

#define PART_SUBSAMPLE                                                                             \
    "/* Every stride-th pixel, `before` channels of zeros before those of x, the rest behind. "    \
    "*/\n"                                                                                         \
    "static void subsample(struct shape a, struct shape b, int stride, int before, const float "   \
    "*x,\n"                                                                                        \
    "                      float *y)\n"                                                            \
    "{\n"                                                                                          \
    "    for (int p = 0; p < b.h; p++)\n"                                                          \
    "        for (int q = 0; q < b.w; q++)\n"                                                      \
    "            for (int k = 0; k < b.c; k++, y++) {\n"                                           \
    "                const int c = k - before;\n"                                                  \
    "                const long pixel = (long)p * stride * a.w + (long)q * stride;\n"              \
    "                *y = c < 0 || c >= a.c ? 0 : x[pixel * a.c + c];\n"                           \
    "            }\n"                                                                              \
    "}\n\n"

#define PART_HOG                                                                                   \
    "/* The gradient of pixel (r, s), of the channel where it is largest: its size goes to\n"      \
    "   the two nearest of `bins` orientations. */\n"                                              \
    "static void hog_vote(struct shape a, int r, int s, int bins, const float *x,\n"               \
    "                     float *votes)\n"                                                         \
    "{\n"                                                                                          \
    "    const float *up = x + ((long)(r > 0 ? r - 1 : r) * a.w + s) * a.c;\n"                     \
    "    const float *down = x + ((long)(r + 1 < a.h ? r + 1 : r) * a.w + s) * a.c;\n"             \
    "    const float *left = x + ((long)r * a.w + (s > 0 ? s - 1 : s)) * a.c;\n"                   \
    "    const float *right = x + ((long)r * a.w + (s + 1 < a.w ? s + 1 : s)) * a.c;\n"            \
    "    float gx = 0, gy = 0, most = 0;\n"                                                        \
    "    for (int c = 0; c < a.c; c++) {\n"                                                        \
    "        const float dx = right[c] - left[c], dy = down[c] - up[c];\n"                         \
    "        if (dx * dx + dy * dy > most) {\n"                                                    \
    "            most = dx * dx + dy * dy;\n"                                                      \
    "            gx = dx;\n"                                                                       \
    "            gy = dy;\n"                                                                       \
    "        }\n"                                                                                  \
    "    }\n"                                                                                      \
    "    float turn = atan2f(gy, gx) / 3.14159265f; /* half turns; a line has no direction */\n"   \
    "    if (turn < 0)\n"                                                                          \
    "        turn += 1;\n"                                                                         \
    "    const float place = turn * (float)bins - 0.5f, low = floorf(place);\n"                    \
    "    const float size = sqrtf(most), share = place - low;\n"                                   \
    "    votes[((int)low + bins) % bins] += size * (1 - share);\n"                                 \
    "    votes[((int)low + 1) % bins] += size * share;\n"                                          \
    "}\n"                                                                                          \
    "\n"                                                                                           \
    "/* Histograms of oriented gradients: one for each cell x cell pixels; a pixel of y is a\n"    \
    "   block of 2 x 2 histograms, divided by its norm. */\n"                                      \
    "static void hog(struct shape a, struct shape b, int cell, float eps2, const float *x,\n"      \
    "                float *y)\n"                                                                  \
    "{\n"                                                                                          \
    "    const int bins = b.c / 4;\n"                                                              \
    "    for (int i = 0; i <= b.h; i++)\n"                                                         \
    "        for (int j = 0; j <= b.w; j++) {\n"                                                   \
    "            /* In the first block that has this cell; then to the others. */\n"               \
    "            const int top = i > 0 ? i - 1 : 0, left = j > 0 ? j - 1 : 0;\n"                   \
    "            const int corner = 2 * (i - top) + j - left;\n"                                   \
    "            float *votes = y + ((long)top * b.w + left) * b.c + corner * bins;\n"             \
    "            for (int k = 0; k < bins; k++)\n"                                                 \
    "                votes[k] = 0;\n"                                                              \
    "            for (int r = i * cell; r < (i + 1) * cell; r++)\n"                                \
    "                for (int s = j * cell; s < (j + 1) * cell; s++)\n"                            \
    "                    hog_vote(a, r, s, bins, x, votes);\n"                                     \
    "            for (int p = top; p <= i && p < b.h; p++)\n"                                      \
    "                for (int q = left; q <= j && q < b.w; q++) {\n"                               \
    "                    float *to = y + ((long)p * b.w + q) * b.c;\n"                             \
    "                    for (int k = 0; k < bins; k++)\n"                                         \
    "                        to[(2 * (i - p) + j - q) * bins + k] = votes[k];\n"                   \
    "                }\n"                                                                          \
    "        }\n"                                                                                  \
    "    for (long i = 0; i < (long)b.h * b.w; i++, y += b.c) {\n"                                 \
    "        float sum = eps2;\n"                                                                  \
    "        for (int k = 0; k < b.c; k++)\n"                                                      \
    "            sum += y[k] * y[k];\n"                                                            \
    "        const float norm = sqrtf(sum);\n"                                                     \
    "        for (int k = 0; k < b.c; k++)\n"                                                      \
    "            y[k] /= norm;\n"                                                                  \
    "    }\n"                                                                                      \
    "}\n"                                                                                          \
    "\n"

#endif
