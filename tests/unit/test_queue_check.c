/* SPDX-License-Identifier: Apache-2.0 */
/* What the queue refuses before it talks to a server: options, and a Redis judged by its INFO. */
#include "queue_rig.h"

static void test_prefix_is_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "with space:", "sluice\n",
        "0123456789012345678901234567890123456789012345678901234567890123456789"
    };
    struct loop *loop = loop_new();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fault fault = { 0 };
        struct queue *queue = NULL;
        struct queue_options options = { .prefix = bad[i], .redis.url = "unix:///nowhere" };
        assert_int_equal(queue_new(loop, &options, &queue, &fault), ERR_CONFIG);
        assert_non_null(strstr(fault.text, "redis.prefix"));
        assert_null(queue);
    }
    loop_free(loop);
}

static void test_a_bad_url_is_refused(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct fault fault = { 0 };
    struct queue *queue = NULL;
    struct queue_options options = { .prefix = "sluice:", .redis.url = "http://nowhere" };
    assert_int_equal(queue_new(loop, &options, &queue, &fault), ERR_CONFIG);
    assert_null(queue);
    loop_free(loop);
}

#define FIT                                                                                    \
    "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n"          \
    "aof_enabled:1\r\nrole:master\r\n"

static void test_fitness(void **state)
{
    (void)state;
    static const struct {
        const char *info, *prefix;
        bool allow_volatile;
        enum err want;
        const char *sentence;
    } row[] = {
        { FIT, "s:", false, OK, "" },
        { "redis_version:6.2.1\r\n", "s:", false, ERR_REDIS_UNFIT, "version 6.2.1; 7.0" },
        { "", "s:", true, ERR_REDIS_UNFIT, "version" },
        { "xredis_version:7\r\n", "s:", true, ERR_REDIS_UNFIT, "version" },
        { "redis_version:7.2\nrole:slave\n", "s:", true, ERR_REDIS_ROLE, "master" },
        { "redis_version:7.2\nrole:master\n", "s:", true, OK, "" },
        { "redis_version:7.2\nrole:master\naof_enabled:0\n", "s:", false, ERR_REDIS_UNFIT,
          "appendonly yes" },
        { "redis_version:10.0\nrole:master\naof_enabled:1\nmaxmemory_policy:allkeys-lru\n",
          "s:", false, ERR_REDIS_UNFIT, "noeviction" },
        { FIT "cluster_enabled:1\r\n", "s:", false, ERR_REDIS_UNFIT, "{sluice}:" },
        { FIT "cluster_enabled:1\r\n", "{}:", false, ERR_REDIS_UNFIT, "{sluice}:" },
        { FIT "cluster_enabled:1\r\n", "{s}:", false, OK, "" },
        { FIT "cluster_enabled:0\r\n", "s:", false, OK, "" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fault fault = { 0 };
        assert_int_equal(
            queue_check_info(row[i].info, row[i].prefix, row[i].allow_volatile, &fault),
            row[i].want);
        assert_non_null(strstr(fault.text, row[i].sentence));
    }
}

#define ID "9c9ad4fd57ca7b0f8ad5a3c4ee4a9d9b1ba57ee3"

static void test_which_server(void **state)
{
    (void)state;
    struct queue_server server;
    queue_check_server(
        "run_id:" ID "\r\nmaster_replid2:0000000000000000000000000000000000000000", &server);
    assert_string_equal(server.run_id, ID);
    assert_false(server.promoted);
    queue_check_server("# x\r\nrun_id:" ID "\r\nmaster_replid2:" ID "\r\n", &server);
    assert_true(server.promoted);
    queue_check_server("run_id:" ID ID "\r\n", &server); /* longer than any */
    assert_string_equal(server.run_id, "");
    queue_check_server("", &server);
    assert_string_equal(server.run_id, "");
    assert_false(server.promoted);
}

static void test_ids_tell_their_generation(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        int64_t generation;
        bool replay;
    } row[] = {
        { "b/d/B", 1, false },
        { "b/d/7/B", 7, true },
        { "b/d/7", 1, false },
        { "b/d/7/B/C", 1, false },
        { "b/d/x7/B", 1, false },
        { "b/d/7x/B", 1, false },
        { "w/d/1-2/1-2", 1, false },
        { "w/d/1-2/3/1-2", 1, false },
        { "w/d/7/1-2", 7, true },
        { "f/d/B/0af", 1, false },
        { "f/d/7/0af", 1, false },
        { "f/d/7/B/0af", 7, true },
        { "j/d/1-2", 1, false },
        { "j/d/1-2/3", 1, false },
        { "j/d/replay/B", 1, true },
        { "j/d/replay/1-2/3", 1, true },
        { "j/d/replayed", 1, false },
        { "tail/d", 1, false },
        { "", 1, false },
        { "b", 1, false },
        { "bb/d/7/B", 1, false },
        { "b/d/99999999999999999999/B", 1, false },
        { "b/d/1764534000000/B", 1764534000000, true },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        print_message("%s\n", row[i].id);
        assert_int_equal(queue_id_generation(row[i].id), row[i].generation);
        assert_int_equal(queue_id_is_replay(row[i].id), row[i].replay);
    }
}

static void test_library_version(void **state)
{
    (void)state;
    assert_int_equal(queue_library_version("#!lua\nlocal VERSION = 12\nlocal x"), 12);
    assert_int_equal(queue_library_version("#!lua\n-- local VERSION = 12\n"), -1);
    assert_int_equal(queue_library_version(""), -1);
}

static void test_kind_names(void **state)
{
    (void)state;
    assert_string_equal(queue_kind_name(QUEUE_TAIL), "tail");
    assert_string_equal(queue_kind_name(QUEUE_FILE), "file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix_is_checked),
        cmocka_unit_test(test_a_bad_url_is_refused),
        cmocka_unit_test(test_fitness),
        cmocka_unit_test(test_ids_tell_their_generation),
        cmocka_unit_test(test_library_version),
        cmocka_unit_test(test_which_server),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
