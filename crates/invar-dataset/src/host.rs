//! The machine this runs on.

use std::{fs, path::Path};

use crate::DatasetError;

/// Refuses, before it begins, work that needs more memory than this machine has, if that is known.
///
/// # Errors
/// [`DatasetError::TooLarge`], with both figures.
pub fn check_memory(
    needed: usize,
    what: impl FnOnce() -> String,
    remedy: impl FnOnce() -> String,
) -> Result<(), DatasetError> {
    match host_memory().filter(|&available| needed > available) {
        Some(available) => Err(DatasetError::TooLarge { what: what(), needed, available, remedy: remedy() }),
        None => Ok(()),
    }
}

/// Memory of this machine that the process may use, in bytes: all of it, or the limit of a container. `None` if
/// unknown.
pub fn host_memory() -> Option<usize> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let installed = read("/proc/meminfo").and_then(|text| installed(&text));
    let own =
        read("/proc/self/cgroup").and_then(|text| Some(text.lines().find_map(|l| l.strip_prefix("0::"))?.to_owned()));
    let groups = own.as_deref().unwrap_or("/");
    let limits = Path::new(groups).ancestors().filter_map(|group| {
        let inside = group.strip_prefix("/").unwrap_or(group);
        let path = Path::new("/sys/fs/cgroup").join(inside).join("memory.max");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    });
    limits.chain(installed).min()
}

/// Memory that this process has filled, in bytes, without mapped files. `None` if unknown.
pub fn process_memory() -> Option<usize> {
    bytes(&fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// The peak of the memory that this process has filled, in bytes, including mapped files. `None` if unknown.
pub fn peak_memory() -> Option<usize> {
    bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Resets [`peak_memory`], if the system supports it.
pub fn forget_peak_memory() {
    // Otherwise it stays the peak since the start.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Processor time used by this process, in seconds, over all its threads. `None` if unknown.
pub fn process_cpu_s() -> Option<f64> {
    /// The unit of the kernel's figures for user space.
    const TICKS_PER_S: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may contain anything: fields 14 and 15 (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_PER_S)
}

fn installed(meminfo: &str) -> Option<usize> {
    bytes(meminfo, "MemTotal:")
}

/// One figure from a list of the kernel.
fn bytes(list: &str, name: &str) -> Option<usize> {
    let line = list.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_figures() {
        let check = |needed| check_memory(needed, || "counting".into(), || "count less".into());
        assert!(check(1 << 20).is_ok());
        let Some(available) = host_memory() else { return };
        let error = check(usize::MAX).unwrap_err();
        let expected = format!(
            "counting takes about 18446744073710 MB of memory, this machine has {} MB; count less",
            available.div_ceil(1_000_000)
        );
        assert_eq!(error.to_string(), expected);
        assert!(!error.is_usage() && !error.is_bad_input());
    }

    #[test]
    fn the_memory_of_the_host_is_known_on_linux() {
        assert_eq!(installed("MemTotal:       16303428 kB\nMemFree: 1 kB\n"), Some(16_303_428 * 1024));
        assert_eq!(installed("MemFree: 1 kB\n"), None);
        if cfg!(target_os = "linux") {
            // More than this test takes, and less than any address space.
            assert!((1 << 24..1 << 50).contains(&host_memory().unwrap()));
            let before = process_memory().unwrap();
            let filled = std::hint::black_box(vec![1_u8; 100 << 20]);
            assert!(process_memory().unwrap() > before + (90 << 20));
            assert!(peak_memory().unwrap() > 90 << 20 && process_cpu_s().unwrap() >= 0.0);
            drop(filled);
        }
    }
}
