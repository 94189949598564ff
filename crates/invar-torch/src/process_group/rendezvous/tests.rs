use super::*;

fn found(variables: &[(&str, &str)]) -> Result<Option<Rendezvous>, Error> {
    Rendezvous::from_variables(|name| {
        variables.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

fn meeting(variables: &[(&str, &str)]) -> Rendezvous {
    found(variables).unwrap().unwrap()
}

fn with<'a>(variables: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().chain(more).copied().collect()
}

fn without<'a>(variables: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    variables.iter().filter(|(key, _)| *key != name).copied().collect()
}

// As `torchrun --nnodes 2 --nproc_per_node 2` sets them for the last process.
const TORCHRUN: [(&str, &str); 6] = [
    ("RANK", "3"),
    ("WORLD_SIZE", "4"),
    ("LOCAL_RANK", "1"),
    ("MASTER_ADDR", "head"),
    ("MASTER_PORT", "29500"),
    ("TORCHELASTIC_RUN_ID", "none"),
];

// As `srun --nodes 2 --ntasks 4` sets them for the last process.
const SRUN: [(&str, &str); 9] = [
    ("SLURM_PROCID", "3"),
    ("SLURM_NTASKS", "4"),
    ("SLURM_STEP_NUM_TASKS", "4"),
    ("SLURM_LOCALID", "1"),
    ("SLURM_JOB_ID", "1234"),
    ("SLURM_STEP_ID", "2"),
    ("SLURM_JOB_NODELIST", "login1,node[007-009]"),
    ("SLURM_STEP_NODELIST", "node[008-009]"),
    ("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"),
];

#[test]
fn no_variables_mean_a_process_on_its_own() {
    assert_eq!(found(&[]).unwrap(), None);
    assert_eq!(found(&[("MASTER_ADDR", "head"), ("MASTER_PORT", "1")]).unwrap(), None);
}

#[test]
fn one_process_of_a_launcher_is_on_its_own() {
    let torchrun = with(&TORCHRUN, &[("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")]);
    assert_eq!(found(&torchrun).unwrap(), None);
    assert_eq!(found(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
    let srun = with(&SRUN, &[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1"), ("SLURM_STEP_NUM_TASKS", "1")]);
    assert_eq!(found(&srun).unwrap(), None);
}

#[test]
fn the_script_of_a_job_is_on_its_own() {
    for tasks in ["1", "4"] {
        let script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", tasks), ("SLURM_LOCALID", "0"), ("SLURM_JOB_ID", "5")];
        assert_eq!(found(&script).unwrap(), None);
        // The step numbers of the batch script and of an interactive shell: SLURM_BATCH_SCRIPT, SLURM_INTERACTIVE_STEP.
        for step in ["4294967291", "4294967290"] {
            assert_eq!(found(&with(&script, &[("SLURM_STEP_ID", step)])).unwrap(), None);
        }
    }
}

#[test]
fn torchruns_agent_keeps_its_port() {
    let expected = Rendezvous { rank: 3, size: 4, local_rank: 1, host: "head".into(), port: 29501 };
    assert_eq!(meeting(&TORCHRUN), expected);
    assert_eq!(meeting(&without(&TORCHRUN, "TORCHELASTIC_RUN_ID")), Rendezvous { port: 29500, ..expected });
}

#[test]
fn torchrun_within_srun_wins() {
    assert_eq!(meeting(&with(&SRUN, &TORCHRUN)), meeting(&TORCHRUN));
}

#[test]
fn srun_meets_on_the_first_node_of_the_step() {
    let expected =
        Rendezvous { rank: 3, size: 4, local_rank: 1, host: "node008".into(), port: 15_000 + (1234 * 16 + 2) % 15_000 };
    assert_eq!(meeting(&SRUN), expected);
    let of_job = without(&without(&SRUN, "SLURM_STEP_NODELIST"), "SLURM_STEP_NUM_TASKS");
    assert_eq!(meeting(&of_job), Rendezvous { host: "login1".into(), ..expected.clone() });
    let of_launch = without(&of_job, "SLURM_JOB_NODELIST");
    assert_eq!(meeting(&of_launch), Rendezvous { host: "10.0.0.1".into(), ..expected.clone() });
    let given = with(&SRUN, &[("MASTER_ADDR", "head"), ("MASTER_PORT", "40000"), ("WORLD_SIZE", "4")]);
    assert_eq!(meeting(&given), Rendezvous { host: "head".into(), port: 40_000, ..expected });
}

#[test]
fn steps_of_a_job_and_neighbouring_jobs_meet_at_other_ports() {
    let ports = [(1, 0), (1, 1), (1, 15), (2, 0), (2, 1), (3, 0)].map(|(job, step)| slurm_port(job, step));
    assert!(ports.iter().enumerate().all(|(i, port)| !ports[..i].contains(port)), "{ports:?}");
    assert!((15_000..30_000).contains(&slurm_port(u32::MAX, 0xffff_ffef)));
}

#[test]
fn a_missing_variable_is_named() {
    for name in ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"] {
        is_wrong(&without(&TORCHRUN, name), name, None);
        is_wrong(&with(&TORCHRUN, &[(name, "")]), name, None);
    }
    for name in ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID"] {
        is_wrong(&without(&SRUN, name), name, None);
    }
    is_wrong(&[("LOCAL_RANK", "0")], "WORLD_SIZE", None);
    is_wrong(&without(&without(&SRUN, "SLURM_STEP_NUM_TASKS"), "SLURM_NTASKS"), "SLURM_NTASKS", None);
    let error = found(&without(&TORCHRUN, "MASTER_PORT")).unwrap_err();
    assert_eq!(error.to_string(), "environment: MASTER_PORT is not set: expected a port, 1 to 65535");
}

#[test]
fn a_value_that_makes_no_sense_is_named() {
    for (name, value) in [
        ("RANK", "4"),
        ("RANK", "-1"),
        ("RANK", "first"),
        ("WORLD_SIZE", "0"),
        ("WORLD_SIZE", "2.0"),
        ("LOCAL_RANK", "4"),
        ("MASTER_PORT", "0"),
        ("MASTER_PORT", "65536"),
        ("MASTER_PORT", "65535"), // the agent's, and there is no next one
    ] {
        is_wrong(&with(&TORCHRUN, &[(name, value)]), name, Some(value));
    }
    for (name, value) in [
        ("SLURM_PROCID", "4"),
        ("SLURM_STEP_NUM_TASKS", "many"),
        ("SLURM_LOCALID", "9"),
        ("SLURM_STEP_ID", "x"),
        ("SLURM_STEP_NODELIST", "node[001"),
        ("WORLD_SIZE", "3"),
        ("MASTER_PORT", "ssh"),
    ] {
        is_wrong(&with(&SRUN, &[(name, value)]), name, Some(value));
    }
    let error = found(&with(&TORCHRUN, &[("RANK", "4")])).unwrap_err();
    assert_eq!(error.to_string(), "environment: RANK is \"4\": expected a number below WORLD_SIZE, which is 4");
}

#[track_caller]
fn is_wrong(variables: &[(&str, &str)], expected_name: &str, expected_value: Option<&str>) {
    match found(variables) {
        Err(Error::Variable { name, value, .. }) => {
            assert_eq!((name, value.as_deref()), (expected_name, expected_value), "{variables:?}");
        }
        other => panic!("{variables:?} gave {other:?}"),
    }
}

// Expected: the first line of `scontrol show hostnames LIST`.
#[test]
fn the_first_node_of_a_list() {
    for (list, expected) in [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("node[001-004,7]", "node001"),
        ("node[7,001-004]", "node7"),
        ("node[09-11]", "node09"),
        ("node[3],node[1-2]", "node3"),
        ("rack[2-3]n[05-08]", "rack2n05"),
        ("gpu-[1-2].cluster.example", "gpu-1.cluster.example"),
        ("login-a,node[1-2]", "login-a"),
    ] {
        assert_eq!(first_node(list).as_deref(), Some(expected), "{list}");
    }
    for list in ["", ",", "node[", "node[]", "node]1[", "node[a-b]", "[-2]"] {
        assert_eq!(first_node(list), None, "{list}");
    }
}
