/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas, datasets, diagnostics: what is read of answers that people look at. */
#include "lib/aep/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/aep/dataset.h"
#include "lib/aep/diagnose.h"

#define LIMIT (1 << 20)

static struct json_t *parse(const char *text)
{
    struct json_t *value = NULL;
    struct fault fault = { 0 };
    assert_int_equal(json_parse(text, strlen(text), LIMIT, &value, &fault), OK);
    return value;
}

/* ---- schemas */

static void on_field(void *owner, const struct schema_field *field)
{
    buf_print(owner, "%s:%s%s%s%s%s ", field->path, field->type, field->xdm ? "/" : "",
              field->xdm ? field->xdm : "", field->required ? "!" : "",
              field->title ? "T" : "");
}

static void assert_fields(const char *schema, const char *expected, size_t count)
{
    AUTO_JSON *value = parse(schema);
    AUTO_BUF out = BUF_INIT(LIMIT);
    assert_int_equal(schema_walk(value, &out, on_field), count);
    assert_string_equal(buf_text(&out), expected);
}

static void fields_are_flattened(void **state)
{
    (void)state;
    assert_fields("{\"type\":\"object\",\"required\":[\"_id\"],\"properties\":{"
                  "\"_id\":{\"type\":\"string\",\"title\":\"Identifier\"},"
                  "\"at\":{\"type\":\"string\",\"format\":\"date-time\"},"
                  "\"person\":{\"type\":\"object\",\"required\":[7,\"age\"],\"properties\":{"
                  "\"age\":{\"type\":\"integer\",\"meta:xdmType\":\"short\"}}},"
                  "\"empty\":{\"type\":\"object\",\"properties\":{}}}}",
                  "_id:string!T at:string/date-time person.age:integer/short! empty:object ",
                  4);
}

static void lists_and_maps_are_marked(void **state)
{
    (void)state;
    assert_fields("{\"properties\":{"
                  "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
                  "\"items\":{\"type\":\"array\",\"items\":{\"properties\":{\"sku\":{}}}},"
                  "\"any\":{\"type\":\"array\"},"
                  "\"ids\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"array\","
                  "\"items\":{\"properties\":{\"id\":{\"type\":\"string\"}}}}},"
                  "\"open\":{\"type\":\"object\",\"additionalProperties\":true}}}",
                  "tags[]:string items[].sku:any any:array ids{}[].id:string open:object ", 5);
}

static void parts_are_joined(void **state)
{
    (void)state;
    assert_fields("{\"properties\":{\"a\":{\"type\":[\"string\",\"null\"]}},\"allOf\":["
                  "{\"properties\":{\"b\":{\"$ref\":\"https://x/y\"}}},{\"$ref\":\"z\"},7]}",
                  "a:string|null b:see https://x/y ", 2);
}

static void fields_of_old_are_read(void **state)
{
    (void)state;
    assert_fields("[{\"name\":\"name\",\"type\":\"string\"},{\"type\":\"int\"},"
                  "{\"name\":\"o\",\"fields\":[{\"name\":\"x\",\"type\":\"long\"}]},"
                  "{\"name\":\"p\",\"type\":{\"properties\":{\"y\":{\"type\":\"number\"}}}}]",
                  "name:string ?:int o.x:long p.y:number ", 4);
}

static void odd_schemas_have_no_fields(void **state)
{
    (void)state;
    assert_fields("{}", "", 0);
    assert_fields("[]", "", 0);
    assert_fields("{\"properties\":[1,2],\"allOf\":{\"a\":1}}", "", 0);
    assert_fields("{\"properties\":{\"a\":7,\"b\":null}}", "a:any b:any ", 2);
}

static void versions_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int version;
    } row[] = {
        { NULL, 1 },
        { "", 1 },
        { "application/vnd.adobe.xed+json;version=3", 3 },
        { "application/vnd.adobe.xed+json; version=12", 12 },
        { "application/vnd.adobe.xed+json; version = 2", 2 },
        { "application/vnd.adobe.xed+json;version=0", 1 },
        { "application/vnd.adobe.xed+json;version=99999999999999999999", 1 },
        { "application/vnd.adobe.xed+json;version=x", 1 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(schema_version(row[i].type), row[i].version);
    AUTO_BUF accept = BUF_INIT(100);
    schema_write_accept(&accept, 3);
    assert_string_equal(buf_text(&accept), "application/vnd.adobe.xed-full+json; version=3");
}

static void names_become_paths(void **state)
{
    (void)state;
    AUTO_BUF path = BUF_INIT(1000);
    schema_write_path(&path, true, "https://ns.adobe.com/t/schemas/a b");
    assert_string_equal(buf_text(&path), "/data/foundation/schemaregistry/global/schemas/"
                                         "https%3A%2F%2Fns.adobe.com%2Ft%2Fschemas%2Fa%20b");
    buf_clear(&path);
    assert_true(schema_write_xdm_path(&path, "@/xdms/context/person"));
    assert_string_equal(buf_text(&path),
                        "/data/foundation/catalog/xdms/context/person?expansion=xdm");
    buf_clear(&path);
    assert_false(schema_write_xdm_path(&path, "@/xdms/../../import"));
    assert_false(schema_write_xdm_path(&path, "https://elsewhere/xdms/"));
    assert_int_equal(path.len, 0);
    assert_true(schema_id_valid("https://ns.adobe.com/t/schemas/1"));
    assert_true(schema_id_valid("_t.schemas.1"));
    assert_false(schema_id_valid("5c6f221d9ac7b5151ca8f3f7"));
    assert_false(schema_id_valid("https://ns.adobe.com/with blank"));
}

/* ---- datasets */

static void datasets_are_read(void **state)
{
    (void)state;
    AUTO_JSON *root =
        parse("{\"d1\":{\"name\":\"N\",\"created\":\"5\",\"updated\":7,\"state\":\"\","
              "\"fileDescription\":{\"format\":\"\",\"containerFormat\":\"csv\"},"
              "\"schemaRef\":{\"id\":\"S\",\"contentType\":\"T\"},\"tags\":{"
              "\"adobe/siphon/table/format\":[\"delta\"],\"adobe/pqs/table\":\"bare\"},"
              "\"classification\":{\"dataBehavior\":\"record\",\"managedBy\":\"SYSTEM\"},"
              "\"extensions\":{\"adobe_lakeHouse\":{\"metrics\":{\"rowCount\":12},"
              "\"rowExpiration\":{\"ttlValue\":\"P3Y\"}}},"
              "\"lastBatchId\":\"B\",\"lastSuccessfulBatch\":\"G\"}}");
    struct dataset_info info;
    dataset_read("d1", dataset_of_answer(root, "d1"), &info);
    assert_string_equal(info.name, "N");
    assert_null(info.state);
    assert_string_equal(info.format, "csv");
    assert_string_equal(info.table, "delta");
    assert_string_equal(info.sql_name, "bare");
    assert_string_equal(info.behaviour, "record");
    assert_string_equal(info.managed_by, "SYSTEM");
    assert_string_equal(info.row_expiration, "P3Y");
    assert_string_equal(info.last_batch, "B");
    assert_string_equal(info.last_success, "G");
    assert_null(info.last_failed);
    assert_true(info.created == 5 && info.updated == 7 && info.rows == 12 && info.bytes == -1);
}

static void odd_datasets_are_read(void **state)
{
    (void)state;
    AUTO_JSON *root = parse("{\"a\":7,\"b\":{\"created\":-1,\"updated\":99999999999999999,"
                            "\"tags\":[1],\"fileDescription\":\"csv\",\"schemaRef\":null}}");
    struct dataset_info info;
    assert_null(dataset_of_answer(root, "a"));
    assert_null(dataset_of_answer(root, "c"));
    dataset_read("b", dataset_of_answer(root, "b"), &info);
    assert_true(info.created == 0 && info.updated == 0);
    assert_null(info.format);
    assert_null(info.schema_id);
    assert_null(info.table);
    assert_false(dataset_read_last(NULL, &info));
    AUTO_JSON *bare = parse("{\"id\":\"x\",\"name\":\"N\"}");
    assert_ptr_equal(dataset_of_answer(bare, "x"), bare);
    assert_null(dataset_of_answer(bare, "y"));
}

/* ---- diagnostics */

static void counts_are_found_under_all_names(void **state)
{
    (void)state;
    static const struct {
        const char *batch;
        int64_t files, records, failed;
    } row[] = {
        { "{}", -1, -1, -1 },
        { "{\"metrics\":{\"outputFileCount\":2,\"outputRecordCount\":\"9\","
          "\"failedRecordCount\":0}}",
          2, 9, 0 },
        { "{\"metrics\":{\"recordsWritten\":3,\"recordsFailed\":1}}", -1, 3, 1 },
        { "{\"recordCount\":4,\"failedRecordCount\":5,\"metrics\":null}", -1, 4, 5 },
        { "{\"errors\":[{\"recordCount\":2},{\"recordCount\":3},{}]}", -1, -1, 5 },
        { "{\"metrics\":{\"outputFileCount\":-1,\"outputRecordCount\":1.5}}", -1, -1, -1 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        AUTO_JSON *batch = parse(row[i].batch);
        struct diagnose_counts counts;
        diagnose_read_counts(batch, &counts);
        assert_int_equal(counts.files, row[i].files);
        assert_int_equal(counts.records, row[i].records);
        assert_int_equal(counts.failed, row[i].failed);
    }
}

static void codes_are_listed_once(void **state)
{
    (void)state;
    AUTO_JSON *batch = parse("{\"errors\":[{\"code\":\"200\",\"description\":\"text\"},"
                             "{\"code\":\"106\"},{\"code\":\"200\"},{\"code\":7},3]}");
    AUTO_BUF out = BUF_INIT(200);
    diagnose_write_codes(batch, &out);
    assert_string_equal(buf_text(&out), "200, 106, ?, ?");
    struct diagnose_error error;
    assert_int_equal(diagnose_error_count(batch), 5);
    diagnose_read_error(batch, 0, &error);
    assert_string_equal(error.text, "text");
    assert_int_equal(error.records, -1);
    diagnose_read_error(batch, 4, &error);
    assert_null(error.code);
    assert_string_equal(error.text, "");
}

static void entries_of_listings(void **state)
{
    (void)state;
    static const struct {
        const char *row, *directory, *path; /* path NULL: refused */
        int64_t length;
        bool is_directory;
    } row[] = {
        { "{\"name\":\"part.json\",\"length\":\"1800\"}", "", "part.json", 1800, false },
        { "{\"name\":\"row_errors\"}", "", "row_errors", -1, true },
        { "{\"name\":\"row_errors/\",\"length\":0}", "", "row_errors", 0, true },
        { "{\"name\":\"a.json\",\"length\":1}", "row_errors", "row_errors/a.json", 1, false },
        { "{\"name\":\"row_errors/a.json\"}", "row_errors", "row_errors/a.json", -1, false },
        { "{\"name\":\"dt=1/a b.json\",\"length\":1}", "", "dt=1/a b.json", 1, false },
        { "{\"name\":\"../a\",\"length\":1}", "", NULL, 0, false },
        { "{\"name\":\"a/../../b\",\"length\":1}", "row_errors", NULL, 0, false },
        { "{\"name\":\"/a\",\"length\":1}", "", NULL, 0, false },
        { "{\"name\":\"\",\"length\":1}", "", NULL, 0, false },
        { "{\"length\":1}", "", NULL, 0, false },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        AUTO_JSON *value = parse(row[i].row);
        struct diagnose_entry entry;
        bool good = diagnose_read_entry(value, row[i].directory, &entry);
        assert_int_equal(good, row[i].path != NULL);
        if (!good)
            continue;
        assert_string_equal(entry.path, row[i].path);
        assert_int_equal(entry.length, row[i].length);
        assert_int_equal(entry.directory, row[i].is_directory);
    }
}

static void rows_say_what_is_wrong(void **state)
{
    (void)state;
    AUTO_JSON *good = parse("{\"_errors\":[{\"code\":\"1401\",\"message\":\"bad\"}],"
                            "\"_filename\":\"f.json\",\"_corrupt_record\":\"{\"}");
    AUTO_JSON *plain = parse("{\"a\":1}");
    struct diagnose_error error;
    const char *file = NULL;
    assert_true(diagnose_read_row(good, &error, &file));
    assert_string_equal(error.code, "1401");
    assert_string_equal(error.text, "bad");
    assert_string_equal(file, "f.json");
    assert_false(diagnose_read_row(plain, &error, &file));
    AUTO_JSON *list = parse("{\"data\":[1],\"_page\":{}}");
    assert_int_equal(json_count(diagnose_rows(list)), 1);
    assert_null(diagnose_rows(plain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_flattened),
        cmocka_unit_test(lists_and_maps_are_marked),
        cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(fields_of_old_are_read),
        cmocka_unit_test(odd_schemas_have_no_fields),
        cmocka_unit_test(versions_are_found),
        cmocka_unit_test(names_become_paths),
        cmocka_unit_test(datasets_are_read),
        cmocka_unit_test(odd_datasets_are_read),
        cmocka_unit_test(counts_are_found_under_all_names),
        cmocka_unit_test(codes_are_listed_once),
        cmocka_unit_test(entries_of_listings),
        cmocka_unit_test(rows_say_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
