//! Facts about the machine the site runs on, read when they are asked for.

use std::path::Path;

/// What rules may ask about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// `ID` of os-release, or the kernel's family name.
    pub os: String,
    /// `VERSION_ID` of os-release, if it has one.
    pub os_version: Option<String>,
    /// Processor architecture.
    pub arch: &'static str,
    /// Usable processor cores.
    pub cores: Option<u64>,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// Whether the operating system asks for a restart.
    pub pending_restart: bool,
}

/// Reads the facts of this machine.
pub fn host_facts() -> HostFacts {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        release.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?;
            Some(value.trim_matches('"').to_owned())
        })
    };
    let memory = rustix::system::sysinfo();
    HostFacts {
        os: field("ID").unwrap_or_else(|| std::env::consts::OS.to_owned()),
        os_version: field("VERSION_ID"),
        arch: std::env::consts::ARCH,
        cores: std::thread::available_parallelism()
            .ok()
            .map(|cores| cores.get() as u64),
        memory_bytes: Some(memory.totalram as u64 * u64::from(memory.mem_unit)),
        pending_restart: Path::new("/run/reboot-required").exists(),
    }
}

/// Whether the processor says that it runs under a hypervisor; nothing where it does not tell.
pub fn is_virtual() -> Option<bool> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let flags = text
        .lines()
        .find_map(|line| line.strip_prefix("flags")?.split_once(':'))?
        .1;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// Bytes of memory that this process holds.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// The name this machine goes by in status messages.
pub fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Bytes that an unprivileged process can still write on the file system of `path`.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let volume = rustix::fs::statvfs(path)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Bytes of the file system of `path`.
pub fn total_bytes(path: &Path) -> std::io::Result<u64> {
    let volume = rustix::fs::statvfs(path)?;
    Ok(volume.f_blocks.saturating_mul(volume.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_facts() {
        let facts = host_facts();
        assert!(!facts.os.is_empty());
        assert!(facts.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(free_bytes(Path::new("/")).is_ok());
        assert!(!machine_name().is_empty());
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 16));
    }
}
