//! What was freed is given back: asked of the system, in a process of its own.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

const MIB: usize = 1024 * 1024;

/// Memory of this process that is resident, in MiB (proc(5)).
fn resident_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

/// Large blocks, each freed behind a small one that stays: what a heap could not give back.
fn phase(kept: &mut Vec<Vec<u8>>) {
    let mut large: Vec<Vec<u8>> = Vec::new();
    for _ in 0..16 {
        large.push(vec![1; 8 * MIB]);
        kept.push(vec![1; 1000]);
    }
}

#[test]
fn memory_of_a_phase_is_not_held_in_the_next() {
    allocator::give_large_blocks_back();
    let before = resident_mib();
    let mut kept = Vec::new();
    for _ in 0..3 {
        phase(&mut kept);
        assert!(
            resident_mib() < before + 8,
            "{} MiB, {before} before",
            resident_mib()
        );
    }
    assert_eq!(kept.len(), 48);
}
