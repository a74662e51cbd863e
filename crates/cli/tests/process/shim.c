/* Records what a process does to the files of one folder, for building the disks that a loss of
 * power could leave; and lets one of its calls fail.
 *
 * Loaded with LD_PRELOAD. A seccomp filter turns the file system calls of the process into
 * SIGSYS, whoever makes them (libc, or code that calls the kernel itself); the handler makes the
 * call in the process' stead and writes down what it did. Calls from our own one syscall
 * instruction pass the filter.
 *
 * SHIM_ROOT   the folder, an absolute path without links
 * SHIM_TRACE  the file to append records to; nothing is recorded without
 * SHIM_NO_SYNC=all|folders  such syncs answer "done", do nothing and are not recorded
 * SHIM_FAIL=nth:error  the nth call that opens, changes or syncs anything below the folder,
 *             counted from 1, does nothing but return the system's error of this number
 * SHIM_FAILED  the file to note that call in
 *
 * Holds: changes are made and recorded under one lock, so the order of the records is the order
 * of the changes. A sync has a record from before it and one from after it: only what was
 * recorded before the first is covered by the second.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

long shim_syscall(long number, long a, long b, long c, long d, long e, long f);
extern char shim_syscall_end[];

#if defined(__x86_64__)
#define SHIM_ARCH AUDIT_ARCH_X86_64
__asm__(".text\n.globl shim_syscall\n.type shim_syscall,@function\nshim_syscall:\n"
        "mov %rdi,%rax\nmov %rsi,%rdi\nmov %rdx,%rsi\nmov %rcx,%rdx\n"
        "mov %r8,%r10\nmov %r9,%r8\nmov 8(%rsp),%r9\nsyscall\n"
        ".globl shim_syscall_end\nshim_syscall_end:\nret\n");
#elif defined(__aarch64__)
#define SHIM_ARCH AUDIT_ARCH_AARCH64
__asm__(".text\n.globl shim_syscall\n.type shim_syscall,%function\nshim_syscall:\n"
        "mov x8,x0\nmov x0,x1\nmov x1,x2\nmov x2,x3\nmov x3,x4\nmov x4,x5\nmov x5,x6\nsvc #0\n"
        ".globl shim_syscall_end\nshim_syscall_end:\nret\n");
#else
#error "this processor is not known here"
#endif

enum kind {
  CREATE = 1, /* path, node */
  MKDIR,      /* path, node */
  WRITE,      /* node, at, data */
  TRUNCATE,   /* node, to */
  EXTEND,     /* node, to at least */
  ZERO,       /* node, at, length */
  RENAME,     /* path, other path */
  UNLINK,     /* path; of files and folders */
  LINK,       /* path, other path */
  SYNC_BEGIN, /* node, number */
  SYNC_END,   /* node, number */
  UNKNOWN,    /* number of a call that the model does not have */
};

struct record {
  uint32_t kind, path_length, other_length, unused;
  uint64_t node, at, length, data_length;
};

static char root[PATH_MAX];
static size_t root_length;
static int trace = -1;
static int no_sync, no_folder_sync;
static long fail_nth, fail_error, calls;
static char failed[PATH_MAX];
static uint64_t sync_number;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static long call(long number, long a, long b, long c, long d) {
  return shim_syscall(number, a, b, c, d, 0, 0);
}

static void die(const char *what) {
  call(__NR_write, 2, (long)what, (long)strlen(what), 0);
  _exit(97);
}

/* Whether this call is the one that fails. */
static int fails(const char *what, const char *name) {
  if (fail_nth == 0 || __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) != fail_nth) return 0;
  int file = (int)call(__NR_openat, AT_FDCWD, (long)failed, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  struct iovec parts[3] = {{(void *)what, strlen(what)}, {" ", 1}, {(void *)name, strlen(name)}};
  if (file < 0 || call(__NR_writev, file, (long)parts, 3, 0) < 0) {
    die("shim: the failed call cannot be noted\n");
  }
  close(file);
  return 1;
}

static void put(enum kind kind, uint64_t node, uint64_t at, uint64_t length, const char *path,
                const char *other, const void *data, size_t data_length) {
  if (trace < 0) return;
  struct record record = {.kind = kind,
                          .path_length = path ? (uint32_t)strlen(path) : 0,
                          .other_length = other ? (uint32_t)strlen(other) : 0,
                          .node = node,
                          .at = at,
                          .length = length,
                          .data_length = data_length};
  struct iovec parts[4] = {{&record, sizeof record},
                           {(void *)path, record.path_length},
                           {(void *)other, record.other_length},
                           {(void *)data, data_length}};
  long whole = (long)(sizeof record + record.path_length + record.other_length + data_length);
  if (call(__NR_writev, trace, (long)parts, 4, 0) != whole) {
    die("shim: the trace cannot be written\n");
  }
}

static int within(const char *path) {
  return strncmp(path, root, root_length) == 0 &&
         (path[root_length] == '/' || path[root_length] == 0);
}

/* The name of an open file, if it is one of ours. */
static int name_of(int fd, char *into) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = call(__NR_readlinkat, AT_FDCWD, (long)link, (long)into, PATH_MAX - 1);
  if (length < 0) return 0;
  into[length] = 0;
  return within(into);
}

static uint64_t node_of(int fd) {
  struct stat stat;
  return fstat(fd, &stat) == 0 ? stat.st_ino : 0;
}

/* The absolute form of a path; whether it is one of ours. Ours are given without dots. */
static int resolve(int dir, const char *path, char *into) {
  if (path[0] == '/') {
    if (strlen(path) >= PATH_MAX) return 0;
    strcpy(into, path);
    return within(into);
  }
  char link[64];
  if (dir == AT_FDCWD) {
    strcpy(link, "/proc/self/cwd");
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
  }
  long length = call(__NR_readlinkat, AT_FDCWD, (long)link, (long)into, PATH_MAX - 1);
  if (length < 0 || (size_t)length + strlen(path) + 2 >= PATH_MAX) return 0;
  into[length] = '/';
  strcpy(into + length + 1, path);
  return within(into);
}

/* Records `count` bytes that were written to `fd`, now lying at `at` of the file. */
static void read_back(int fd, uint64_t at, uint64_t count) {
  static char buffer[1 << 16];
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int file = (int)call(__NR_openat, AT_FDCWD, (long)link, O_RDONLY | O_CLOEXEC, 0);
  uint64_t node = node_of(fd);
  while (file >= 0 && count > 0) {
    size_t part = count < sizeof buffer ? count : sizeof buffer;
    long got = call(__NR_pread64, file, (long)buffer, (long)part, (long)at);
    if (got <= 0) break;
    put(WRITE, node, at, 0, NULL, NULL, buffer, (size_t)got);
    at += (uint64_t)got;
    count -= (uint64_t)got;
  }
  if (file >= 0) close(file);
}

static void put_parts(int fd, uint64_t at, const struct iovec *parts, long count, long written) {
  uint64_t node = node_of(fd);
  for (long part = 0; part < count && written > 0; part++) {
    long length = (long)parts[part].iov_len < written ? (long)parts[part].iov_len : written;
    if (length > 0) put(WRITE, node, at, 0, NULL, NULL, parts[part].iov_base, (size_t)length);
    at += (uint64_t)length;
    written -= length;
  }
}

static long do_write(long number, const long *a) {
  char name[PATH_MAX];
  if (!name_of((int)a[0], name)) return shim_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (fails("write", name)) return -fail_error;
  pthread_mutex_lock(&lock);
  long done = shim_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (done > 0) {
    int positioned = number == __NR_pwrite64 || number == __NR_pwritev ||
                     (number == __NR_pwritev2 && a[3] != -1);
    uint64_t at = positioned ? (uint64_t)a[3]
                             : (uint64_t)call(__NR_lseek, a[0], 0, SEEK_CUR, 0) - (uint64_t)done;
    if (number == __NR_write || number == __NR_pwrite64) {
      put(WRITE, node_of((int)a[0]), at, 0, NULL, NULL, (void *)a[1], (size_t)done);
    } else {
      put_parts((int)a[0], at, (const struct iovec *)a[1], a[2], done);
    }
  }
  pthread_mutex_unlock(&lock);
  return done;
}

/* copy_file_range and sendfile: the bytes are read back from where they went. */
static long do_copy(long number, const long *a) {
  char name[PATH_MAX];
  int to = (int)(number == __NR_sendfile ? a[0] : a[2]);
  if (!name_of(to, name)) return shim_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (fails("copy", name)) return -fail_error;
  pthread_mutex_lock(&lock);
  int positioned = number == __NR_copy_file_range && a[3] != 0;
  uint64_t at = positioned ? *(uint64_t *)a[3] : (uint64_t)call(__NR_lseek, to, 0, SEEK_CUR, 0);
  long done = shim_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (done > 0) read_back(to, at, (uint64_t)done);
  pthread_mutex_unlock(&lock);
  return done;
}

static long do_open(int dir, const char *path, long flags, long mode) {
  char name[PATH_MAX];
  int changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  int ours = (changes || fail_nth != 0) && resolve(dir, path, name);
  if (ours && fails("open", name)) return -fail_error;
  if (!changes || !ours) return call(__NR_openat, dir, (long)path, flags, mode);
  pthread_mutex_lock(&lock);
  int existed = call(__NR_faccessat, dir, (long)path, F_OK, 0) == 0;
  long fd = call(__NR_openat, dir, (long)path, flags, mode);
  if (fd >= 0 && !existed) put(CREATE, node_of((int)fd), 0, 0, name, NULL, NULL, 0);
  if (fd >= 0 && existed && (flags & O_TRUNC)) {
    put(TRUNCATE, node_of((int)fd), 0, 0, NULL, NULL, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

static long do_mkdir(int dir, const char *path, long mode) {
  char name[PATH_MAX];
  int ours = resolve(dir, path, name);
  if (ours && fails("mkdir", name)) return -fail_error;
  pthread_mutex_lock(&lock);
  long done = call(__NR_mkdirat, dir, (long)path, mode, 0);
  if (done == 0 && ours) {
    struct stat stat;
    uint64_t node = lstat(name, &stat) == 0 ? stat.st_ino : 0;
    put(MKDIR, node, 0, 0, name, NULL, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  return done;
}

static long do_unlink(int dir, const char *path, long flags) {
  char name[PATH_MAX];
  int ours = resolve(dir, path, name);
  if (ours && fails("unlink", name)) return -fail_error;
  pthread_mutex_lock(&lock);
  long done = call(__NR_unlinkat, dir, (long)path, flags, 0);
  if (done == 0 && ours) put(UNLINK, 0, 0, 0, name, NULL, NULL, 0);
  pthread_mutex_unlock(&lock);
  return done;
}

static long do_two(enum kind kind, long number, int dir, const char *path, int other_dir,
                   const char *other, long flags) {
  char name[PATH_MAX], other_name[PATH_MAX];
  int ours = resolve(dir, path, name);
  ours |= resolve(other_dir, other, other_name);
  if (ours && fails(kind == RENAME ? "rename" : "link", name)) return -fail_error;
  pthread_mutex_lock(&lock);
  long done = shim_syscall(number, dir, (long)path, other_dir, (long)other, flags, 0);
  if (done == 0 && ours) {
    /* An exchange of two names is not in the model. */
    if (kind == RENAME && (flags & 2)) put(UNKNOWN, 0, 0, (uint64_t)number, NULL, NULL, NULL, 0);
    put(kind, 0, 0, 0, name, other_name, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  return done;
}

static long do_size(long number, const long *a) {
  char name[PATH_MAX];
  if (!name_of((int)a[0], name)) return call(number, a[0], a[1], a[2], a[3]);
  if (fails("size", name)) return -fail_error;
  pthread_mutex_lock(&lock);
  long done = call(number, a[0], a[1], a[2], a[3]);
  if (done == 0) {
    uint64_t node = node_of((int)a[0]);
    if (number == __NR_ftruncate) {
      put(TRUNCATE, node, (uint64_t)a[1], 0, NULL, NULL, NULL, 0);
    } else if ((a[1] & ~1L) == 0) {
      if (!(a[1] & 1)) put(EXTEND, node, (uint64_t)(a[2] + a[3]), 0, NULL, NULL, NULL, 0);
    } else if ((a[1] & ~(1L | 2L | 16L)) == 0) { /* a hole, or zeros */
      if (!(a[1] & 1)) put(EXTEND, node, (uint64_t)(a[2] + a[3]), 0, NULL, NULL, NULL, 0);
      put(ZERO, node, (uint64_t)a[2], (uint64_t)a[3], NULL, NULL, NULL, 0);
    } else {
      put(UNKNOWN, node, 0, (uint64_t)number, NULL, NULL, NULL, 0);
    }
  }
  pthread_mutex_unlock(&lock);
  return done;
}

static long do_sync(long number, const long *a) {
  char name[PATH_MAX];
  if (!name_of((int)a[0], name)) return call(number, a[0], a[1], a[2], a[3]);
  struct stat stat;
  if (fails("sync", name)) return -fail_error;
  if (no_sync) return 0;
  if (no_folder_sync && fstat((int)a[0], &stat) == 0 && S_ISDIR(stat.st_mode)) return 0;
  pthread_mutex_lock(&lock);
  uint64_t node = node_of((int)a[0]);
  uint64_t mine = ++sync_number;
  put(SYNC_BEGIN, node, 0, mine, NULL, NULL, NULL, 0);
  pthread_mutex_unlock(&lock);
  long done = call(number, a[0], a[1], a[2], a[3]);
  if (done == 0) {
    pthread_mutex_lock(&lock);
    put(SYNC_END, node, 0, mine, NULL, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  return done;
}

static long do_unknown(long number, const long *a) {
  long done = shim_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  char name[PATH_MAX];
  int ours = number == __NR_mmap ? name_of((int)a[4], name)
                                 : resolve(AT_FDCWD, (const char *)a[0], name);
  if (ours) {
    pthread_mutex_lock(&lock);
    put(UNKNOWN, 0, 0, (uint64_t)number, NULL, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  return done;
}

static long dispatch(long number, const long *a) {
  switch (number) {
  case __NR_write:
  case __NR_pwrite64:
  case __NR_writev:
  case __NR_pwritev:
  case __NR_pwritev2: return do_write(number, a);
  case __NR_copy_file_range:
  case __NR_sendfile: return do_copy(number, a);
  case __NR_openat: return do_open((int)a[0], (const char *)a[1], a[2], a[3]);
  case __NR_mkdirat: return do_mkdir((int)a[0], (const char *)a[1], a[2]);
  case __NR_unlinkat: return do_unlink((int)a[0], (const char *)a[1], a[2]);
  case __NR_renameat2:
    return do_two(RENAME, number, (int)a[0], (char *)a[1], (int)a[2], (char *)a[3], a[4]);
  case __NR_renameat:
    return do_two(RENAME, number, (int)a[0], (char *)a[1], (int)a[2], (char *)a[3], 0);
  case __NR_linkat:
    return do_two(LINK, number, (int)a[0], (char *)a[1], (int)a[2], (char *)a[3], a[4]);
  case __NR_ftruncate:
  case __NR_fallocate: return do_size(number, a);
  case __NR_fsync:
  case __NR_fdatasync: return do_sync(number, a);
#if defined(__x86_64__)
  case __NR_open: return do_open(AT_FDCWD, (const char *)a[0], a[1], a[2]);
  case __NR_creat: return do_open(AT_FDCWD, (const char *)a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1]);
  case __NR_mkdir: return do_mkdir(AT_FDCWD, (const char *)a[0], a[1]);
  case __NR_rmdir: return do_unlink(AT_FDCWD, (const char *)a[0], AT_REMOVEDIR);
  case __NR_unlink: return do_unlink(AT_FDCWD, (const char *)a[0], 0);
  case __NR_rename:
    return do_two(RENAME, __NR_renameat2, AT_FDCWD, (char *)a[0], AT_FDCWD, (char *)a[1], 0);
  case __NR_link:
    return do_two(LINK, __NR_linkat, AT_FDCWD, (char *)a[0], AT_FDCWD, (char *)a[1], 0);
#endif
  default: return do_unknown(number, a);
  }
}

static void on_call(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  int kept = errno;
#if defined(__x86_64__)
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  long a[6] = {g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10], g[REG_R8], g[REG_R9]};
  g[REG_RAX] = dispatch(g[REG_RAX], a);
#else
  unsigned long long *r = ((ucontext_t *)context)->uc_mcontext.regs;
  long a[6] = {(long)r[0], (long)r[1], (long)r[2], (long)r[3], (long)r[4], (long)r[5]};
  r[0] = (unsigned long long)dispatch((long)r[8], a);
#endif
  errno = kept;
}

#define WORD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define HALF(name, high) \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name) + (high))
#define TRAP(number) \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), \
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

static void install(void) {
  uint64_t ours = (uint64_t)(uintptr_t)shim_syscall_end;
  struct sock_filter filter[] = {
      WORD(arch),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SHIM_ARCH, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      HALF(instruction_pointer, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)ours, 0, 3),
      HALF(instruction_pointer, 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(ours >> 32), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      WORD(nr),
      TRAP(__NR_write),
      TRAP(__NR_pwrite64),
      TRAP(__NR_writev),
      TRAP(__NR_pwritev),
      TRAP(__NR_pwritev2),
      TRAP(__NR_copy_file_range),
      TRAP(__NR_sendfile),
      TRAP(__NR_openat),
      TRAP(__NR_mkdirat),
      TRAP(__NR_unlinkat),
      TRAP(__NR_renameat2),
      TRAP(__NR_renameat),
      TRAP(__NR_linkat),
      TRAP(__NR_ftruncate),
      TRAP(__NR_fallocate),
      TRAP(__NR_fsync),
      TRAP(__NR_fdatasync),
      TRAP(__NR_truncate),
#if defined(__x86_64__)
      TRAP(__NR_open),
      TRAP(__NR_creat),
      TRAP(__NR_mkdir),
      TRAP(__NR_rmdir),
      TRAP(__NR_unlink),
      TRAP(__NR_rename),
      TRAP(__NR_link),
#endif
      /* Writing through a mapping cannot be followed; it is only noticed. */
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mmap, 0, 5),
      HALF(args[2], 0),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_WRITE, 0, 3),
      HALF(args[3], 0),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_RESTART};
  /* A handler that came in between would make calls of its own, with SIGSYS blocked. */
  sigfillset(&action.sa_mask);
  if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
    die("shim: system calls cannot be watched here\n");
  }
}

/* In libc's place: a thread that blocks every signal, as the allocator's own does, would be
 * killed by its first call that is watched. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
  sigset_t without;
  if (set && how != SIG_UNBLOCK) {
    without = *set;
    sigdelset(&without, SIGSYS);
    set = &without;
  }
  return (int)-call(__NR_rt_sigprocmask, how, (long)set, (long)old, _NSIG / 8);
}

__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("SHIM_ROOT"), *file = getenv("SHIM_TRACE");
  const char *failing = getenv("SHIM_FAIL"), *note = getenv("SHIM_FAILED");
  if (!folder || (!file && !failing) || strlen(folder) >= sizeof root) return;
  strcpy(root, folder);
  root_length = strlen(root);
  const char *missing = getenv("SHIM_NO_SYNC");
  no_sync = missing && strcmp(missing, "all") == 0;
  no_folder_sync = missing && strcmp(missing, "folders") == 0;
  if (failing) {
    if (!note || strlen(note) >= sizeof failed ||
        sscanf(failing, "%ld:%ld", &fail_nth, &fail_error) != 2) {
      die("shim: SHIM_FAIL wants nth:error, and SHIM_FAILED a file\n");
    }
    strcpy(failed, note);
  }
  if (file) {
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Out of the way of programs that count on low numbers. */
    trace = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 500);
    if (trace < 0) die("shim: the trace cannot be opened\n");
    close(fd);
  }
  install();
}
