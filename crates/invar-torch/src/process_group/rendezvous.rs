//! Where the processes of a run meet, according to the environment set by their launcher.

use std::{env, fmt};

use crate::Error;

/// Which of a run's processes this is, and where they meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// The rank of this process, 0-based.
    pub rank: usize,
    /// Number of processes.
    pub size: usize,
    /// The rank of this process among those of its machine, 0-based; selects the CUDA device.
    pub local_rank: usize,
    /// Name or address of the machine of process 0.
    pub host: String,
    /// The port on which process 0 listens.
    pub port: u16,
}

impl fmt::Display for Rendezvous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} of {}, meeting at {}:{}", self.rank, self.size, self.host, self.port)
    }
}

impl Rendezvous {
    /// Reads the environment; `None` for a single process. The first of these that was used:
    ///
    /// - `torchrun`, or by hand: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT`. The agent of
    ///   `torchrun`, recognised by `TORCHELASTIC_RUN_ID`, keeps the port for itself; the processes use the next one.
    /// - `srun`: `SLURM_PROCID`, `SLURM_STEP_NUM_TASKS` (else `SLURM_NTASKS`), `SLURM_LOCALID`. They meet on the first
    ///   node of the step, where Slurm puts process 0, at a port derived from the numbers of job and step.
    ///   `MASTER_ADDR` and `MASTER_PORT` override both. Without `SLURM_STEP_ID` the process is the job's script, not
    ///   one of `srun`'s.
    ///
    /// # Errors
    /// Names the variable that is missing or invalid.
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_variables(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let variables = Variables(lookup);
        // Scripts for srun often set the size and the meeting point, but cannot set the rank.
        let by_hand = variables.is_set("RANK")
            || (!variables.is_srun() && (variables.is_set("WORLD_SIZE") || variables.is_set("LOCAL_RANK")));
        if by_hand {
            variables.torchrun()
        } else if variables.is_srun() {
            variables.srun()
        } else {
            Ok(None)
        }
    }
}

/// The environment, by name; an empty value counts as unset.
struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn torchrun(&self) -> Result<Option<Rendezvous>, Error> {
        let Some([rank, size, local_rank]) = self.place(["RANK", "WORLD_SIZE", "LOCAL_RANK"])? else {
            return Ok(None);
        };
        let host = self.required("MASTER_ADDR", "the name or address of the machine of process 0")?;
        let port = self.port()?.ok_or_else(|| self.wrong("MASTER_PORT", PORT))?;
        let port = if self.is_set("TORCHELASTIC_RUN_ID") {
            port.checked_add(1).ok_or_else(|| self.wrong("MASTER_PORT", "a port with another one after it"))?
        } else {
            port
        };
        Ok(Some(Rendezvous { rank, size, local_rank, host, port }))
    }

    fn srun(&self) -> Result<Option<Rendezvous>, Error> {
        let tasks = if self.is_set("SLURM_STEP_NUM_TASKS") { "SLURM_STEP_NUM_TASKS" } else { "SLURM_NTASKS" };
        let Some([rank, size, local_rank]) = self.place(["SLURM_PROCID", tasks, "SLURM_LOCALID"])? else {
            return Ok(None);
        };
        if let Some(world) = self.get("WORLD_SIZE")
            && world.parse() != Ok(size)
        {
            return Err(self.wrong("WORLD_SIZE", format!("{size} as {tasks} has it")));
        }
        let host = match self.get("MASTER_ADDR") {
            Some(host) => host,
            None => self.first_node()?,
        };
        let port = match self.port()? {
            Some(port) => port,
            None => slurm_port(self.number("SLURM_JOB_ID")?, self.number("SLURM_STEP_ID")?),
        };
        Ok(Some(Rendezvous { rank, size, local_rank, host, port }))
    }

    /// Rank, size and local rank; `None` for a single process.
    fn place(&self, [rank, size, local_rank]: [&'static str; 3]) -> Result<Option<[usize; 3]>, Error> {
        let num_processes = self.number(size)? as usize;
        let place = self.number(rank)? as usize;
        if num_processes == 0 {
            return Err(self.wrong(size, "the number of processes, at least 1"));
        }
        if place >= num_processes {
            return Err(self.wrong(rank, format!("a number below {size}, which is {num_processes}")));
        }
        if num_processes == 1 {
            return Ok(None);
        }
        let local = self.number(local_rank)? as usize;
        if local >= num_processes {
            return Err(self.wrong(local_rank, format!("a number below {size}, which is {num_processes}")));
        }
        Ok(Some([place, num_processes, local]))
    }

    fn first_node(&self) -> Result<String, Error> {
        // Last, because srun can be called on a machine that is not part of the job.
        for name in ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"] {
            if let Some(list) = self.get(name) {
                return first_node(&list).ok_or_else(|| self.wrong(name, "a list of nodes as node[001-004,7]"));
            }
        }
        self.get("SLURM_LAUNCH_NODE_IPADDR").ok_or_else(|| self.wrong("SLURM_STEP_NODELIST", "the nodes of the step"))
    }

    /// Whether srun started this process, and not as a job's script or an interactive shell.
    fn is_srun(&self) -> bool {
        const FIRST_SPECIAL_STEP: u64 = 0xffff_fff0;
        self.get("SLURM_STEP_ID").is_some_and(|step| step.parse::<u64>().map_or(true, |step| step < FIRST_SPECIAL_STEP))
    }

    fn port(&self) -> Result<Option<u16>, Error> {
        let Some(text) = self.get("MASTER_PORT") else { return Ok(None) };
        match text.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err(self.wrong("MASTER_PORT", PORT)),
        }
    }

    fn number(&self, name: &'static str) -> Result<u32, Error> {
        let expected = "a whole number";
        self.required(name, expected)?.parse().map_err(|_| self.wrong(name, expected))
    }

    fn required(&self, name: &'static str, expected: &str) -> Result<String, Error> {
        self.get(name).ok_or_else(|| self.wrong(name, expected))
    }

    fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0(name).filter(|value| !value.is_empty())
    }

    fn wrong(&self, name: &'static str, expected: impl Into<String>) -> Error {
        Error::Variable { name, value: self.get(name), expected: expected.into() }
    }
}

const PORT: &str = "a port, 1 to 65535";

/// The same for every process of a step, but different for the next job on the same node. Below the ports that Linux
/// assigns to outgoing connections (32768 and up).
fn slurm_port(job: u32, step: u32) -> u16 {
    const FIRST: u64 = 15_000;
    const COUNT: u64 = 15_000;
    (FIRST + (u64::from(job) * 16 + u64::from(step)) % COUNT) as u16
}

/// The first of Slurm's `node[001-004,7],other`: `node001`. Brackets can appear anywhere and more than once.
fn first_node(list: &str) -> Option<String> {
    let mut node = String::new();
    let mut rest = list.trim();
    while let Some(at) = rest.find(['[', ']', ',']) {
        node += &rest[..at];
        match rest.as_bytes()[at] {
            b'[' => {
                let (ranges, after) = rest[at + 1..].split_once(']')?;
                let first = ranges.split(['-', ',']).next()?;
                if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                node += first;
                rest = after;
            }
            b',' => rest = "",
            _ => return None,
        }
    }
    node += rest;
    (!node.is_empty()).then_some(node)
}

#[cfg(test)]
mod tests;
