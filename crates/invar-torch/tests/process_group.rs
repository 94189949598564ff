//! Process groups of real processes: this test binary starts itself again, once per process.
#![allow(clippy::print_stdout)] // how a process tells the test that started it
#![allow(missing_docs)]

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use invar_torch::{Backend, Error, ProcessGroup, Rendezvous};
use tch::{Device, Kind, Tensor};

const SCENE: &str = "INVAR_TEST_SCENE";
const BACKEND: &str = "INVAR_TEST_BACKEND";
/// The backends for tensors on the CPU, by the name under which a started process finds them in its environment.
const BACKENDS: [(&str, Backend); 2] = [("host", Backend::Host), ("gloo", Backend::Gloo)];
const TIMEOUT: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts process `rank` of `size`, which runs `scene` in [`member`].
fn start(backend: &str, scene: &str, rank: usize, size: usize, port: u16) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "member", "--nocapture", "--test-threads", "1"])
        .env(SCENE, scene)
        .env(BACKEND, backend)
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", size.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a scene in `size` processes, all of which must succeed.
fn play(backend: &str, scene: &str, size: usize) {
    let port = free_port();
    let members: Vec<Child> = (0..size).map(|rank| start(backend, scene, rank, size, port)).collect();
    for (rank, member) in members.into_iter().enumerate() {
        let output = member.wait_with_output().unwrap();
        assert!(output.status.success(), "process {rank}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn connect(timeout: Duration) -> Result<ProcessGroup, Error> {
    let name = env::var(BACKEND).unwrap();
    let (_, backend) = BACKENDS.into_iter().find(|(other, _)| *other == name).unwrap();
    let group = ProcessGroup::connect(backend, &Rendezvous::from_env().unwrap().unwrap(), timeout)?;
    let is_memory = cfg!(target_os = "linux") && backend == Backend::Host;
    assert_eq!(group.transport(), if is_memory { "shared memory" } else { "Gloo" });
    Ok(group)
}

/// What a started process does; nothing in the test run that starts them.
#[test]
fn member() {
    let Ok(scene) = env::var(SCENE) else { return };
    tch::set_num_threads(1);
    match scene.as_str() {
        "collectives" => collectives(&connect(TIMEOUT).unwrap()),
        "waits" => {
            let group = connect(TIMEOUT).unwrap();
            println!("connected");
            let mut sum = Tensor::from(1f32);
            for _ in 0..1_000_000 {
                if let Err(error) = group.all_reduce(&mut sum) {
                    assert!(matches!(error, Error::Peer { .. }), "{error}");
                    let text = error.to_string();
                    assert!(
                        text.starts_with("all-reduce: a peer of this process ended or cannot be reached"),
                        "{text}"
                    );
                    // And it stays closed.
                    assert!(group.barrier().is_err());
                    return;
                }
            }
            panic!("the peer is still there");
        }
        "sleeps" => {
            let group = connect(TIMEOUT).unwrap();
            let mut sum = Tensor::from(1f32);
            group.all_reduce(&mut sum).unwrap();
            thread::sleep(TIMEOUT);
        }
        "alone" => {
            let error = connect(Duration::from_secs(2)).err().expect("nobody else comes");
            let text = error.to_string();
            assert!(matches!(error, Error::Connect { .. }), "{text}");
            assert!(text.contains(&format!("127.0.0.1:{}", env::var("MASTER_PORT").unwrap())), "{text}");
        }
        other => panic!("no scene {other}"),
    }
}

fn collectives(group: &ProcessGroup) {
    let (rank, size) = (group.rank() as i64, group.size() as i64);
    assert_eq!(group.is_first(), rank == 0);
    // 1 + 2 + .. + size
    let total = size * (size + 1) / 2;
    for kind in [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Int64] {
        let mut x = (Tensor::ones([3, 2], (Kind::Int64, Device::Cpu)) * (rank + 1)).to_kind(kind);
        group.all_reduce(&mut x).unwrap();
        assert_eq!(x.kind(), kind);
        assert_eq!(Vec::<i64>::try_from(x.to_kind(Kind::Int64).flatten(0, -1)).unwrap(), [total; 6]);
    }
    // A tensor without dimensions, one that is not contiguous, and a parameter.
    let mut scalar = Tensor::from(rank as f64);
    group.all_reduce(&mut scalar).unwrap();
    assert_eq!(scalar.double_value(&[]), (total - size) as f64);
    let base = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]);
    let mut turned = base.tr();
    group.all_reduce(&mut turned).unwrap();
    assert_eq!(Vec::<f32>::try_from(base.flatten(0, 1)).unwrap(), [0, 1, 2, 3, 4, 5].map(|x| (x * size) as f32));
    let mut weight = Tensor::from_slice(&[rank as f32]).set_requires_grad(true);
    group.broadcast(&mut weight).unwrap();
    assert!(weight.requires_grad() && weight.double_value(&[0]) == 0.0);
    // In the order of ranks, and without a gradient.
    let own = (Tensor::arange(2, (Kind::Float, Device::Cpu)) + 10 * rank).view([2, 1]).set_requires_grad(true);
    let all = group.all_gather(&own).unwrap();
    assert!(!all.requires_grad());
    let expected: Vec<f32> = (0..size).flat_map(|r| [10 * r, 10 * r + 1]).map(|x| x as f32).collect();
    assert_eq!(all.size(), [2 * size, 1]);
    assert_eq!(Vec::<f32>::try_from(all.flatten(0, 1)).unwrap(), expected);
    let ids = group.all_gather(&Tensor::from_slice(&[i64::MAX - rank])).unwrap();
    assert_eq!(Vec::<i64>::try_from(ids).unwrap(), (0..size).map(|r| i64::MAX - r).collect::<Vec<_>>());
    let mut bytes = Tensor::from_slice(&[rank as u8, 7]);
    group.broadcast(&mut bytes).unwrap();
    assert_eq!(Vec::<u8>::try_from(bytes).unwrap(), [0, 7]);
    assert!(group.any(rank == 1).unwrap() && !group.any(false).unwrap());
    assert_eq!(group.broadcast_from_first(rank as f64 + 0.25).unwrap(), 0.25);
    group.barrier().unwrap();
}

#[test]
fn two_and_three_processes_agree() {
    for (backend, _) in BACKENDS {
        play(backend, "collectives", 2);
        play(backend, "collectives", 3);
    }
}

#[test]
fn the_death_of_a_peer_is_an_error_and_not_a_hang() {
    for (backend, _) in BACKENDS {
        let port = free_port();
        let mut survivor = start(backend, "waits", 0, 2, port);
        let mut victim = start(backend, "sleeps", 1, 2, port);
        let mut said = BufReader::new(survivor.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.contains("connected")));
        victim.kill().unwrap();
        // Nobody has waited for it yet: a zombie is dead.
        let output = survivor.wait_with_output().unwrap();
        victim.wait().unwrap();
        assert!(output.status.success(), "{backend}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_peer_that_never_comes_is_an_error() {
    for (backend, _) in BACKENDS {
        for rank in [0, 1] {
            let output = start(backend, "alone", rank, 2, free_port()).wait_with_output().unwrap();
            assert!(output.status.success(), "{backend}, process {rank}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
