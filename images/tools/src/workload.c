/* What the tests make a container do. One static program, so that any image can carry it.
 *
 *   workload exit CODE             leave at once with CODE
 *   workload sleep [SECONDS]       sleep, or sleep for ever; TERM ends it with 0
 *   workload stubborn              ignore every signal that can be ignored
 *   workload signals               print each signal's number; TERM ends it with 143
 *   workload lines COUNT [WIDTH]   write COUNT numbered lines of WIDTH bytes (100)
 *   workload both COUNT            write COUNT lines to stdout and stderr in turn
 *   workload memory MIB            take MIB of memory, touch it, hold it
 *   workload cpu SECONDS           keep one core busy
 *   workload forks COUNT           start COUNT sleeping children, then hold them
 *   workload orphan                leave a child to PID 1, then exit; it ends a second later
 *   workload http PORT [TEXT]      answer each request with TEXT (the host's name)
 *   workload udp PORT              send each datagram back
 *   workload connect HOST PORT N   make N connections one after the other, print the time taken
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void hold(void)
{
	for (;;)
		pause();
}

static void leave(int signal)
{
	(void)signal;
	_exit(0);
}

static int do_exit(char **args)
{
	return atoi(args[0]);
}

/* PID 1 ignores signals for which it has no handler. */
static int do_sleep(char **args)
{
	signal(SIGTERM, leave);
	signal(SIGINT, leave);
	if (!args[0])
		hold();
	for (unsigned left = atoi(args[0]); left;)
		left = sleep(left);
	return 0;
}

static int do_stubborn(char **args)
{
	(void)args;
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_IGN);
	puts("ready");
	fflush(stdout);
	hold();
	return 0;
}

static int do_signals(char **args)
{
	(void)args;
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int s = sigwaitinfo(&all, NULL);
		if (s < 0)
			continue;
		printf("%d\n", s);
		fflush(stdout);
		if (s == SIGTERM)
			return 128 + SIGTERM;
	}
}

static int do_lines(char **args)
{
	long count = atol(args[0]);
	int width = args[1] ? atoi(args[1]) : 100;
	char *line = malloc(width + 32);
	for (long i = 0; i < count; i++) {
		int n = sprintf(line, "%ld ", i);
		if (n < width)
			memset(line + n, 'x', width - n);
		line[width - 1] = '\n';
		if (fwrite(line, width, 1, stdout) != 1)
			fail("write");
	}
	return fflush(stdout) ? 1 : 0;
}

static int do_both(char **args)
{
	for (long i = 0, count = atol(args[0]); i < count; i++) {
		dprintf(1, "out %ld\n", i);
		dprintf(2, "err %ld\n", i);
	}
	return 0;
}

static int do_memory(char **args)
{
	size_t size = (size_t)atol(args[0]) << 20;
	char *block = malloc(size);
	if (!block)
		fail("malloc");
	memset(block, 1, size);
	puts("held");
	fflush(stdout);
	signal(SIGTERM, leave);
	hold();
	return 0;
}

static int do_cpu(char **args)
{
	double end = now() + atof(args[0]);
	while (now() < end)
		;
	return 0;
}

static int do_forks(char **args)
{
	long started = 0, count = atol(args[0]);
	for (; started < count; started++) {
		pid_t child = fork();
		if (child < 0)
			break;
		if (!child) {
			signal(SIGTERM, leave);
			hold();
		}
	}
	printf("%ld\n", started);
	fflush(stdout);
	signal(SIGTERM, leave);
	hold();
	return 0;
}

static int do_orphan(char **args)
{
	(void)args;
	if (!fork()) {
		sleep(1);
		_exit(0);
	}
	return 0;
}

/* Both families by one socket, or IPv4 alone where the kernel has no IPv6. */
static int bound(int type, const char *port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	int yes = 1, no = 0, s = socket(AF_INET6, type, 0);
	if (s >= 0) {
		setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
		setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
		if (!bind(s, (void *)&six, sizeof six))
			return s;
		close(s);
	}
	s = socket(AF_INET, type, 0);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(s, (void *)&four, sizeof four))
		fail("bind");
	return s;
}

static void answer(int client, const char *text)
{
	char request[4096];
	if (read(client, request, sizeof request) > 0)
		dprintf(client,
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
			"Connection: close\r\n\r\n%s\n",
			strlen(text) + 1, text);
	close(client);
}

static int do_http(char **args)
{
	char host[256] = "";
	gethostname(host, sizeof host - 1);
	signal(SIGTERM, leave);
	signal(SIGPIPE, SIG_IGN);
	int server = bound(SOCK_STREAM, args[0]);
	if (listen(server, 1024))
		fail("listen");
	for (;;) {
		int client = accept(server, NULL, NULL);
		if (client >= 0)
			answer(client, args[1] ? args[1] : host);
	}
	return 0;
}

static int do_udp(char **args)
{
	char data[65536];
	struct sockaddr_in6 from;
	signal(SIGTERM, leave);
	int s = bound(SOCK_DGRAM, args[0]);
	for (;;) {
		socklen_t size = sizeof from;
		ssize_t n = recvfrom(s, data, sizeof data, 0, (void *)&from, &size);
		if (n >= 0)
			sendto(s, data, n, 0, (void *)&from, size);
	}
	return 0;
}

static int do_connect(char **args)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(args[1]))};
	if (inet_pton(AF_INET, args[0], &to.sin_addr) != 1)
		fail("address");
	double start = now();
	for (long i = 0, count = atol(args[2]); i < count; i++) {
		char data[512];
		int s = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(s, (void *)&to, sizeof to))
			fail("connect");
		dprintf(s, "GET / HTTP/1.0\r\n\r\n");
		while (read(s, data, sizeof data) > 0)
			;
		close(s);
	}
	printf("%.6f\n", now() - start);
	return 0;
}

static const struct {
	const char *name;
	int arguments;
	int (*run)(char **);
} verbs[] = {
	{"exit", 1, do_exit},	  {"sleep", 0, do_sleep},   {"stubborn", 0, do_stubborn},
	{"signals", 0, do_signals}, {"lines", 1, do_lines},   {"both", 1, do_both},
	{"memory", 1, do_memory}, {"cpu", 1, do_cpu},	    {"forks", 1, do_forks},
	{"orphan", 0, do_orphan}, {"http", 1, do_http},	    {"udp", 1, do_udp},
	{"connect", 3, do_connect},
};

int main(int count, char **args)
{
	for (size_t i = 0; count > 1 && i < sizeof verbs / sizeof *verbs; i++)
		if (!strcmp(args[1], verbs[i].name) && count - 2 >= verbs[i].arguments)
			return verbs[i].run(args + 2);
	fprintf(stderr, "usage: workload VERB [ARGUMENT...]; the verbs stand at the top of workload.c\n");
	return 2;
}
