/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: order of deadlines and deferred work, mail between threads, signals. */
#include "lib/net/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#define LETTERS 64

static struct loop *loop;
static char seen[LETTERS]; /* a letter for each event, in order */
static size_t seen_count;

static void see(char letter)
{
    assert_true(seen_count < LETTERS - 1);
    seen[seen_count++] = letter;
    seen[seen_count] = 0;
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    seen_count = 0;
    seen[0] = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

struct alarm {
    struct timer timer;
    char letter;
    int again; /* so many times more, at once */
};

static void on_alarm(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    assert_true(mono_due((struct mono){ timer->node.key }, clock_mono()));
    see(alarm->letter);
    if (alarm->letter == '.')
        loop_stop(loop);
    if (alarm->again-- > 0)
        timer_set(loop, timer, loop_now(loop));
}

#define ALARM(letter)                                                                          \
    {                                                                                          \
        { .fire = on_alarm }, letter, 0                                                        \
    }

/* ---- timers */

static void timers_fire_in_order_of_deadline(void **state)
{
    (void)state;
    struct alarm end = ALARM('.'), a = ALARM('a'), b = ALARM('b'), past = ALARM('p');
    timer_set_in(loop, &end.timer, 30);
    timer_set_in(loop, &b.timer, 20);
    timer_set_in(loop, &a.timer, 10);
    timer_set(loop, &past.timer, (struct mono){ 1 });
    assert_string_equal(seen, "");
    loop_run(loop);
    assert_string_equal(seen, "pab.");
}

static void timers_move_and_clear(void **state)
{
    (void)state;
    struct alarm end = ALARM('.'), a = ALARM('a'), b = ALARM('b'), c = ALARM('c');
    timer_set_in(loop, &end.timer, 20);
    timer_set_in(loop, &a.timer, 5);
    timer_set_in(loop, &a.timer, 15); /* behind b */
    timer_set_in(loop, &b.timer, 10);
    timer_set_in(loop, &c.timer, 1);
    timer_clear(loop, &c.timer);
    timer_clear(loop, &c.timer);
    loop_run(loop);
    assert_string_equal(seen, "ba.");
}

static void timer_at_never_does_not_fire(void **state)
{
    (void)state;
    struct alarm end = ALARM('.'), a = ALARM('a');
    timer_set_in(loop, &a.timer, 1);
    timer_set(loop, &a.timer, MONO_NEVER);
    timer_set_in(loop, &end.timer, 5);
    loop_run(loop);
    assert_string_equal(seen, ".");
}

static void restless_timer_does_not_starve_others(void **state)
{
    (void)state;
    struct alarm end = ALARM('.'), a = { { .fire = on_alarm }, 'a', 50 };
    struct mono start = loop_now(loop);
    timer_set(loop, &a.timer, start);
    timer_set_in(loop, &end.timer, 10);
    loop_run(loop);
    assert_int_equal(seen_count, 52);
    assert_true(mono_ms_between(start, clock_mono()) < 500);
}

/* ---- deferred work */

struct chore {
    struct deferred work;
    char letter;
    struct chore *next; /* deferred from inside */
    struct chore *drop; /* undeferred from inside */
};

static void on_chore(struct deferred *work)
{
    struct chore *chore = container_of(work, struct chore, work);
    see(chore->letter);
    if (chore->next)
        loop_defer(loop, &chore->next->work);
    if (chore->drop)
        loop_undefer(loop, &chore->drop->work);
    if (chore->letter == '.')
        loop_stop(loop);
}

#define CHORE(letter)                                                                          \
    {                                                                                          \
        { .run = on_chore }, letter, NULL, NULL                                                \
    }

static void deferred_work_runs_once_in_order(void **state)
{
    (void)state;
    struct chore a = CHORE('a'), b = CHORE('b'), c = CHORE('c'), end = CHORE('.');
    a.next = &end; /* next turn: after c */
    b.drop = &c;
    loop_defer(loop, &a.work);
    loop_defer(loop, &b.work);
    loop_defer(loop, &a.work);
    loop_defer(loop, &c.work);
    assert_string_equal(seen, "");
    loop_run(loop);
    assert_string_equal(seen, "ab.");
    assert_false(list_linked(&c.work.node));
}

static void deferring_again_means_the_next_turn_at_once(void **state)
{
    (void)state;
    struct chore a = CHORE('a'), b = CHORE('b'), c = CHORE('c'), end = CHORE('.');
    struct alarm late = ALARM('l');
    struct mono start = clock_mono();
    timer_set_in(loop, &late.timer, 10000);
    a.next = &c;
    c.next = &end;
    loop_defer(loop, &a.work);
    loop_defer(loop, &b.work);
    loop_run(loop);
    assert_string_equal(seen, "abc.");
    assert_true(mono_ms_between(start, clock_mono()) < 1000);
    timer_clear(loop, &late.timer);
}

struct starter {
    struct timer timer;
    struct chore end;
};

static void on_starter(struct timer *timer)
{
    loop_defer(loop, &container_of(timer, struct starter, timer)->end.work);
}

static void work_deferred_by_a_timer_does_not_wait_for_an_event(void **state)
{
    (void)state;
    struct starter starter = { { .fire = on_starter }, CHORE('.') };
    struct mono start = clock_mono();
    timer_set_in(loop, &starter.timer, 1);
    loop_run(loop);
    assert_string_equal(seen, ".");
    assert_true(mono_ms_between(start, clock_mono()) < 1000);
}

/* ---- time */

struct clocked {
    struct deferred work;
    struct mono first, second, later;
};

static void on_clocked(struct deferred *work)
{
    struct clocked *clocked = container_of(work, struct clocked, work);
    if (clocked->first.us) {
        clocked->later = loop_now(loop);
        loop_stop(loop);
        return;
    }
    clocked->first = loop_now(loop);
    usleep(2000);
    clocked->second = loop_now(loop);
    loop_defer(loop, work);
}

static void time_stands_still_within_a_turn(void **state)
{
    (void)state;
    struct clocked clocked = { .work = { .run = on_clocked } };
    loop_defer(loop, &clocked.work);
    loop_run(loop);
    assert_int_equal(clocked.first.us, clocked.second.us);
    assert_true(clocked.later.us >= clocked.first.us + 2000);
}

/* ---- mail */

#define ROUNDS 2000

struct letter {
    struct mail mail;
    int number;
};

/* Two loops in two threads throw one letter to and fro. */
struct player {
    struct loop *loop;
    struct mailbox *own, *other;
    int received;
    bool disorder;
};

static void on_letter(void *owner, struct mail *mail)
{
    struct player *player = owner;
    struct letter *letter = container_of(mail, struct letter, mail);
    player->disorder |= letter->number / 2 != player->received;
    player->received++;
    letter->number++;
    if (letter->number < 2 * ROUNDS)
        mailbox_post(player->other, mail);
    if (player->received == ROUNDS)
        loop_stop(player->loop);
}

static void *play(void *player)
{
    loop_run(((struct player *)player)->loop);
    return NULL;
}

static void mail_goes_to_and_fro_between_two_loops(void **state)
{
    (void)state;
    struct player here = { .loop = loop }, there = { .loop = loop_new() };
    struct letter letter = { .number = 0 };
    pthread_t thread;
    here.own = there.other = mailbox_new(here.loop, &here, on_letter);
    there.own = here.other = mailbox_new(there.loop, &there, on_letter);
    pthread_create(&thread, NULL, play, &there);
    mailbox_post(here.own, &letter.mail);
    loop_run(here.loop);
    pthread_join(thread, NULL);
    assert_int_equal(here.received, ROUNDS);
    assert_int_equal(there.received, ROUNDS);
    assert_false(here.disorder || there.disorder);
    mailbox_free(here.own);
    mailbox_free(there.own);
    loop_free(there.loop);
}

struct post_office {
    struct mailbox *box;
    struct letter letter[3];
    int next, free_at;
    bool disorder;
};

static void on_delivery(void *owner, struct mail *mail)
{
    struct post_office *office = owner;
    struct letter *letter = container_of(mail, struct letter, mail);
    office->disorder |= letter->number != office->next++;
    if (letter->number == office->free_at)
        mailbox_free(office->box);
    if (letter->number == 2)
        loop_stop(loop);
}

static void post_three(struct post_office *office)
{
    office->box = mailbox_new(loop, office, on_delivery);
    for (int i = 0; i < 3; i++) {
        office->letter[i].number = i;
        mailbox_post(office->box, &office->letter[i].mail);
    }
}

static void freeing_a_mailbox_delivers_what_is_in_it(void **state)
{
    (void)state;
    struct post_office office = { .free_at = -1 };
    post_three(&office);
    assert_int_equal(office.next, 0);
    mailbox_free(office.box);
    assert_int_equal(office.next, 3);
    assert_false(office.disorder);
}

static void mailbox_may_be_freed_while_it_delivers(void **state)
{
    (void)state;
    struct post_office office = { .free_at = 0 };
    post_three(&office);
    loop_run(loop);
    assert_int_equal(office.next, 3);
    assert_false(office.disorder);
}

/* Nothing else keeps this loop awake: it must wait for the mail and not return. */
static void *post_into_idle_loop(void *user)
{
    struct post_office *office = user;
    usleep(30000);
    mailbox_post(office->box, &office->letter[2].mail);
    return NULL;
}

static void loop_waits_for_mail(void **state)
{
    (void)state;
    struct post_office office = { .free_at = -1, .next = 2 };
    pthread_t thread;
    office.letter[2].number = 2;
    office.box = mailbox_new(loop, &office, on_delivery);
    pthread_create(&thread, NULL, post_into_idle_loop, &office);
    loop_run(loop);
    pthread_join(thread, NULL);
    assert_int_equal(office.next, 3);
    mailbox_free(office.box);
}

/* ---- signals */

static void on_signal(void *owner, int number)
{
    assert_ptr_equal(owner, &seen_count);
    see(number == SIGUSR1 ? '1' : '2');
    if (number == SIGUSR2)
        loop_stop(loop);
}

static void signals_arrive(void **state)
{
    (void)state;
    loop_signals(loop, (const int[]){ SIGUSR1, SIGUSR2, 0 }, &seen_count, on_signal);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    loop_run(loop);
    assert_string_equal(seen, "12");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(timers_fire_in_order_of_deadline),
        TEST(timers_move_and_clear),
        TEST(timer_at_never_does_not_fire),
        TEST(restless_timer_does_not_starve_others),
        TEST(deferred_work_runs_once_in_order),
        TEST(deferring_again_means_the_next_turn_at_once),
        TEST(work_deferred_by_a_timer_does_not_wait_for_an_event),
        TEST(time_stands_still_within_a_turn),
        TEST(mail_goes_to_and_fro_between_two_loops),
        TEST(freeing_a_mailbox_delivers_what_is_in_it),
        TEST(mailbox_may_be_freed_while_it_delivers),
        TEST(loop_waits_for_mail),
        TEST(signals_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
