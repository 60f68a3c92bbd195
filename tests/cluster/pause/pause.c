/* The process of a pod's sandbox: it holds the pod's namespaces until it is told to stop. It is process 1 of the pod,
 * so it collects the children that others left behind. */
#include <signal.h>
#include <sys/wait.h>

int main(void) {
  sigset_t signals;
  int received;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, 0);
  do {
    sigwait(&signals, &received);
    while (received == SIGCHLD && waitpid(-1, 0, WNOHANG) > 0) {
    }
  } while (received == SIGCHLD);
  return 0;
}
