/*
 * The loops of the benchmarks on the host kernel. Usage: host fault|pair THREADS MILLISECONDS
 * All threads are in one process, so in one mm. Prints operations per second: the sum over the threads, each by its own clock.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096UL
#define RANGE (128UL << 20)
#define PAIRS 256
#define MAX_THREADS 64

struct worker {
  pthread_t thread;
  double rate;
};

static pthread_barrier_t barrier;
static double seconds;
static long (*step)(void);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static char *map(size_t length) {
  char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return at;
}

static long fault_step(void) {
  volatile char *at = map(RANGE);
  madvise((void *)at, RANGE, MADV_NOHUGEPAGE);
  for (size_t offset = 0; offset < RANGE; offset += PAGE) at[offset] = 1;
  munmap((void *)at, RANGE);
  return (long)(RANGE / PAGE);
}

static long pair_step(void) {
  for (int i = 0; i < PAIRS; i++) munmap(map(PAGE), PAGE);
  return PAIRS;
}

static void *work(void *argument) {
  struct worker *self = argument;
  pthread_barrier_wait(&barrier);
  double start = now();
  double elapsed;
  long done = 0;
  do {
    done += step();
    elapsed = now() - start;
  } while (elapsed < seconds);
  self->rate = (double)done / elapsed;
  return NULL;
}

int main(int argc, char **argv) {
  static struct worker workers[MAX_THREADS];
  if (argc != 4) return 2;
  step = strcmp(argv[1], "fault") == 0 ? fault_step : pair_step;
  int threads = atoi(argv[2]);
  seconds = atof(argv[3]) / 1000;
  if (threads < 1 || threads > MAX_THREADS) return 2;
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  double rate = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    rate += workers[i].rate;
  }
  printf("%.0f\n", rate);
  return 0;
}
