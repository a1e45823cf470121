// SPDX-License-Identifier: MIT
// Who speaks, on which stream, with which prefix; lines of any length arrive whole, in one write.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "comm/log.h"

// Streams go to datagram sockets while a test speaks: each write() is one packet.
static int saved[2], heard[2];

static void listen_on(int fd)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    fflush(NULL);
    saved[fd - 1] = dup(fd);
    dup2(pair[0], fd);
    close(pair[0]);
    heard[fd - 1] = pair[1];
}

// What came in one write; "" when nothing was said.
static const char *hear(int fd)
{
    static char packet[20000];
    ssize_t n = recv(heard[fd - 1], packet, sizeof packet - 1, MSG_DONTWAIT);
    packet[n > 0 ? n : 0] = '\0';
    return packet;
}

static int set_up(void **state)
{
    (void)state;
    listen_on(1);
    listen_on(2);
    log_set_level(LOG_NORMAL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
        close(heard[i]);
    }
    return 0;
}

static void rank_0_speaks(void **state)
{
    (void)state;
    log_open("prog", 0, 4, "node7");
    log_line("epoch %d", 3);
    assert_string_equal(hear(1), "epoch 3\n");
    log_warn("%s", "slow");
    assert_string_equal(hear(2), "prog: warning: slow\n");
    log_error(false, "agreed");
    assert_string_equal(hear(2), "prog: error: agreed\n");
    log_error(true, "mine %d");
    assert_string_equal(hear(2), "[rank 0 node7] prog: error: mine %d\n");
    assert_string_equal(hear(1), "");
}

static void others_only_report_errors(void **state)
{
    (void)state;
    log_open("prog", 2, 4, "node7");
    log_line("epoch");
    log_warn("slow");
    log_transient("bar");
    assert_string_equal(hear(1), "");
    assert_string_equal(hear(2), "");
    log_error(true, "mine");
    assert_string_equal(hear(2), "[rank 2 node7] prog: error: mine\n");
}

static void a_single_process_has_no_rank(void **state)
{
    (void)state;
    log_open("prog", 0, 1, "node7");
    log_error(true, "mine");
    assert_string_equal(hear(2), "prog: error: mine\n");
}

static void quiet_silences_lines_not_errors(void **state)
{
    (void)state;
    log_open("prog", 0, 1, "node7");
    log_set_level(LOG_QUIET);
    log_line("epoch");
    assert_string_equal(hear(1), "");
    log_error(false, "bad");
    assert_string_equal(hear(2), "prog: error: bad\n");
}

static void no_progress_bar_off_a_terminal(void **state)
{
    (void)state;
    log_open("prog", 0, 1, "node7");
    assert_false(log_is_terminal());
    assert_false(log_has_colour());
    log_transient("50 %");
    log_transient("");
    log_line("done");
    assert_string_equal(hear(1), "done\n");
}

static void long_lines_are_one_write(void **state)
{
    (void)state;
    log_open("prog", 0, 1, "node7");
    static const size_t lengths[] = {0, 1022, 1023, 1024, 1025, 15000};
    static char text[15001];
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memset(text, 'x', lengths[i]);
        text[lengths[i]] = '\0';
        log_line("%s", text);
        const char *got = hear(1);
        assert_int_equal(strlen(got), lengths[i] + 1);
        assert_memory_equal(got, text, lengths[i]);
        assert_int_equal(got[lengths[i]], '\n');
        assert_string_equal(hear(1), "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rank_0_speaks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_only_report_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_single_process_has_no_rank, set_up, tear_down),
        cmocka_unit_test_setup_teardown(quiet_silences_lines_not_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_progress_bar_off_a_terminal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_lines_are_one_write, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
