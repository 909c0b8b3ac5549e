/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over batches, against a catalog that answers like Adobe's: bounds exclusive, offsets
 * only within one instant, ties in whatever order it likes, pages as short as it likes, and
 * batches that come and go while we page. Whatever it does, each batch is seen once, in order.
 */
#include "daemon/walk.h"

#include "tests/unit/aep_rig.h"

#define ENTRIES_MAX 1000
#define BATCHES_ROW "GET /data/foundation/catalog/batches?dataSet=d1&"
#define FROM        1000
#define TO          100000
#define SETTLED     5 /* requests, then SETTLING ties keep their places */

/* Of batches with the same creation time, from request to request. */
enum tie_order { STABLE, REVERSING, SETTLING };

struct entry {
    int64_t created;
    bool gone;
};

/* Belongs to the server's thread while a walk runs. An entry's index is its id. */
struct catalog {
    struct entry entry[ENTRIES_MAX];
    size_t count;
    enum tie_order order;
    size_t page_min, page_max; /* 0: pages are full; else they have so many rows */
    uint64_t seed;
    int requests;
    void (*change)(struct catalog *catalog); /* before each answer */
};

struct found {
    size_t index;
    int64_t created, rank;
};

struct walker {
    struct rig rig;
    struct core core;
    struct walk walk;
    struct catalog catalog;
    int64_t last; /* created */
    int seen[ENTRIES_MAX], pages, dones;
    bool hold; /* pages are kept until the test calls walk_next */
};

/* ---- the catalog */

static void catalog_add(struct catalog *catalog, size_t count, int64_t first, int64_t step)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(catalog->count < ENTRIES_MAX);
        catalog->entry[catalog->count++] =
            (struct entry){ .created = first + step * (int64_t)i };
    }
}

static uint64_t mix(uint64_t seed)
{
    seed = (seed ^ (seed >> 31)) * 0x9e3779b97f4a7c15u;
    return (seed ^ (seed >> 29)) * 0xbf58476d1ce4e5b9u >> 20;
}

static int64_t number_in(const char *request, const char *name, int64_t otherwise)
{
    const char *at = strstr(request, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : otherwise;
}

static int64_t tie_rank(const struct catalog *catalog, size_t index)
{
    if (catalog->order == REVERSING)
        return catalog->requests % 2 ? (int64_t)index : -(int64_t)index;
    if (catalog->order == SETTLING && catalog->requests < SETTLED)
        return (int64_t)mix(index + 7919 * (uint64_t)catalog->requests);
    return (int64_t)index;
}

static int by_created_and_rank(const void *a, const void *b)
{
    const struct found *left = a, *right = b;
    if (left->created != right->created)
        return left->created < right->created ? -1 : 1;
    return (left->rank > right->rank) - (left->rank < right->rank);
}

static size_t select_entries(const struct catalog *catalog, const char *request,
                             struct found *found)
{
    int64_t instant = number_in(request, "created=", -1);
    int64_t after = number_in(request, "createdAfter=", -1);
    int64_t before = number_in(request, "createdBefore=", INT64_MAX);
    size_t count = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        int64_t created = catalog->entry[i].created;
        bool inside = instant >= 0 ? created == instant : created > after && created < before;
        if (inside && !catalog->entry[i].gone)
            found[count++] = (struct found){ i, created, tie_rank(catalog, i) };
    }
    qsort(found, count, sizeof *found, by_created_and_rank);
    return count;
}

static void write_page(void *owner, const char *request, struct buf *body)
{
    struct catalog *catalog = owner;
    struct found found[ENTRIES_MAX];
    catalog->requests++;
    if (catalog->change)
        catalog->change(catalog);
    size_t count = select_entries(catalog, request, found);
    size_t start = (size_t)number_in(request, "start=", 0);
    size_t limit = (size_t)number_in(request, "limit=", 20);
    if (catalog->page_max)
        limit = catalog->page_min + mix(catalog->seed + (uint64_t)catalog->requests) %
                                        (catalog->page_max - catalog->page_min + 1);
    buf_add_char(body, '{');
    for (size_t i = start; i < count && i < start + limit; i++)
        buf_print(body, "%s\"b%zu\":{\"created\":%lld,\"status\":\"success\"}",
                  i == start ? "" : ",", found[i].index, (long long)found[i].created);
    buf_add_char(body, '}');
}

/* ---- the walk */

static void on_page(struct walk *walk)
{
    struct walker *walker = container_of(walk, struct walker, walk);
    assert_true(walk->count > 0);
    for (size_t i = 0; i < walk->count; i++) {
        const struct batch_info *batch = &walk->batches[i];
        size_t index = strtoul(batch->id + 1, NULL, 10);
        assert_true(batch->created >= walk->from && batch->created < walk->to);
        assert_true(batch->created >= walker->last);
        walker->last = batch->created;
        walker->seen[index]++;
    }
    walker->pages++;
    if (!walker->hold)
        walk_next(walk);
}

static void on_done(struct walk *walk)
{
    container_of(walk, struct walker, walk)->dones++;
}

static struct walker *walker_new(int64_t from, int64_t to)
{
    struct walker *walker = mem_alloc(sizeof *walker);
    rig_start(&walker->rig);
    rig_token(&walker->rig, ALWAYS, "t", "86400");
    walker->core.loop = walker->rig.loop;
    walker->core.aep = walker->rig.aep;
    walker->walk = (struct walk){ .core = &walker->core,
                                  .dataset = "d1",
                                  .from = from,
                                  .to = to,
                                  .page = on_page,
                                  .done = on_done };
    return walker;
}

static void walker_free(struct walker *walker)
{
    walk_release(&walker->walk);
    rig_stop(&walker->rig);
    mem_free(walker);
}

/* Until its end; returns the number of requests. */
static int walker_run(struct walker *walker)
{
    rig_compute(&walker->rig, BATCHES_ROW, &walker->catalog, write_page);
    walk_start(&walker->walk);
    assert_int_equal(walker->dones, 0);
    SPIN(&walker->rig, walker->dones);
    rig_turn_for(&walker->rig, 5);
    assert_int_equal(walker->dones, 1);
    assert_int_equal(walker->walk.fault.code, OK);
    return rig_count(&walker->rig, BATCHES_ROW);
}

/* All batches inside the bounds were seen once, and no others; those gone may have been. */
static void assert_complete(const struct walker *walker)
{
    const struct catalog *catalog = &walker->catalog;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct entry *entry = &catalog->entry[i];
        bool inside = entry->created >= walker->walk.from && entry->created < walker->walk.to;
        if (!entry->gone && walker->seen[i] != inside)
            fail_msg("batch %zu, created %lld, was seen %d times", i, (long long)entry->created,
                     walker->seen[i]);
        assert_true(walker->seen[i] <= inside);
    }
}

/* ---- tests */

static void simple_walks_need_few_calls(void **state)
{
    (void)state;
    static const struct {
        size_t batches;
        int64_t step;
        int calls;
    } row[] = {
        { 0, 1, 1 },    /* the end */
        { 1, 1, 5 },    /* the batch; it alone; its instant and the end of that; the end */
        { 3, 7, 5 },    /* the same: the last one is looked at again */
        { 100, 7, 5 },  /* a full page */
        { 250, 7, 7 },  /* 100, 99 new, 51 new, the last alone, its instant (2), the end */
        { 2, 0, 5 },    /* both; again; their instant and its end; the end */
        { 100, 0, 5 },  /* the same */
        { 101, 0, 12 }, /* the 101st shows up in the instant: two quiet passes of three */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct walker *walker = walker_new(FROM, TO);
        catalog_add(&walker->catalog, row[i].batches, 2000, row[i].step);
        assert_int_equal(walker_run(walker), row[i].calls);
        assert_complete(walker);
        walker_free(walker);
    }
}

static void pages_of_any_size_do(void **state)
{
    (void)state;
    for (int limit = 1; limit < 5; limit++) {
        struct walker *walker = walker_new(FROM, TO);
        walker->walk.limit = limit;
        catalog_add(&walker->catalog, 5, 2000, 7);
        catalog_add(&walker->catalog, 9, 3000, 0);
        catalog_add(&walker->catalog, 4, 4000, 1);
        walker_run(walker);
        assert_complete(walker);
        AUTO_TEXT char *text = mem_print("&limit=%d ", limit);
        assert_int_equal(rig_count(&walker->rig, text), walker->catalog.requests);
        walker_free(walker);
    }
}

static void bounds_are_half_open(void **state)
{
    (void)state;
    static const struct {
        int64_t from, to;
    } row[] = {
        { FROM, TO },     { 0, 2 },   { 0, FROM },  { FROM, FROM + 1 },    { TO - 1, TO },
        { FROM + 1, TO }, { TO, TO }, { TO, FROM }, { TO + 1, INT64_MAX },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct walker *walker = walker_new(row[i].from, row[i].to);
        struct catalog *catalog = &walker->catalog;
        catalog_add(catalog, 2, FROM - 1, 1);
        catalog_add(catalog, 3, FROM + 20, 20);
        catalog_add(catalog, 2, TO - 1, 1);
        int calls = walker_run(walker);
        assert_int_equal(calls == 0, row[i].from >= row[i].to);
        assert_complete(walker);
        walker_free(walker);
    }
}

static void many_batches_of_one_instant_are_all_seen(void **state)
{
    (void)state;
    static const enum tie_order order[] = { STABLE, REVERSING, SETTLING };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        struct walker *walker = walker_new(FROM, TO);
        walker->catalog.order = order[i];
        catalog_add(&walker->catalog, 60, 2000, 3);
        catalog_add(&walker->catalog, 150, 3000, 0);
        catalog_add(&walker->catalog, 30, 3001, 0);
        catalog_add(&walker->catalog, 260, 5000, 0);
        walker_run(walker);
        assert_complete(walker);
        walker_free(walker);
    }
}

static void short_pages_prove_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct walker *walker = walker_new(FROM, TO);
        walker->catalog.page_min = 2;
        walker->catalog.page_max = 20;
        walker->catalog.seed = seed * 1000;
        catalog_add(&walker->catalog, 50, 2000, (int64_t)seed);
        catalog_add(&walker->catalog, 40, 3000, 0);
        catalog_add(&walker->catalog, 5, 3001, 0);
        walker_run(walker);
        assert_complete(walker);
        walker_free(walker);
    }
}

static void pages_may_be_as_short_as_one_row(void **state)
{
    (void)state;
    struct walker *walker = walker_new(FROM, TO);
    walker->catalog.page_min = walker->catalog.page_max = 1;
    catalog_add(&walker->catalog, 10, FROM, 1);
    catalog_add(&walker->catalog, 10, 3000, 500);
    catalog_add(&walker->catalog, 5, 9000, 0); /* and several of one instant */
    walker_run(walker);
    assert_complete(walker);
    walker_free(walker);
}

/* Before each of the first answers: one more at the far end, one at an instant in the middle. */
static void grow(struct catalog *catalog)
{
    if (catalog->requests > 6)
        return;
    catalog_add(catalog, 1, 50000 + catalog->requests, 0);
    catalog_add(catalog, 1, 40000, 0);
}

static void new_batches_are_seen_while_paging(void **state)
{
    (void)state;
    struct walker *walker = walker_new(FROM, TO);
    walker->catalog.change = grow;
    catalog_add(&walker->catalog, 230, 2000, 9);
    catalog_add(&walker->catalog, 130, 40000, 0);
    walker_run(walker);
    assert_int_equal(walker->catalog.count, 230 + 130 + 2 * 6);
    assert_complete(walker);
    walker_free(walker);
}

/* What has been shown vanishes: what comes behind it moves up across the edge of the page. */
static void shrink(struct catalog *catalog)
{
    if (catalog->requests >= 2 && catalog->requests <= 5)
        for (size_t i = 0; i < 8; i++)
            catalog->entry[(size_t)catalog->requests * 8 + i].gone = true;
}

static void vanishing_batches_hide_no_others(void **state)
{
    (void)state;
    static const int64_t step[] = { 0, 3 };
    for (size_t i = 0; i < sizeof step / sizeof *step; i++) {
        struct walker *walker = walker_new(FROM, TO);
        walker->catalog.change = shrink;
        catalog_add(&walker->catalog, 250, 2000, step[i]);
        walker_run(walker);
        assert_complete(walker);
        walker_free(walker);
    }
}

static void a_fault_ends_the_walk(void **state)
{
    (void)state;
    static const struct {
        const char *status, *body;
        enum err code;
    } row[] = {
        { "500 Oops", "", ERR_SERVER },
        { "403 No", "", ERR_DENIED },
        { "200 OK", "[]", ERR_BAD_RESPONSE },
        { "200 OK", "{\"b1\":{}}", ERR_BAD_RESPONSE },
        { "200 OK", "{\"b1\":", ERR_BAD_RESPONSE },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct walker *walker = walker_new(FROM, TO);
        rig_answer(&walker->rig, BATCHES_ROW, 1, "200 OK", "", "{\"b7\":{\"created\":2000}}");
        rig_answer(&walker->rig, BATCHES_ROW, ALWAYS, row[i].status, "", row[i].body);
        walk_start(&walker->walk);
        SPIN(&walker->rig, walker->dones);
        assert_int_equal(walker->walk.fault.code, row[i].code);
        assert_int_equal(walker->seen[7], 1);
        assert_int_equal(walker->pages, 1);
        walk_cancel(&walker->walk); /* too late to matter */
        rig_turn_for(&walker->rig, 5);
        assert_int_equal(walker->dones, 1);
        walker_free(walker);
    }
}

static void a_page_waits_for_its_owner(void **state)
{
    (void)state;
    struct walker *walker = walker_new(FROM, TO);
    walker->hold = true;
    catalog_add(&walker->catalog, 150, 2000, 1);
    rig_compute(&walker->rig, BATCHES_ROW, &walker->catalog, write_page);
    walk_start(&walker->walk);
    SPIN(&walker->rig, walker->pages == 1);
    walk_cancel(&walker->walk); /* the page is ours: nothing follows */
    rig_turn_for(&walker->rig, 10);
    assert_int_equal(walker->dones, 0);
    assert_int_equal(walker->walk.count, 100);
    assert_string_equal(walker->walk.batches[99].id, "b99");
    assert_int_equal(rig_count(&walker->rig, BATCHES_ROW), 1);
    walk_next(&walker->walk);
    SPIN(&walker->rig, walker->pages == 2);
    assert_int_equal(walker->walk.count, 50);
    walker_free(walker); /* with a page in hand */
}

static void cancel_ends_the_walk_once(void **state)
{
    (void)state;
    struct walker *walker = walker_new(FROM, TO);
    rig_script(&walker->rig, BATCHES_ROW, ALWAYS, HANG);
    walk_cancel(&walker->walk); /* not started: nothing to end */
    rig_turn_for(&walker->rig, 5);
    assert_int_equal(walker->dones, 0);
    walk_start(&walker->walk);
    SPIN(&walker->rig, rig_count(&walker->rig, BATCHES_ROW) == 1);
    walk_cancel(&walker->walk);
    walk_cancel(&walker->walk);
    assert_int_equal(walker->dones, 0);
    SPIN(&walker->rig, walker->dones);
    walk_cancel(&walker->walk);
    rig_turn_for(&walker->rig, 5);
    assert_int_equal(walker->dones, 1);
    assert_int_equal(walker->walk.fault.code, ERR_CANCELLED);
    walker_free(walker);
}

static void cancel_before_the_first_request(void **state)
{
    (void)state;
    struct walker *walker = walker_new(FROM, TO);
    walk_start(&walker->walk);
    walk_cancel(&walker->walk);
    assert_int_equal(walker->dones, 0);
    SPIN(&walker->rig, walker->dones);
    assert_int_equal(walker->walk.fault.code, ERR_CANCELLED);
    assert_int_equal(rig_count(&walker->rig, BATCHES_ROW), 0);
    walker_free(walker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_walks_need_few_calls),
        cmocka_unit_test(pages_of_any_size_do),
        cmocka_unit_test(bounds_are_half_open),
        cmocka_unit_test(many_batches_of_one_instant_are_all_seen),
        cmocka_unit_test(short_pages_prove_nothing),
        cmocka_unit_test(pages_may_be_as_short_as_one_row),
        cmocka_unit_test(new_batches_are_seen_while_paging),
        cmocka_unit_test(vanishing_batches_hide_no_others),
        cmocka_unit_test(a_fault_ends_the_walk),
        cmocka_unit_test(a_page_waits_for_its_owner),
        cmocka_unit_test(cancel_ends_the_walk_once),
        cmocka_unit_test(cancel_before_the_first_request),
    };
    return cmocka_run_group_tests(tests, rig_setup_libraries, rig_release_libraries);
}
