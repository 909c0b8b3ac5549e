/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of a revoked batch: all that its manifest names goes, and never anything else. */
#include "daemon/discard.h"

#include "daemon/manifest.h"
#include "tests/unit/aep_rig.h"

#define MANIFEST "p/web/_sluice/manifests/B.json"
#define FILES    20

struct bench {
    struct rig rig;
    struct s3_credentials credentials;
    struct s3_options s3;
    struct settings settings;
    struct dataset_settings dataset;
    struct core core;
    struct discard discard;
    int dones;
};

static void on_done(struct discard *discard)
{
    container_of(discard, struct bench, discard)->dones++;
}

static void bench_start(struct bench *bench)
{
    *bench = (struct bench){
        .credentials = { .access_key = (char *)"AK",
                         .secret_key = { (struct secret_bytes *)(char *)"SK", 2 } },
        .settings.s3 = { .bucket = (char *)"lake", .prefix = (char *)"p/" },
        .dataset = { .id = (char *)"5f", .as = (char *)"web" },
    };
    rig_start(&bench->rig);
    bench->s3 = (struct s3_options){ .endpoint = bench->rig.url,
                                     .region = "us-east-1",
                                     .bucket = "lake",
                                     .path_style = true,
                                     .credentials = &bench->credentials };
    struct http_options http = { .plain_http = true,
                                 .max_connections = 4,
                                 .connect_timeout_ms = 5000 };
    bench->core = (struct core){ .loop = bench->rig.loop, .settings = &bench->settings };
    bench->core.uploader = uploader_new(bench->rig.loop, 1, &bench->s3, &http);
    bench->discard = (struct discard){ .core = &bench->core,
                                       .dataset = &bench->dataset,
                                       .batch = "B",
                                       .manifest_key = MANIFEST,
                                       .done = on_done };
}

static void bench_stop(struct bench *bench)
{
    discard_release(&bench->discard);
    uploader_free(bench->core.uploader);
    rig_stop(&bench->rig);
}

static char *manifest_of(const char *batch, const char *folder, int files, int64_t generation)
{
    struct buf out = BUF_INIT(1 << 20);
    char *row[FILES];
    int64_t bytes;
    for (int i = 0; i < files; i++) {
        struct buf text = BUF_INIT(4096);
        AUTO_TEXT char *key = mem_print("%s/f%02d", folder, i);
        manifest_row(
            &(struct manifest_file){
                .bucket = "lake", .key = key, .file_id = "F", .name = key, .size = 1 },
            &text);
        row[i] = buf_take(&text);
    }
    struct manifest_head head = {
        .batch = batch, .dataset = "5f", .sandbox = "prod", .generation = generation
    };
    assert_int_equal(manifest_build(&head, (const char **)row, (size_t)files, &out, &bytes),
                     OK);
    for (int i = 0; i < files; i++)
        mem_free(row[i]);
    return buf_take(&out);
}

/* Reads `manifest` at `key`, runs to the end, and says how. */
static enum err run(struct bench *bench, const char *key, char *manifest)
{
    AUTO_TEXT char *match = mem_print("GET /lake/%s", key);
    bench->discard.manifest_key = key;
    bench->dones = 0;
    rig_answer(&bench->rig, match, 1, "200 OK", "", manifest);
    mem_free(manifest);
    discard_start(&bench->discard);
    assert_int_equal(bench->dones, 0); /* never from inside */
    SPIN(&bench->rig, bench->dones > 0);
    rig_turn_for(&bench->rig, 20);
    assert_int_equal(bench->dones, 1);
    print_message("%s\n", bench->discard.fault.text);
    return bench->discard.fault.code;
}

static void all_that_it_names_is_deleted(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    rig_answer(&bench.rig, "DELETE /lake/p/web/d/f00", 1, "404 Not Found", "",
               "<Error><Code>NoSuchKey</Code></Error>");
    rig_answer(&bench.rig, "DELETE /lake/p/web/d/f", ALWAYS, "204 No Content", "", "");
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "p/web/d", FILES, 1)), OK);
    assert_int_equal(bench.discard.deleted, FILES);
    assert_int_equal(rig_count(&bench.rig, "DELETE /lake/p/web/d/f"), FILES);
    assert_int_equal(rig_count(&bench.rig, "DELETE "), FILES); /* the manifest stays */
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "p/web/d", 0, 1)), OK);
    assert_int_equal(bench.discard.deleted, 0);
    bench_stop(&bench);
}

static void a_generation_is_deleted_by_its_own_manifest(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    rig_answer(&bench.rig, "DELETE /lake/p/web/_generation%3D7/f", ALWAYS, "204 No Content", "",
               "");
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "p/web/_generation=7", 2, 1)),
                     ERR_DIFFERS);
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "p/web/_generation=7", 2, 7)),
                     ERR_DIFFERS);
    assert_int_equal(rig_count(&bench.rig, "DELETE "), 0);
    rig_answer(&bench.rig, "GET /lake/p/web/_generation%3D7/", 1, "404 Not Found", "", "");
    AUTO_TEXT char *manifest = manifest_of("B", "p/web/_generation=7", 2, 7);
    rig_answer(&bench.rig, "GET /lake/p/web/_generation%3D7/", 1, "200 OK", "", manifest);
    bench.discard.manifest_key = "p/web/_generation=7/B.json";
    discard_start(&bench.discard);
    SPIN(&bench.rig, bench.dones == 2);
    assert_int_equal(bench.discard.fault.code, ERR_NOT_FOUND);
    discard_start(&bench.discard);
    SPIN(&bench.rig, bench.dones == 3);
    assert_int_equal(bench.discard.fault.code, OK);
    assert_int_equal(bench.discard.deleted, 2);
    bench_stop(&bench);
}

static void nothing_is_deleted_by_a_wrong_manifest(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    assert_int_equal(run(&bench, MANIFEST, manifest_of("C", "p/web/d", 2, 1)), ERR_DIFFERS);
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "q/web/d", 2, 1)), ERR_DIFFERS);
    bench.dataset.id = (char *)"6e";
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "p/web/d", 2, 1)), ERR_DIFFERS);
    assert_int_equal(run(&bench, MANIFEST, mem_copy_text("{}")), ERR_DIFFERS);
    bench.dataset.id = (char *)"5f";
    bench.settings.s3.bucket = (char *)"other";
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "p/web/d", 2, 1)), ERR_DIFFERS);
    assert_int_equal(rig_count(&bench.rig, "DELETE "), 0);
    bench_stop(&bench);
}

static void the_first_fault_ends_it(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    rig_answer(&bench.rig, "DELETE /lake/p/web/d/f", ALWAYS, "403 Forbidden", "",
               "<Error><Code>AccessDenied</Code></Error>");
    assert_int_equal(run(&bench, MANIFEST, manifest_of("B", "p/web/d", FILES, 1)), ERR_DENIED);
    assert_non_null(strstr(bench.discard.fault.text, "grant s3:DeleteObject"));
    assert_in_range(rig_count(&bench.rig, "DELETE "), 1, DISCARD_SLOTS);
    bench_stop(&bench);
}

static void it_can_be_cancelled(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    AUTO_TEXT char *manifest = manifest_of("B", "p/web/d", FILES, 1);
    discard_cancel(&bench.discard); /* not running */
    rig_answer(&bench.rig, "GET ", 1, "200 OK", "", manifest);
    rig_script(&bench.rig, "DELETE ", ALWAYS, HANG);
    discard_start(&bench.discard);
    for (int i = 0; i < 2000 && rig_count(&bench.rig, "DELETE ") == 0; i++)
        rig_turn_for(&bench.rig, 5); /* nothing of it wakes our loop */
    discard_cancel(&bench.discard);
    discard_cancel(&bench.discard);
    SPIN(&bench.rig, bench.dones == 1);
    assert_int_equal(bench.discard.fault.code, ERR_CANCELLED);
    discard_cancel(&bench.discard);
    rig_turn_for(&bench.rig, 20);
    assert_int_equal(bench.dones, 1);
    bench_stop(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_it_names_is_deleted),
        cmocka_unit_test(a_generation_is_deleted_by_its_own_manifest),
        cmocka_unit_test(nothing_is_deleted_by_a_wrong_manifest),
        cmocka_unit_test(the_first_fault_ends_it),
        cmocka_unit_test(it_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
