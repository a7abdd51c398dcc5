//! Faults of mapped files: a file that is cut short while it is mapped, or a disk that cannot read a page, is no error of a read but a
//! signal, SIGBUS, that ends the process. Here it becomes a number that whoever reads maps compares before and after.
//!
//! It holds for all maps of the process, those of SQLite too. It does not tell which file failed: whoever notices a fault believes nothing of
//! what was read meanwhile, and opens its files again.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

/// Faults so far.
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// Bytes of a page of memory, for the handler, which may ask nobody.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// How many faults there were. Whoever reads maps compares the number from before with that from after: if it grew, what was read may be zeros.
#[must_use]
pub fn map_faults() -> u64 {
    // What was read before stays before: a count that is taken after reading must not be older than what was read.
    fence(Ordering::Acquire);
    FAULTS.load(Ordering::Acquire)
}

/// From now on a fault of a map counts, and reads zeros, in place of ending the process. May be called again, and must be where other code
/// installs handlers of its own.
///
/// # Errors
/// The system's, where it refuses the handler.
pub fn catch_map_faults() -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    #[expect(unsafe_code, reason = "signal handlers have no safe interface for SIGBUS")]
    // SAFETY: `sysconf` only reads. A zeroed `sigaction` is a valid one, all its members being integers and a set of signals; the handler has the
    // signature that SA_SIGINFO asks for and calls nothing that is not safe in a handler, see there.
    unsafe {
        if let Ok(bytes @ 1..) = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) {
            PAGE_BYTES.store(bytes, Ordering::Relaxed);
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Puts a page of zeros where the file has none any more, and counts. What reads on reads zeros, which every reader of ours and SQLite refuse
/// or report as damage; and the count tells that they are not the file's.
extern "C" fn on_fault(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    #[expect(unsafe_code, reason = "a handler works on raw addresses")]
    // SAFETY: the system hands a valid `info` to a handler with SA_SIGINFO. BUS_ADRERR says that the address lies in a mapping whose file has no
    // such page, or whose page cannot be read: nothing else of the process lives there, so that mapping a private page over it takes nothing
    // from anybody. `mmap` and `sigaction` are system calls, and atomics take no lock: all may be used in a handler.
    unsafe {
        let address = (*info).si_addr() as usize;
        if (*info).si_code == libc::BUS_ADRERR {
            let page = (address / page_bytes * page_bytes) as *mut libc::c_void;
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // The count first: whoever reads the zeros sees it grown.
            FAULTS.fetch_add(1, Ordering::AcqRel);
            if libc::mmap(page, page_bytes, libc::PROT_READ, flags, -1, 0) != libc::MAP_FAILED {
                return;
            }
        }
        // Not ours: the read is tried again, and ends the process as it would have without us.
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmap::Map;

    #[test]
    fn a_file_that_is_cut_short_is_counted_and_reads_zeros() {
        catch_map_faults().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, vec![7; 3 << 16]).unwrap();
        let map = Map::open(&path, "f").unwrap();
        let before = map_faults();
        assert_eq!((map[0], map[2 << 16]), (7, 7));
        assert_eq!(map_faults(), before);
        std::fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert_eq!((map[0], map[2 << 16], map[(3 << 16) - 1]), (7, 0, 0));
        assert!(map_faults() > before);
    }
}
