//! How the allocator of the C library, which serves Rust and the compressors alike, treats large blocks.
//!
//! Left to itself glibc learns: once a large block was freed, blocks up to that size come from the heap from then on, up to
//! 32 MiB each, and the heap keeps up to twice as much of what is freed (mallopt(3), "dynamic mmap threshold"). A
//! program that works in phases, each with its own tables, then holds the tables of the last one while it fills
//! those of the next: making a delta of 12 MB held 145 MiB where 60 were in use.

/// Blocks of so many bytes or more are mapped by themselves, and unmapped when they are freed; freed memory at the end of
/// a heap goes back when there is so much of it. Smaller blocks are used again too often.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: libc::c_int = 1024 * 1024;

/// Has large blocks given back to the system when they are freed. For programs that work in phases, before the first of them;
/// whoever frees and takes large blocks all the time pays for each with page faults. Does nothing where the C library
/// is another.
pub fn give_large_blocks_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // A refused value would leave things as they are without this call: slower to give back, never wrong.
        #[expect(unsafe_code, reason = "there is no other way to say it but the environment")]
        // SAFETY: mallopt takes numbers and changes nothing but the allocator's own settings, under its own lock.
        let _taken: libc::c_int = unsafe { libc::mallopt(parameter, LARGE_BYTES) };
    }
}
