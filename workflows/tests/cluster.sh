#!/usr/bin/env bash
# A Slurm of two emulated nodes on this machine, for tests: needs root, slurm-wlm and munge of Debian.
#   workflows/tests/cluster.sh start DIR     DIR holds its configuration, logs and state
#   workflows/tests/cluster.sh stop DIR
# Both nodes are this machine: they say nothing of speed, but where a job runs, fails and is given again is Slurm's own doing.
set -euo pipefail
action=$1 dir=$(realpath -m "$2")

pid_of() { cat "$dir/$1.pid" 2>/dev/null || true; }

start() {
  mkdir -p "$dir/state"
  install -d -o munge -g munge -m 755 /run/munge
  if ! munge --no-input >/dev/null 2>&1; then
    [ -s /etc/munge/munge.key ] || runuser -u munge -- /usr/sbin/mungekey
    runuser -u munge -- /usr/sbin/munged
    touch "$dir/munged.is.ours"
  fi
  cat > "$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=17100
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/jobcomp.txt
ReturnToService=2
MinJobAge=3600
JobRequeue=1
SlurmdTimeout=10
KillWait=30
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdSpoolDir=$dir/spool.%n
SlurmdPidFile=$dir/%n.pid
SlurmdLogFile=$dir/%n.log
GresTypes=gpu
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17101 CPUs=2 RealMemory=8000 Gres=gpu:1
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17102 CPUs=2 RealMemory=8000 Gres=gpu:1
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
  # What Slurm takes for a GPU of each node: it gives it to jobs that ask for one, and no program finds CUDA there.
  echo "NodeName=n[1-2] Name=gpu File=/dev/null" > "$dir/gres.conf"
  # Jobs look there, whatever SLURM_CONF says.
  mkdir -p /etc/slurm
  for name in slurm gres; do
    file=/etc/slurm/$name.conf
    [ ! -e "$file" ] || [ -L "$file" ] || mv "$file" "$file.before-test"
  done
  ln -sfn "$dir/slurm.conf" /etc/slurm/slurm.conf
  ln -sfn "$dir/gres.conf" /etc/slurm/gres.conf
  slurmctld
  slurmd -N n1
  slurmd -N n2
  for _ in $(seq 60); do
    [ "$(sinfo -h -t idle -o %D 2>/dev/null | head -1)" = 2 ] && return
    sleep 1
  done
  sinfo; tail "$dir"/*.log
  echo "the nodes did not come up" >&2
  return 1
}

stop() {
  squeue -h -o %A 2>/dev/null | xargs -r scancel || true
  for _ in $(seq 20); do [ -n "$(squeue -h 2>/dev/null)" ] || break; sleep 1; done
  for daemon in n1 n2 slurmctld; do
    pid=$(pid_of "$daemon")
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  done
  for name in slurm gres; do
    file=/etc/slurm/$name.conf
    rm -f "$file"
    [ ! -e "$file.before-test" ] || mv "$file.before-test" "$file"
  done
  # Only what was started here.
  [ ! -e "$dir/munged.is.ours" ] || kill "$(cat /run/munge/munged.pid)" 2>/dev/null || true
}

"$action"
