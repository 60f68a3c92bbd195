#!/usr/bin/env bash
# A Kubernetes cluster with one node on this machine, without Docker and without the internet: pods really run.
#   node.sh up              start it (about 25 s)
#   node.sh load TAR…       import image archives (docker or OCI layout)
#   node.sh exec COMMAND…   run a command on the node, for example: node.sh exec kubectl get pods -A
#   node.sh down            stop it; only the logs stay
# Needs root. Everything runs in namespaces of its own (processes, mounts, network), so nothing outlives `down`, and
# nothing of this machine can be reached from the node or reaches it. Only one node can run at a time.
# Environment: NODE_OWNER, a process id: the node stops when this process ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target/cluster"
state=$(realpath "$target")/cluster
data=$state/node
log=$state/log
# One node for each machine: the cgroups of the pods have fixed names.
claim=/run/lock/serverprotection-node
cgroup=serverprotection-node
node_ip=10.99.0.1 service_ip=10.96.0.1 services=10.96.0.0/24 pods=10.97.0.0/16 node_pods=10.97.0.0/24
say() { printf 'node: %s\n' "$*" >&2; }

# The process id of the node's first process, if the node runs.
init() {
  local unshare init
  unshare=$(cat "$claim/pid" 2>/dev/null) && init=$(cat "/proc/$unshare/task/$unshare/children" 2>/dev/null) &&
    [ -n "${init// /}" ] && printf '%s\n' "${init// /}"
}
# Inside the node the state is at a short path, because the path of a socket has at most 107 characters.
inside=/run/node
on_node() { # command…
  local init
  init=$(init) || {
    say "no node is running: $0 up"
    return 1
  }
  nsenter --target "$init" --mount --pid --net --uts --ipc --wd="$PWD" \
    env "KUBECONFIG=$inside/admin.kubeconfig" "PATH=$(cat "$claim/programs"):$PATH" CONTAINERD_ADDRESS=$inside/containerd.sock \
    CONTAINERD_NAMESPACE=k8s.io "$@"
}

up() {
  local programs unshare now step=
  [ "$(id -u)" = 0 ] || {
    say "needs root"
    return 1
  }
  programs=$("$here/build.sh"):$("$here/../control-plane/build.sh" 2>/dev/null)
  if init >/dev/null; then
    say "a node of $(cat "$claim/state") is running: stop it with $0 down"
    return 1
  fi
  down # what a killed node left
  mkdir -p "$claim" "$data" "$log"
  rm -rf "$log"
  mkdir "$log"
  "$here/pause/build.sh" "$data/pause.tar" 2>"$log/pause.log" || {
    cat "$log/pause.log" >&2
    return 1
  }
  printf '%s' "$programs" >"$claim/programs"
  printf '%s' "$state" >"$claim/state"
  say "starting; logs are in $log"
  # The end of `unshare` kills the first process of the node, and the kernel then ends everything in its namespaces.
  setsid unshare --mount --pid --net --uts --ipc --fork --kill-child --mount-proc --propagation private \
    "$0" init "$programs" "$data" "$log" </dev/null >"$log/node.log" 2>&1 9>&- &
  unshare=$!
  printf '%s' "$unshare" >"$claim/pid"
  [ -z "${NODE_OWNER:-}" ] || setsid "$0" guard "$NODE_OWNER" "$unshare" </dev/null >/dev/null 2>&1 &
  for _ in $(seq 1200); do
    # The programs of containerd log there too.
    now=$(sed '/^time=/d' "$log/node.log" | tail -n 1)
    if [ "$now" != "$step" ]; then
      step=$now
      say "$step"
    fi
    [ "$step" != ready ] || return 0
    kill -0 "$unshare" 2>/dev/null || break
    sleep 0.1
  done
  say "the node did not come up: see $log"
  tail -n 5 "$log"/*.log >&2
  down
  return 1
}

# Ends the node after its owner.
guard() { # owner node
  while kill -0 "$1" 2>/dev/null && kill -0 "$2" 2>/dev/null; do sleep 1; done
  [ "$(cat "$claim/pid" 2>/dev/null)" != "$2" ] || down
}

down() {
  local unshare hierarchy folder
  if unshare=$(cat "$claim/pid" 2>/dev/null) && init >/dev/null; then
    kill -KILL "$unshare"
  fi
  # The processes of the pods end a moment later.
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$hierarchy/$cgroup" ] || continue
    for _ in $(seq 50); do
      find "$hierarchy/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
  done
  while read -r folder; do rmdir "$folder" 2>/dev/null || true; done < <(cat "$claim/created" 2>/dev/null)
  # Never through a mount of a node that still ends.
  if [ -f "$claim/state" ]; then rm -rf --one-file-system "$(cat "$claim/state")/node"; fi
  rm -rf "$claim"
}

# --- Everything below runs as the first process of the node. ---

# Hides a folder of this machine that Kubernetes programs write to.
cover() { # folder
  [ -d "$1" ] || {
    mkdir -p "$1"
    printf '%s\n' "$1" >>"$claim/created"
  }
  mount -t tmpfs tmpfs "$1"
}
# Starts a program, and starts it again when it ends, as systemd does.
run() { # name command…
  local name=$1
  shift
  (
    while :; do
      status=0
      "$@" >>"$log/$name.log" 2>&1 || status=$?
      printf '%s ended with status %s\n' "$name" "$status" >>"$log/restarts.log"
      sleep 0.5
    done
  ) &
}
until_works() { # attempts, 10 of them in a second; command…
  local attempts=$1
  shift
  for _ in $(seq "$attempts"); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  "$@"
}
certificate() { # name subject alternative-names
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
    -extfile <(printf 'subjectAltName=%s' "${3:-DNS:$1}") 2>/dev/null
}
kubeconfig() { # user
  cat >"../$1.kubeconfig" <<C
apiVersion: v1
kind: Config
current-context: node
contexts: [{name: node, context: {cluster: node, user: $1}}]
clusters:
- {name: node, cluster: {server: "https://$node_ip:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}
users:
- {name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}
C
}
keys() {
  mkdir certs
  pushd certs >/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -subj /CN=node-ca -days 30 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out sa.key
  openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
  certificate apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$node_ip,IP:$service_ip,DNS:kubernetes.default.svc"
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  certificate admin /O=system:masters/CN=admin
  certificate kubelet /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:$node_ip"
  for user in kube-controller-manager kube-scheduler kube-proxy; do certificate $user "/CN=system:$user"; done
  for user in admin kubelet kube-controller-manager kube-scheduler kube-proxy; do kubeconfig $user; done
  popd >/dev/null
}
# Debian, the upstream archives, Fedora.
cni() {
  local folder
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    if [ -x "$folder/bridge" ]; then
      printf '%s' "$folder"
      return
    fi
  done
  printf 'no CNI plugins\n' >&2
  return 1
}
# Overlay mounts do not work on every file system.
snapshotter() {
  mkdir -p probe/{lower,upper,work,merged}
  if mount -t overlay overlay -o lowerdir=probe/lower,upperdir=probe/upper,workdir=probe/work probe/merged 2>/dev/null; then
    umount probe/merged
    printf overlayfs
  else
    printf native
  fi
}
network() {
  ip link set lo up
  # Both ends are here: the default route leads nowhere.
  ip link add node0 type veth peer name node0p
  ip addr add $node_ip/24 dev node0
  # The address of the instance metadata service of Azure machines.
  ip addr add 169.254.169.254/32 dev node0
  ip link set node0 up
  ip link set node0p up
  ip route add default dev node0
  sysctl -qw net.ipv4.ip_forward=1
  cat >cni.conflist <<C
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$inside/ipam", "ranges": [[{"subnet": "$node_pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
C
  mkdir cni
  mv cni.conflist cni/10-pods.conflist
}
container_runtime() {
  cat >containerd.toml <<C
version = 3
root = "$inside/containerd"
state = "/run/containerd"
[grpc]
  address = "$inside/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "$(snapshotter)"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE every pod fails otherwise.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$(cni)"]
    conf_dir = "$inside/cni"
C
  run containerd containerd --config containerd.toml
}
kubelet_settings() {
  cat >kubelet.yaml <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $inside/certs/ca.crt}, webhook: {enabled: true}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
containerRuntimeEndpoint: unix://$inside/containerd.sock
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
podLogsDir: $log/running-pods
tlsCertFile: $inside/certs/kubelet.crt
tlsPrivateKeyFile: $inside/certs/kubelet.key
# The images cannot be pulled again, so a full disk must not remove them.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
resolvConf: ""
C
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -f "$hierarchy/cgroup.procs" ]; then mkdir -p "$hierarchy/$cgroup"; fi
  done
}
be_node() { # programs data log
  local certs=$inside/certs
  log=$3
  export PATH=$1:$PATH # containerd finds its shim and runc here
  hostname node1
  for folder in /var/lib/kubelet /var/lib/cni /var/log/containers; do cover $folder; done
  mount -t tmpfs tmpfs /run
  mkdir -p $inside /run/lock
  mount --bind "$2" $inside
  cd $inside
  network
  keys

  echo "starting etcd and kube-apiserver"
  run etcd etcd --data-dir=$inside/etcd --unsafe-no-fsync
  run kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range=$services \
    --advertise-address=$node_ip --allow-privileged=true --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --client-ca-file=$certs/ca.crt --tls-cert-file=$certs/apiserver.crt --tls-private-key-file=$certs/apiserver.key \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=$certs/sa.pub \
    --service-account-signing-key-file=$certs/sa.key --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate=$certs/kubelet-client.crt --kubelet-client-key=$certs/kubelet-client.key
  export KUBECONFIG=$inside/admin.kubeconfig
  until_works 600 kubectl get --raw /readyz

  echo "starting the controllers, containerd and the kubelet"
  run kube-controller-manager kube-controller-manager --kubeconfig=$inside/kube-controller-manager.kubeconfig --root-ca-file=$certs/ca.crt \
    --service-account-private-key-file=$certs/sa.key --use-service-account-credentials --leader-elect=false \
    --allocate-node-cidrs --cluster-cidr=$pods
  run kube-scheduler kube-scheduler --kubeconfig=$inside/kube-scheduler.kubeconfig --leader-elect=false
  container_runtime
  until_works 100 ctr --address $inside/containerd.sock version
  ctr --address $inside/containerd.sock --namespace k8s.io images import pause.tar >/dev/null
  kubelet_settings
  mkdir "$log"/{running-pods,pods}
  # The kubelet deletes the logs of a deleted pod. A second link keeps them, with what is written later.
  (while sleep 1; do cp --recursive --link --no-clobber "$log/running-pods/." "$log/pods/" 2>/dev/null || true; done) &
  # The kubelet stays NotReady for ever if the Node object appears too late.
  printf 'apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n' | kubectl apply -f - >/dev/null
  run kubelet kubelet --config=kubelet.yaml --kubeconfig=$inside/kubelet.kubeconfig --hostname-override=node1 --node-ip=$node_ip
  # 0: do not write the sysctls of conntrack.
  run kube-proxy kube-proxy --kubeconfig=$inside/kube-proxy.kubeconfig --proxy-mode=iptables --cluster-cidr=$pods \
    --hostname-override=node1 --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s
  echo "waiting until the node is Ready"
  kubectl wait node/node1 --for=condition=Ready --timeout=90s >/dev/null
  echo ready
  wait
}

case ${1:-} in
up) up ;;
load)
  shift
  for archive in "$@"; do on_node ctr images import "$(realpath "$archive")" >&2; done
  ;;
exec)
  shift
  on_node "$@"
  ;;
down) down ;;
init)
  shift
  be_node "$@"
  ;;
guard) guard "$2" "$3" ;;
*)
  sed -n '2,9p' "$0" >&2
  exit 2
  ;;
esac
