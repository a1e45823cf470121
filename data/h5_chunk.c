// SPDX-License-Identifier: MIT
// Rows of chunked data sets. HDF5 1.10 copies a whole chunk out of whatever its filters gave, also
// when a damaged file made that shorter: so chunks are fetched as stored (H5Dread_chunk) and
// undone here, every size checked. Bands (all chunks that hold the same rows) are kept, each
// where its number modulo their count says. Called by h5_read.c with the lock held.
#include "data/h5_private.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "comm/memory.h"

#define BANDS_BYTES ((uint64_t)128 << 20)
#define BAND_BYTES_MAX ((uint64_t)1 << 30)
#define SLACK 64 // what filters may add to a chunk: a checksum

struct band {
    bool is_filled;
    uint64_t number;
    unsigned char *rows; // `height` rows as stored, undone
};

struct h5_chunks {
    int n_filters;
    H5Z_filter_t filter[H5_FILTERS_MAX];
    size_t shuffle; // bytes of an element
    uint64_t chunk_bytes, row_bytes;
    uint64_t height;       // rows of a band
    unsigned char *stored; // as in the file
    uint64_t stored_room;
    unsigned char *part[2]; // chunk_bytes + SLACK each: filters go from one to the other
    size_t n_bands;
    struct band *band;
};

// ---- filters

// Fletcher's checksum as HDF5 computes it, over big-endian words of 16 bits.
static uint32_t fletcher32(const unsigned char *bytes, size_t n)
{
    uint32_t a = 0, b = 0;
    for (size_t i = 0; i < n / 2; i++) {
        a += (uint32_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
        a = (a & 0xffff) + (a >> 16);
        b += a;
        b = (b & 0xffff) + (b >> 16);
    }
    if (n % 2) {
        a += (uint32_t)(bytes[n - 1] << 8);
        a = (a & 0xffff) + (a >> 16);
        b += a;
        b = (b & 0xffff) + (b >> 16);
    }
    a = (a & 0xffff) + (a >> 16);
    b = (b & 0xffff) + (b >> 16);
    return b << 16 | a;
}

static bool fletcher_check(const unsigned char *in, size_t *n)
{
    if (*n < 4)
        return false;
    *n -= 4;
    const unsigned char *s = in + *n;
    uint32_t stored =
        (uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
    return stored == fletcher32(in, *n);
}

static bool inflate_whole(const unsigned char *in, size_t *n, unsigned char *out, size_t room)
{
    uLongf got = room;
    uLong used = *n;
    bool is_ok = uncompress2(out, &got, in, &used) == Z_OK;
    *n = got;
    return is_ok;
}

// Byte k of every element stands together.
static void unshuffle(const unsigned char *in, size_t n, size_t element, unsigned char *out)
{
    size_t count = n / element;
    for (size_t k = 0; k < element; k++)
        for (size_t i = 0; i < count; i++)
            out[i * element + k] = in[k * count + i];
    memcpy(out + count * element, in + count * element, n - count * element);
}

// Undoes the filters of the n stored bytes, last one first; *out is in `part` or `stored`.
static bool filters_undo(struct h5_chunks *chunks, unsigned skipped, size_t n,
                         const unsigned char **out)
{
    const unsigned char *in = chunks->stored;
    size_t room = chunks->chunk_bytes + SLACK;
    int turn = 0;
    for (int i = chunks->n_filters - 1; i >= 0; i--) {
        bool is_ok = true;
        if (skipped >> i & 1)
            continue;
        if (chunks->filter[i] == H5Z_FILTER_FLETCHER32) {
            is_ok = fletcher_check(in, &n);
        } else if (chunks->filter[i] == H5Z_FILTER_DEFLATE) {
            is_ok = inflate_whole(in, &n, chunks->part[turn], room);
            in = chunks->part[turn];
            turn = !turn;
        } else if (chunks->shuffle > 1) {
            is_ok = n <= room;
            if (is_ok)
                unshuffle(in, n, chunks->shuffle, chunks->part[turn]);
            in = chunks->part[turn];
            turn = !turn;
        }
        if (!is_ok)
            return false;
    }
    *out = in;
    return n == chunks->chunk_bytes;
}

// ---- chunks to bands

static enum status chunk_fail(const struct h5_set *set, const hsize_t *at, const char *why)
{
    FAIL(STATUS_DATA, "%s: the chunk of '%s' that begins with row %llu %s", set->file->path,
         set->name, (unsigned long long)at[0], why);
}

// The undone bytes of the chunk that begins at `at`, borrowed until the next.
static enum status chunk_fetch(struct h5_set *set, const hsize_t *at, const unsigned char **out)
{
    struct h5_chunks *chunks = set->chunks;
    hsize_t bytes = 0;
    unsigned skipped = 0;
    if (H5Dget_chunk_storage_size(set->id, at, &bytes) < 0 || bytes == 0)
        return chunk_fail(set, at, "was never written");
    if (bytes > set->file->bytes)
        return chunk_fail(set, at, "is damaged: it claims more bytes than the file has");
    if (bytes > chunks->stored_room) {
        free(chunks->stored);
        chunks->stored_room = 0;
        TRY(memory_alloc(&chunks->stored, bytes, 1, "stored chunk"));
        chunks->stored_room = bytes;
    }
    if (H5Dread_chunk(set->id, H5P_DEFAULT, at, &skipped, chunks->stored) < 0)
        return chunk_fail(set, at, "cannot be read");
    if (!filters_undo(chunks, skipped, (size_t)bytes, out))
        return chunk_fail(set, at, "is damaged");
    return STATUS_OK;
}

// Copies a chunk to its place in a band, in runs as long as both have together; what stands outside
// the data set's shape is left out.
static void chunk_put(const struct h5_set *set, const hsize_t *at, const unsigned char *in,
                      unsigned char *rows)
{
    const struct h5_info *info = &set->info;
    uint64_t index[H5_RANK_MAX] = {0}, n[H5_RANK_MAX], n_runs = 1;
    uint64_t inner = set->type_bytes; // bytes of one step of dimension `last`
    int last = info->rank - 1;
    for (; last > 0 && info->chunk[last] == info->dim[last]; last--)
        inner *= info->dim[last];
    for (int i = 0; i <= last; i++) {
        uint64_t left = info->dim[i] - at[i];
        n[i] = left < info->chunk[i] ? left : info->chunk[i];
        n_runs *= i < last ? n[i] : 1;
    }
    for (uint64_t run = 0; run < n_runs; run++) {
        uint64_t from = 0, to = 0;
        for (int i = 0; i <= last; i++) {
            from = from * info->chunk[i] + index[i];
            to = i == 0 ? index[0] : to * info->dim[i] + at[i] + index[i];
        }
        memcpy(rows + to * inner, in + from * inner, n[last] * inner);
        for (int i = last - 1; i >= 0 && ++index[i] == n[i]; i--)
            index[i] = 0;
    }
}

static enum status band_fill(struct h5_set *set, uint64_t number, unsigned char *rows)
{
    const struct h5_info *info = &set->info;
    hsize_t at[H5_RANK_MAX] = {number * info->chunk[0]};
    for (;;) {
        const unsigned char *bytes = NULL;
        TRY(chunk_fetch(set, at, &bytes));
        chunk_put(set, at, bytes, rows);
        int i = info->rank - 1;
        for (; i > 0; at[i--] = 0) {
            at[i] += info->chunk[i];
            if (at[i] < info->dim[i])
                break;
        }
        if (i <= 0)
            return STATUS_OK;
    }
}

static enum status band_get(struct h5_set *set, uint64_t number, const unsigned char **rows)
{
    struct h5_chunks *chunks = set->chunks;
    struct band *band = &chunks->band[number % chunks->n_bands];
    if (!band->rows)
        TRY(memory_alloc(&band->rows, chunks->height, chunks->row_bytes, "rows of chunks"));
    if (!band->is_filled || band->number != number) {
        band->is_filled = false;
        TRY(band_fill(set, number, band->rows));
        band->is_filled = true;
        band->number = number;
    }
    *rows = band->rows;
    return STATUS_OK;
}

// ---- set-up

static bool filters_look(struct h5_chunks *chunks, hid_t plist)
{
    unsigned options = 0;
    // Unfiltered chunks at the edges (libver latest, by request only) are left to HDF5.
    if (H5Pget_chunk_opts(plist, &options) >= 0 && options != 0)
        return false;
    chunks->n_filters = H5Pget_nfilters(plist);
    for (int i = 0; i < chunks->n_filters; i++) {
        unsigned flags = 0, values[4] = {0}, config = 0;
        size_t n = 4;
        char name[8];
        chunks->filter[i] =
            H5Pget_filter2(plist, (unsigned)i, &flags, &n, values, sizeof name, name, &config);
        if (chunks->filter[i] == H5Z_FILTER_SHUFFLE)
            chunks->shuffle = n > 0 ? values[0] : 1;
        if (chunks->filter[i] == H5Z_FILTER_SZIP)
            return false;
    }
    return true;
}

// Bands that are kept of `bands` in all.
static size_t bands_kept(uint64_t band_bytes, uint64_t bands)
{
    uint64_t fit = band_bytes ? BANDS_BYTES / band_bytes : 1;
    return (size_t)(fit < 1 ? 1 : fit < bands ? fit : bands);
}

size_t h5_set_cache_bytes(const struct h5_set *set)
{
    const struct h5_info *info = &set->info;
    const struct h5_chunks *chunks = set->chunks;
    if (!chunks || info->dim[0] == 0)
        return 0;
    uint64_t height = info->chunk[0] < info->dim[0] ? info->chunk[0] : info->dim[0];
    uint64_t chunk = set->type_bytes, band = height * set->row_elements * set->type_bytes;
    for (int i = 0; i < info->rank; i++)
        chunk *= info->chunk[i];
    uint64_t n = bands_kept(band, (info->dim[0] + info->chunk[0] - 1) / info->chunk[0]);
    if (!chunks->part[1]) // nothing read yet; a stored chunk is seldom longer than itself
        return n * band + 3 * chunk;
    for (size_t i = 0; i < chunks->n_bands; i++)
        n -= chunks->band[i].rows != NULL;
    return n * band;
}

static enum status chunks_alloc(struct h5_set *set, struct h5_chunks *chunks)
{
    const struct h5_info *info = &set->info;
    chunks->chunk_bytes = set->type_bytes;
    for (int i = 0; i < info->rank; i++)
        chunks->chunk_bytes *= info->chunk[i]; // h5_read.c has checked for overflow
    chunks->row_bytes = set->row_elements * set->type_bytes;
    CHECK(chunks->chunk_bytes / H5_EXPANSION_MAX <= set->file->bytes, STATUS_DATA,
          "%s: '%s' has chunks of %llu bytes, more than a file of %llu can hold", set->file->path,
          set->name, (unsigned long long)chunks->chunk_bytes, (unsigned long long)set->file->bytes);
    chunks->height = info->chunk[0] < info->dim[0] ? info->chunk[0] : info->dim[0];
    uint64_t band = 0, bands = (info->dim[0] + info->chunk[0] - 1) / info->chunk[0];
    CHECK(!__builtin_mul_overflow(chunks->row_bytes, chunks->height, &band) &&
              band <= BAND_BYTES_MAX,
          STATUS_DATA, "%s: '%s' is stored in chunks of %llu rows, of %llu bytes each: too many",
          set->file->path, set->name, (unsigned long long)info->chunk[0],
          (unsigned long long)chunks->row_bytes);
    chunks->n_bands = bands_kept(band, bands);
    TRY(memory_alloc(&chunks->band, chunks->n_bands, sizeof *chunks->band, "bands of chunks"));
    TRY(memory_alloc(&chunks->part[0], chunks->chunk_bytes + SLACK, 1, "chunk"));
    return memory_alloc(&chunks->part[1], chunks->chunk_bytes + SLACK, 1, "chunk");
}

// ---- reading

// n values from the stored type to `as`: in `scratch`, because HDF5 converts in place.
static enum status values_convert(const struct h5_set *set, size_t n, hid_t as,
                                  unsigned char *scratch, const unsigned char *in, void *out,
                                  size_t out_bytes)
{
    memcpy(scratch, in, n * set->type_bytes);
    CHECK(H5Tconvert(set->type, as, n, scratch, NULL, H5P_DEFAULT) >= 0, STATUS_DATA,
          "%s: cannot convert '%s' (HDF5: %s)", set->file->path, set->name, h5_reason());
    memcpy(out, scratch, n * out_bytes);
    return STATUS_OK;
}

#define CONVERT_VALUES ((uint64_t)4096)

static enum status rows_put(const struct h5_set *set, uint64_t n, enum h5_type as,
                            const unsigned char *in, unsigned char *out)
{
    unsigned char scratch[CONVERT_VALUES * 8];
    size_t bytes = h5_type_bytes(as);
    if (set->is_native && as == set->info.type) {
        memcpy(out, in, n * bytes);
        return STATUS_OK;
    }
    for (uint64_t i = 0; i < n; i += CONVERT_VALUES) {
        uint64_t part = n - i < CONVERT_VALUES ? n - i : CONVERT_VALUES;
        TRY(values_convert(set, part, h5_native(as), scratch, in + i * set->type_bytes,
                           out + i * bytes, bytes));
    }
    return STATUS_OK;
}

enum status h5_chunks_read(struct h5_set *set, uint64_t first, uint64_t count, enum h5_type as,
                           void *out)
{
    uint64_t height = set->info.chunk[0];
    unsigned char *to = out;
    if (!set->chunks->part[1])
        TRY(chunks_alloc(set, set->chunks));
    while (count > 0) {
        const unsigned char *rows = NULL;
        uint64_t inside = first % height;
        uint64_t n = height - inside < count ? height - inside : count;
        TRY(band_get(set, first / height, &rows));
        TRY(rows_put(set, n * set->row_elements, as, rows + inside * set->chunks->row_bytes, to));
        to += n * set->row_elements * h5_type_bytes(as);
        first += n;
        count -= n;
    }
    return STATUS_OK;
}

#define PROBES_MAX ((uint64_t)1 << 16)

enum status h5_chunks_probe(struct h5_set *set)
{
    const struct h5_info *info = &set->info;
    uint64_t count = 1, along[H5_RANK_MAX];
    for (int i = 0; i < info->rank; i++) {
        along[i] = info->dim[i] / info->chunk[i] + (info->dim[i] % info->chunk[i] > 0);
        if (__builtin_mul_overflow(count, along[i], &count))
            count = UINT64_MAX;
    }
    uint64_t n = count < PROBES_MAX ? count : PROBES_MAX;
    for (uint64_t k = 0; k < n; k++) {
        hsize_t at[H5_RANK_MAX] = {0}, bytes = 0;
        uint64_t number = (uint64_t)((unsigned __int128)count * k / n);
        for (int i = info->rank - 1; i >= 0; number /= along[i--])
            at[i] = number % along[i] * info->chunk[i];
        if (H5Dget_chunk_storage_size(set->id, at, &bytes) < 0)
            return chunk_fail(set, at, "cannot be found");
    }
    return STATUS_OK;
}

enum status h5_chunks_init(struct h5_set *set, hid_t plist)
{
    struct h5_chunks *chunks = NULL;
    TRY(memory_alloc(&chunks, 1, sizeof *chunks, "chunks"));
    if (!filters_look(chunks, plist)) {
        free(chunks);
        return STATUS_OK;
    }
    set->chunks = chunks;
    return STATUS_OK;
}

void h5_chunks_free(struct h5_chunks *chunks)
{
    if (!chunks)
        return;
    for (size_t i = 0; chunks->band && i < chunks->n_bands; i++)
        free(chunks->band[i].rows);
    free(chunks->band);
    free(chunks->part[0]);
    free(chunks->part[1]);
    free(chunks->stored);
    free(chunks);
}
