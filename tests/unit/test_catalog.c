/* SPDX-License-Identifier: Apache-2.0 */
/* Catalog: what batches are and in what state, odd and damaged pages, and the requests made. */
#include "lib/aep/catalog.h"

#include "tests/unit/aep_rig.h"

#define DATASET "5c6f221d9ac7b5151ca8f3f7"

static const char page[] =
    "{\"01B\":{\"id\":\"01B\",\"created\":2000,\"updated\":\"2500\",\"status\":\"success\","
    "\"relatedObjects\":[{\"type\":\"batch\",\"id\":\"01B\"},"
    "{\"type\":\"dataSet\",\"id\":\"" DATASET "\"}],"
    "\"metrics\":{\"outputFileCount\":3,\"outputRecordCount\":\"17\",\"inputFileCount\":-1},"
    "\"replay\":{},\"tags\":{\"acp_partialIngestionPercent\":5},\"errors\":[]},"
    "\"01A\":{\"created\":\"2000\",\"status\":\"staging\"},"
    "\"00Z\":{\"created\":2001,\"status\":\"inactive\",\"metrics\":null},"
    "\"0FF\":{\"created\":1,\"status\":\"failure\",\"updated\":[],\"relatedObjects\":"
    "[{\"type\":\"dataSet\",\"id\":\"other\"}]}}";

static struct batch_info *parse(const char *body, size_t *count)
{
    struct batch_info *batches = NULL;
    struct fault fault = { 0 };
    assert_int_equal(
        catalog_parse_batches(body, strlen(body), DATASET, &batches, count, &fault), OK);
    return batches;
}

static struct batch_info parse_one(const char *id, const char *members)
{
    size_t count = 0;
    AUTO_TEXT char *body = mem_print("{\"%s\":{\"created\":1,%s}}", id, members);
    struct batch_info *batches = parse(body, &count), batch;
    assert_int_equal(count, 1);
    batch = batches[0];
    mem_free(batches);
    return batch;
}

static void page_is_sorted_by_created_and_id(void **state)
{
    (void)state;
    static const char *const expected[] = { "0FF", "01A", "01B", "00Z" };
    size_t count = 0;
    struct batch_info *batches = parse(page, &count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(batches[i].id, expected[i]);
    mem_free(batches);
}

static void members_are_read(void **state)
{
    (void)state;
    size_t count = 0;
    struct batch_info *batches = parse(page, &count), *lake = &batches[2];
    assert_int_equal(lake->created, 2000);
    assert_int_equal(lake->updated, 2500);
    assert_string_equal(lake->status, "success");
    assert_int_equal(lake->state, BATCH_READABLE);
    assert_int_equal(lake->class, BATCH_LAKE);
    assert_int_equal(lake->output_files, 3);
    assert_int_equal(lake->output_records, 17);
    assert_false(lake->other_dataset);
    mem_free(batches);
}

static void missing_and_strange_members_are_tolerated(void **state)
{
    (void)state;
    size_t count = 0;
    struct batch_info *batches = parse(page, &count);
    assert_int_equal(batches[0].updated, 1); /* an array: as if never touched */
    assert_true(batches[0].other_dataset);
    assert_int_equal(batches[1].output_files, -1);
    assert_false(batches[1].other_dataset);
    mem_free(batches);

    struct batch_info odd = parse_one("X", "\"status\":7,\"metrics\":[1],\"replay\":\"no\","
                                           "\"relatedObjects\":{\"type\":\"batch\"}");
    assert_int_equal(odd.state, BATCH_OPEN);
    assert_int_equal(odd.class, BATCH_LAKE);
    assert_string_equal(odd.status, "");
    odd = parse_one("X", "\"status\":\"a\\u0007bcdefghijklmnopqrstuvwxyz\","
                         "\"metrics\":{\"outputFileCount\":-1,\"outputRecordCount\":1.5}");
    assert_string_equal(odd.status, "a?bcdefghijklmnopqrstuv");
    assert_int_equal(odd.output_files, -1);
    assert_int_equal(odd.output_records, -1);
}

static void states_follow_the_table(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        enum batch_state state;
    } row[] = {
        { "loading", BATCH_OPEN },
        { "loaded", BATCH_OPEN },
        { "queued", BATCH_OPEN },
        { "processing", BATCH_OPEN },
        { "staging", BATCH_OPEN },
        { "staged", BATCH_OPEN },
        { "retrying", BATCH_OPEN },
        { "stalled", BATCH_STALLED },
        { "success", BATCH_READABLE },
        { "active", BATCH_READABLE },
        { "failed", BATCH_FAILED },
        { "failure", BATCH_FAILED },
        { "aborted", BATCH_DROPPED },
        { "abandoned", BATCH_DROPPED },
        { "inactive", BATCH_WITHDRAWN },
        { "deleted", BATCH_WITHDRAWN },
        { "archived", BATCH_WITHDRAWN },
        { "retained", BATCH_WITHDRAWN },
        { "", BATCH_OPEN },
        { "succes", BATCH_OPEN },
        { "successful", BATCH_OPEN },
        { "reheating", BATCH_OPEN },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(catalog_state(row[i].status), row[i].state);
}

static void ids_are_safe_in_a_path(void **state)
{
    (void)state;
    char longest[CATALOG_ID_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[CATALOG_ID_MAX + 1] = 0;
    assert_false(catalog_id_valid(longest));
    longest[CATALOG_ID_MAX] = 0;
    assert_true(catalog_id_valid(longest));
    assert_true(catalog_id_valid("01H-ORG@AdobeOrg-1:2_x.y-INGEST"));
    static const char *const bad[] = { "",     ".",    "..",       "a/b", "a%2fb", "a b",
                                       "a\nb", "a?b=", "\xc3\xa9", "a&b", "a#b",   "a\\b" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(catalog_id_valid(bad[i]));
}

static void classes_follow_the_table(void **state)
{
    (void)state;
    static const char parent[] = "{\"type\":\"batch\",\"id\":\"P\"}";
    static const char self[] = "{\"type\":\"batch\",\"id\":\"X\"}";
    static const struct {
        const char *id, *related, *metrics, *replay;
        enum batch_class class;
    } row[] = {
        { "X", self, "\"recordsWritten\":1", "", BATCH_LAKE },
        { "X", parent, "\"outputRecordCount\":1", "", BATCH_LAKE },
        { "X", parent, "\"recordsWritten\":0", "", BATCH_SUB },
        { "X", parent, "\"startTime\":1", "", BATCH_SUB },
        { "X-ORG-SB-DS-INGEST", self, "", "", BATCH_SUB },
        { "INGEST", self, "", "", BATCH_LAKE },
        { "-INGEST", self, "", "", BATCH_LAKE },
        { "X", self, "", "\"reason\":\"consolidation\",\"predecessors\":[\"a\"]",
          BATCH_CONSOLIDATION },
        { "X", self, "", "\"reason\":\"consolidation\"", BATCH_CONSOLIDATION },
        { "X", self, "", "\"reason\":\"replace\",\"predecessors\":[\"a\",\"b\"]",
          BATCH_REPLACEMENT },
        { "X", self, "", "\"predecessorsByExternalId\":[\"a\"]", BATCH_REPLACEMENT },
        { "X", self, "", "\"reason\":\"replace\",\"predecessors\":[]", BATCH_LAKE },
        { "X", parent, "\"startTime\":1", "\"reason\":\"consolidation\"", BATCH_SUB },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        AUTO_TEXT char *members =
            mem_print("\"relatedObjects\":[7,%s],\"metrics\":{%s},\"replay\":{%s}",
                      row[i].related, row[i].metrics, row[i].replay);
        assert_int_equal(parse_one(row[i].id, members).class, row[i].class);
    }
}

static const char lineage[] =
    "{\"01C\":{\"created\":7,\"status\":\"success\",\"failedRecordCount\":3,\"replay\":{"
    "\"predecessors\":[\"01A\",\"../x\",5,\"\",\"01B\"],\"predecessorsByExternalId\":"
    "[\"my file.csv\",{}],\"reason\":\"compaction\"},\"tags\":{\"acp_successor\":\"01D\"}},"
    "\"01A\":{\"created\":5,\"status\":\"inactive\",\"metrics\":{\"failedRecordCount\":9},"
    "\"tags\":{\"acp_successor\":[\"01C\",\"x\"]},\"replay\":{\"predecessors\":\"01B\"}},"
    "\"01B\":{\"created\":6,\"tags\":{\"acp_successor\":[\"a b\"]},\"replay\":null}}";

static void lineage_is_read(void **state)
{
    (void)state;
    size_t count = 0;
    struct batch_info *batches = parse(lineage, &count), *last = &batches[2];
    assert_int_equal(count, 3);
    assert_int_equal(last->class, BATCH_CONSOLIDATION);
    assert_int_equal(last->failed_records, 3);
    assert_int_equal(last->predecessors.count, 2); /* what can be no id is left out */
    assert_string_equal(last->predecessors.first, "01A");
    assert_string_equal(catalog_names_next(last->predecessors.first), "01B");
    assert_int_equal(last->externals.count, 1);
    assert_string_equal(last->externals.first, "my file.csv");
    assert_string_equal(last->reason, "compaction");
    assert_string_equal(last->successor, "01D"); /* a bare text, and a list: */
    assert_string_equal(batches[0].successor, "01C");
    assert_int_equal(batches[0].failed_records, 9);
    assert_int_equal(batches[0].class, BATCH_LAKE);
    assert_int_equal(batches[0].predecessors.count, 0);
    assert_null(batches[1].successor);
    assert_null(batches[1].reason);
    assert_int_equal(batches[1].failed_records, -1);
    mem_free(batches);
}

static void pages_without_identity_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "null",
        "{\"A\":{}}",
        "{\"A\":null}",
        "{\"A\":[]}",
        "{\"A\":{\"created\":null}}",
        "{\"A\":{\"created\":-1}}",
        "{\"A\":{\"created\":1.5}}",
        "{\"A\":{\"created\":\"1x\"}}",
        "{\"A\":{\"created\":true}}",
        "{\"A\":{\"created\":253402300800000}}",
        "{\"A\":{\"created\":99999999999999999999}}",
        "{\"A\":{\"created\":1,\"id\":\"B\"}}",
        "{\"A\":{\"created\":1,\"id\":7}}",
        "{\"\":{\"created\":1}}",
        "{\"a/b\":{\"created\":1}}",
        "{\"..\":{\"created\":1}}",
        "{\"A\":{\"created\":1},\"A\":{\"created\":1}}",
        "{\"A\":{\"created\":1}",
        "{\"good\":{\"created\":1},\"bad\":{}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct batch_info *batches = NULL;
        struct fault fault = { 0 };
        size_t count = 77;
        enum err err =
            catalog_parse_batches(bad[i], strlen(bad[i]), DATASET, &batches, &count, &fault);
        assert_int_equal(err, ERR_BAD_RESPONSE);
        assert_int_equal(fault.code, err);
        assert_true(fault.text[0] != 0);
        assert_null(batches);
        assert_int_equal(count, 77);
    }
}

static void parse_damaged(const char *body, size_t len)
{
    struct batch_info *batches = NULL;
    struct fault fault = { 0 };
    size_t count = 0;
    if (catalog_parse_batches(body, len, DATASET, &batches, &count, &fault)) {
        assert_true(fault.code == ERR_BAD_RESPONSE);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(catalog_id_valid(batches[i].id));
        assert_true(batches[i].created >= 0 && batches[i].updated >= 0);
        assert_true(i == 0 || batches[i - 1].created <= batches[i].created);
        const char *name = batches[i].predecessors.first;
        for (size_t j = 0; j < batches[i].predecessors.count; j++)
            assert_true(catalog_id_valid(name) && (name = catalog_names_next(name)));
    }
    mem_free(batches);
}

static void damaged_pages_are_survived(void **state)
{
    (void)state;
    damage_each(page, 5000, parse_damaged);
    damage_each(lineage, 5000, parse_damaged);
}

/* ---- requests */

static int lists_done;

static void on_list(struct catalog_list *list)
{
    (void)list;
    lists_done++;
}

static void run(struct rig *rig, struct catalog_list *list)
{
    lists_done = 0;
    list->done = on_list;
    catalog_start(rig->aep, list);
    assert_int_equal(lists_done, 0);
    SPIN(rig, lists_done > 0);
    assert_int_equal(lists_done, 1);
}

static void windows_and_instants_are_asked_for(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    rig_token(&rig, ALWAYS, "T", "86399");
    rig_answer(&rig, "GET ", ALWAYS, "200 OK", "", page);
    struct catalog_list list = { .dataset = "d&x", .from = 1000, .to = 3000 };
    run(&rig, &list);
    assert_int_equal(list.fault.code, OK);
    assert_int_equal(list.count, 4);
    catalog_release(&list);
    assert_null(list.batches);
    list = (struct catalog_list){ .dataset = DATASET, .from = 2000, .to = 2001, .start = 200 };
    run(&rig, &list);
    catalog_release(&list);
    list = (struct catalog_list){ .dataset = DATASET, .from = 0, .to = 5 };
    run(&rig, &list);
    catalog_release(&list);
    assert_int_equal(rig_count(&rig, "GET /data/foundation/catalog/batches?dataSet=d%26x"
                                     "&createdAfter=999&createdBefore=3000"
                                     "&orderBy=asc:created&limit=100 "),
                     1);
    assert_int_equal(
        rig_count(&rig, "batches?dataSet=" DATASET "&created=2000&start=200&limit=100 "), 1);
    assert_int_equal(rig_count(&rig, "batches?dataSet=" DATASET
                                     "&createdBefore=5&orderBy=asc:created&limit=100 "),
                     1);
    rig_stop(&rig);
}

static void changes_and_the_newest_are_asked_for(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    rig_token(&rig, ALWAYS, "T", "86399");
    rig_answer(&rig, "GET ", ALWAYS, "200 OK", "", page);
    struct catalog_list list = {
        .dataset = DATASET, .query = CATALOG_CHANGED, .start = 90, .limit = 7
    };
    run(&rig, &list);
    catalog_release(&list);
    list = (struct catalog_list){ .dataset = DATASET, .query = CATALOG_NEWEST, .limit = 1 };
    run(&rig, &list);
    catalog_release(&list);
    list = (struct catalog_list){
        .dataset = DATASET, .query = CATALOG_NEWEST, .from = 5, .to = 9, .limit = 2
    };
    run(&rig, &list);
    catalog_release(&list);
    list = (struct catalog_list){ .dataset = DATASET, .from = 5, .to = 9, .limit = 3 };
    run(&rig, &list);
    catalog_release(&list);
    assert_int_equal(
        rig_count(&rig, "batches?dataSet=" DATASET "&orderBy=desc:updated&start=90&limit=7 "),
        1);
    assert_int_equal(rig_count(&rig, "batches?dataSet=" DATASET "&status=success,active"
                                     "&orderBy=desc:created&limit=1 "),
                     1);
    assert_int_equal(rig_count(&rig, "&orderBy=desc:created&createdAfter=4&createdBefore=9"
                                     "&limit=2 "),
                     1);
    assert_int_equal(rig_count(&rig, "&orderBy=asc:created&limit=3 "), 1);
    rig_stop(&rig);
}

static void garbage_is_shown(void **state)
{
    (void)state;
    struct rig rig;
    char body[400] = "<html>\n\\\xc3\xa9 secretless ";
    memset(body + strlen(body), 'x', 300);
    rig_start(&rig);
    rig_token(&rig, ALWAYS, "T", "86399");
    rig_answer(&rig, "GET ", ALWAYS, "200 OK", "", body);
    struct catalog_list list = { .dataset = DATASET, .from = 1, .to = 3 };
    run(&rig, &list);
    assert_int_equal(list.fault.code, ERR_BAD_RESPONSE);
    const char *shown = strstr(list.fault.text, "; the answer begins: ");
    assert_non_null(shown);
    shown += strlen("; the answer begins: ");
    assert_non_null(strstr(shown, "<html>\\x0a\\x5c\\xc3\\xa9 secretless xxx"));
    assert_int_equal(strlen(shown), 200);
    catalog_release(&list);
    rig_stop(&rig);
}

static void one_batch_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *id, *status, *body;
        enum err expected;
    } row[] = {
        { "01A", "200 OK", "{\"01A\":{\"created\":5,\"status\":\"success\"}}", OK },
        { "01B", "200 OK", "{}", ERR_NOT_FOUND },
        { "01C", "404 Not Found", "{\"title\":\"NotFoundError\"}", ERR_NOT_FOUND },
        { "01D", "200 OK", "{\"01A\":{\"created\":5}}", ERR_BAD_RESPONSE },
        { "01E", "200 OK", "{\"01E\":{\"created\":5},\"x\":{\"created\":5}}",
          ERR_BAD_RESPONSE },
        { "01F", "200 OK", "<html>", ERR_BAD_RESPONSE },
        { "01G@x:y", "200 OK", "{\"01G@x:y\":{\"created\":5}}", OK },
    };
    struct rig rig;
    rig_start(&rig);
    rig_token(&rig, ALWAYS, "T", "86399");
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct catalog_list list = { .batch = row[i].id };
        rig_answer(&rig, "/catalog/batches/", 1, row[i].status, "", row[i].body);
        run(&rig, &list);
        assert_int_equal(list.fault.code, row[i].expected);
        assert_true(row[i].expected != OK || list.count == 1);
        catalog_release(&list);
    }
    assert_int_equal(rig_count(&rig, "GET /data/foundation/catalog/batches/01G%40x%3Ay "), 1);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_is_sorted_by_created_and_id),
        cmocka_unit_test(members_are_read),
        cmocka_unit_test(missing_and_strange_members_are_tolerated),
        cmocka_unit_test(states_follow_the_table),
        cmocka_unit_test(ids_are_safe_in_a_path),
        cmocka_unit_test(classes_follow_the_table),
        cmocka_unit_test(lineage_is_read),
        cmocka_unit_test(pages_without_identity_are_refused),
        cmocka_unit_test(damaged_pages_are_survived),
        cmocka_unit_test(windows_and_instants_are_asked_for),
        cmocka_unit_test(changes_and_the_newest_are_asked_for),
        cmocka_unit_test(garbage_is_shown),
        cmocka_unit_test(one_batch_is_asked_for),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
