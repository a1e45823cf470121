// SPDX-License-Identifier: MIT
// Owns: rows of sources to the groups /train and /test of a new HDF5 file, in blocks: images,
// labels, statistics, class names, digest. Called by import.c and by sw2-data generate.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "comm/memory.h"
#include "data/dataset_seal.h"
#include "data/guard.h"
#include "data/import_private.h"
#include "data/row_digest.h"

enum { BLOCK_BYTES = 4 << 20, BLOCK_ROWS_MAX = 4096, ATTRIBUTE_BYTES_MAX = 60000 };

// A group being written.
struct side {
    const char *group; // "/train"
    uint64_t n_rows;
    struct h5_set *images, *labels;
    uint8_t *inputs, *targets; // a block of rows that wait: [first, first + count)
    uint64_t first, count;
    struct row_digest digest;
    uint64_t *row_digests; // (n_rows), of the seal
};

struct writer {
    struct h5 *file;
    struct side side[2]; // train, test
    struct sample_shape shape;
    struct target_shape target;
    bool is_u8;
    size_t input_bytes, target_bytes; // of one row
    uint64_t block;                   // rows
    struct import_stats stats;        // of /train
    const struct import_progress *progress;
    uint64_t done, total;
};

enum status import_tick(const struct import_progress *progress, const char *what, uint64_t done,
                        uint64_t total)
{
    guard_alive();
    return progress->call ? progress->call(progress->context, what, done, total) : STATUS_OK;
}

static enum status side_begin(struct writer *writer, struct side *side)
{
    char name[64];
    uint64_t dim[4] = {side->n_rows, writer->shape.h, writer->shape.w, writer->shape.c};
    uint64_t label_dim[2] = {side->n_rows, writer->target.count};
    bool is_class = writer->target.type == TARGET_CLASS;
    snprintf(name, sizeof name, "%s/images", side->group);
    TRY(h5_create_set(writer->file, name, writer->is_u8 ? H5_U8 : H5_F32, 4, dim, &side->images));
    snprintf(name, sizeof name, "%s/labels", side->group);
    TRY(h5_create_set(writer->file, name, is_class ? H5_I64 : H5_F32, is_class ? 1 : 2, label_dim,
                      &side->labels));
    TRY(memory_alloc(&side->row_digests, side->n_rows, sizeof(uint64_t), "digests of rows"));
    TRY(memory_alloc(&side->inputs, writer->block, writer->input_bytes, "block of rows"));
    return memory_alloc(&side->targets, writer->block, writer->target_bytes, "block of targets");
}

static void side_end(struct side *side)
{
    h5_set_close(side->images);
    h5_set_close(side->labels);
    free(side->inputs);
    free(side->targets);
    free(side->row_digests);
    *side = (struct side){.group = side->group};
}

static enum status side_flush(struct writer *writer, struct side *side)
{
    if (side->count == 0)
        return STATUS_OK;
    TRY(h5_set_write(side->images, side->first, side->count, writer->is_u8 ? H5_U8 : H5_F32,
                     side->inputs));
    TRY(h5_set_write(side->labels, side->first, side->count,
                     writer->target.type == TARGET_CLASS ? H5_I64 : H5_F32, side->targets));
    side->count = 0;
    return STATUS_OK;
}

// Source row `row` becomes row `place` of a side.
static enum status pour_row(struct writer *writer, struct import_source *source, uint64_t row,
                            struct side *side, uint64_t place)
{
    guard_alive();
    if (side->count > 0 && (side->count == writer->block || side->first + side->count != place))
        TRY(side_flush(writer, side));
    if (side->count == 0)
        side->first = place;
    uint8_t *input = side->inputs + side->count * writer->input_bytes;
    uint8_t *target = side->targets + side->count * writer->target_bytes;
    if (source->labels) {
        int64_t label = source->labels[row];
        memcpy(target, &label, sizeof label);
        TRY(source->read(source, row, input, NULL));
    } else {
        TRY(source->read(source, row, input, (float *)(void *)target));
    }
    side->count++;
    side->row_digests[place] = seal_row(place, input, writer->input_bytes);
    row_digest_add(&side->digest, place, input, writer->input_bytes, target, writer->target_bytes);
    if (side == &writer->side[0])
        import_stats_add(&writer->stats, input, writer->shape.h * writer->shape.w);
    return STATUS_OK;
}

// All rows of a source: in the source's order where that is much faster, else in the file's.
static enum status pour(struct writer *writer, struct import_source *source,
                        const struct import_order *order)
{
    uint64_t n = order->n_train + order->n_test, tick = writer->block < 256 ? writer->block : 256;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t row = source->is_sequential ? i : order->row[i];
        uint64_t place = source->is_sequential ? order->place[i] : i;
        bool is_test = place >= order->n_train;
        if (writer->done++ % tick == 0)
            TRY(import_tick(writer->progress, "writing rows", writer->done - 1, writer->total));
        TRY(pour_row(writer, source, row, &writer->side[is_test],
                     is_test ? place - order->n_train : place));
    }
    TRY(side_flush(writer, &writer->side[0]));
    return side_flush(writer, &writer->side[1]);
}

static enum status write_attributes(struct writer *writer, const struct import_source *train,
                                    const struct import_config *config, struct side *side,
                                    const double *mean, const double *deviation, char hex[33])
{
    struct h5 *file = writer->file;
    size_t c = writer->shape.c, n_classes = writer->target.n_classes;
    char text[64];
    TRY(row_digest_end(&side->digest, side->n_rows, writer->shape, writer->is_u8, writer->target,
                       hex));
    snprintf(text, sizeof text, ROW_DIGEST_PREFIX "%s", hex);
    TRY(h5_attr_write_text(file, side->group, "digest", text));
    TRY(h5_attr_write_text(file, side->group, "layout", "nhwc"));
    if (config->source)
        TRY(h5_attr_write_text(file, side->group, "source", config->source));
    if (config->licence)
        TRY(h5_attr_write_text(file, side->group, "licence", config->licence));
    if (c * sizeof *mean <= ATTRIBUTE_BYTES_MAX) { // HDF5's bound of an attribute is 64 KiB
        TRY(h5_attr_write(file, side->group, "mean", H5_F64, c, mean));
        TRY(h5_attr_write(file, side->group, "std", H5_F64, c, deviation));
    }
    if (train->classes && n_classes * 16 <= ATTRIBUTE_BYTES_MAX)
        TRY(h5_attr_write_texts(file, side->group, "classes", n_classes,
                                (const char *const *)train->classes));
    return seal_group(file, side->group, side->row_digests, side->n_rows);
}

static enum status write_all_attributes(struct writer *writer, const struct import_source *train,
                                        const struct import_config *config,
                                        struct import_report *report)
{
    char hex[33];
    double *stats = NULL;
    size_t c = writer->shape.c;
    TRY(memory_alloc(&stats, 2 * c, sizeof *stats, "statistics"));
    import_stats_end(&writer->stats, stats, stats + c);
    enum status status =
        write_attributes(writer, train, config, &writer->side[0], stats, stats + c, report->digest);
    if (status == STATUS_OK && writer->side[1].n_rows > 0)
        status = write_attributes(writer, train, config, &writer->side[1], stats, stats + c, hex);
    free(stats);
    return status;
}

// Says so before hours of work when the disk cannot hold the file.
static enum status check_room(const struct writer *writer, const char *out)
{
    char folder[4096];
    const char *slash = strrchr(out, '/');
    int n = slash == out ? 1 : slash ? (int)(slash - out) : 1;
    CHECK(n < (int)sizeof folder, STATUS_ERROR, "%s: the path is too long", out);
    snprintf(folder, sizeof folder, "%.*s", n, slash ? out : ".");
    struct statvfs info;
    if (statvfs(folder, &info) != 0)
        return STATUS_OK; // h5_create will say why
    uint64_t room = (uint64_t)info.f_bavail * info.f_frsize;
    uint64_t need = writer->total * (writer->input_bytes + writer->target_bytes);
    CHECK(need <= room, STATUS_ERROR,
          "cannot write %s: needs %" PRIu64 " MiB, but %s has %" PRIu64 " MiB free", out,
          (need >> 20) + 1, folder, room >> 20);
    return STATUS_OK;
}

static enum status writer_init(struct writer *writer, const struct import_source *train,
                               const struct import_config *config)
{
    writer->shape = train->shape;
    writer->target = train->target;
    writer->is_u8 = train->is_u8;
    writer->progress = &config->options.progress;
    size_t bytes = writer->is_u8 ? 1 : sizeof(float);
    bool is_huge = __builtin_mul_overflow(bytes, train->shape.h, &bytes) ||
                   __builtin_mul_overflow(bytes, train->shape.w, &bytes) ||
                   __builtin_mul_overflow(bytes, train->shape.c, &bytes);
    CHECK(!is_huge && bytes > 0 && bytes <= IMPORT_ROW_BYTES_MAX, STATUS_DATA,
          "a row of %zux%zux%zu is more than %zu MiB", train->shape.h, train->shape.w,
          train->shape.c, (size_t)IMPORT_ROW_BYTES_MAX >> 20);
    writer->input_bytes = bytes;
    writer->target_bytes = train->target.count *
                           (train->target.type == TARGET_CLASS ? sizeof(int64_t) : sizeof(float));
    writer->block = BLOCK_BYTES / bytes;
    if (writer->block > BLOCK_ROWS_MAX)
        writer->block = BLOCK_ROWS_MAX;
    if (writer->block == 0)
        writer->block = 1;
    return import_stats_init(&writer->stats, writer->shape.c, writer->is_u8);
}

static enum status write_file(struct writer *writer, struct import_source *train,
                              struct import_source *test, const struct import_order orders[2],
                              const struct import_config *config, struct import_report *report)
{
    writer->side[0] = (struct side){.group = "/train", .n_rows = orders[0].n_train};
    writer->side[1] =
        (struct side){.group = "/test", .n_rows = orders[0].n_test + orders[1].n_test};
    writer->total = writer->side[0].n_rows + writer->side[1].n_rows;
    report->n_train = writer->side[0].n_rows;
    report->n_test = writer->side[1].n_rows;
    TRY(check_room(writer, config->out));
    TRY(h5_create(&writer->file, config->out));
    TRY(side_begin(writer, &writer->side[0]));
    if (writer->side[1].n_rows > 0)
        TRY(side_begin(writer, &writer->side[1]));
    TRY(pour(writer, train, &orders[0]));
    if (test)
        TRY(pour(writer, test, &orders[1]));
    TRY(write_all_attributes(writer, train, config, report));
    TRY(import_tick(writer->progress, "writing rows", writer->total, writer->total));
    if (writer->stats.n_not_finite > 0)
        TRY(import_note(train,
                        "%" PRIu64 " values of /train are NaN or infinite (sw2-data check"
                        " names them); mean and std leave them out",
                        writer->stats.n_not_finite));
    side_end(&writer->side[0]);
    side_end(&writer->side[1]);
    struct h5 *file = writer->file;
    writer->file = NULL;
    return h5_commit(file);
}

enum status import_write(struct import_source *train, struct import_source *test,
                         const struct import_config *config, struct import_report *report)
{
    struct writer writer = {0};
    struct import_order orders[2] = {0};
    enum status status = writer_init(&writer, train, config);
    if (status == STATUS_OK)
        status = import_order_init(&orders[0], train, config, false);
    if (status == STATUS_OK && test)
        status = import_order_init(&orders[1], test, config, true);
    if (status == STATUS_OK)
        status = write_file(&writer, train, test, orders, config, report);
    side_end(&writer.side[0]);
    side_end(&writer.side[1]);
    h5_close(writer.file);
    import_stats_free(&writer.stats);
    import_order_free(&orders[0]);
    import_order_free(&orders[1]);
    report->shape = train->shape;
    report->is_u8 = train->is_u8;
    report->target = train->target;
    return status;
}
