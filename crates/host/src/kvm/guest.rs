//! The guest, on x86.
//!
//! Memory: code at 4 KiB, page tables at 8, 12 and 16 KiB that map the first 2 MiB onto themselves, the
//! segment table at 2 KiB with its pointer behind it. Registers and tables are those of the Intel SDM,
//! volume 3, chapters 3 (segments), 4 (paging) and 10.8 (into IA-32e mode).

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::os::fd::AsRawFd;
use std::os::unix::thread::JoinHandleExt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use kvm_bindings::{kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

/// What the guest says while in real mode.
pub const IN_REAL_MODE: u8 = b'R';
/// What it says in 64-bit mode.
pub const IN_LONG_MODE: u8 = b'L';

/// How a guest begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As a PC does.
    RealMode,
    /// In 64-bit mode with paging on.
    LongMode,
}

/// What became of a guest.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Machine and processor were made.
    pub made: bool,
    /// What it said.
    pub said: Vec<u8>,
    /// It came to its end.
    pub ended: bool,
    /// Why it did not.
    pub fault: Option<String>,
}

/// ```text
/// .code16          mov $0x3f8,%dx ; mov $'R',%al ; out %al,(%dx)
///                  cli ; lgdtl 0x0800
///                  mov %cr4,%eax ; or $0x20,%eax ; mov %eax,%cr4          PAE
///                  mov $0x2000,%eax ; mov %eax,%cr3
///                  mov $0xc0000080,%ecx ; rdmsr ; or $0x100,%eax ; wrmsr  EFER.LME
///                  mov %cr0,%eax ; or $0x80000001,%eax ; mov %eax,%cr0    PG, PE
///                  ljmpl $0x8,$0x1044
/// .code64  0x44:   mov $0x10,%eax ; mov %eax,%ds ; mov %eax,%ss
///                  movabs $0x4c00000000,%rax ; shr $32,%rax               'L'
///                  mov $0x3f8,%dx ; out %al,(%dx) ; hlt
/// ```
const CODE: [u8; 97] = [
    0xba, 0xf8, 0x03, 0xb0, 0x52, 0xee, 0xfa, 0x66, 0x0f, 0x01, 0x16, 0x00, 0x08, 0x0f, 0x20, 0xe0,
    0x66, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0, 0x66, 0xb8, 0x00, 0x20, 0x00, 0x00, 0x0f, 0x22, 0xd8,
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, 0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30,
    0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, 0x66, 0xea, 0x44, 0x10,
    0x00, 0x00, 0x08, 0x00, 0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd8, 0x8e, 0xd0, 0x48, 0xb8, 0x00,
    0x00, 0x00, 0x00, 0x4c, 0x00, 0x00, 0x00, 0x48, 0xc1, 0xe8, 0x20, 0x66, 0xba, 0xf8, 0x03, 0xee,
    0xf4,
];
const CODE_AT: u64 = 0x1000;
/// Where the 64-bit part of the code begins.
const LONG_AT: u64 = CODE_AT + 0x44;
const TABLE_POINTER_AT: usize = 0x800;
const TABLE_AT: usize = 0x840;
const PAGES_AT: u64 = 0x2000;
const MEMORY: usize = 0x10000;

/// Ends a guest: blocked in its thread, and let through only while the guest runs.
const STOP: libc::c_int = libc::SIGUSR2;

/// Runs a guest for `deadline` at most.
pub fn run(start: Start, deadline: Duration) -> Run {
    let progress = Arc::new(Mutex::new(Run::default()));
    let (done, wait) = mpsc::channel();
    let shared = Arc::clone(&progress);
    // Blocked before the thread is there, which inherits that: one on a slow machine may be told to end
    // before it has a guest, and an unblocked signal without a handler ends the whole process.
    let before = block_stop();
    let thread = std::thread::spawn(move || {
        let outcome = drive(start, &shared);
        let mut run = shared.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => run.ended = true,
            Err(fault) => run.fault = Some(fault),
        }
        drop(run);
        let _ = done.send(());
    });
    restore_mask(&before);
    if wait.recv_timeout(deadline).is_err() {
        stop(&thread);
        // Long enough for a signal; a guest that not even a signal ends is left behind.
        let _ = wait.recv_timeout(Duration::from_millis(100));
        let mut run = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let what = if run.made { "the guest hung" } else { "no guest was ready in time" };
        run.fault = Some(format!("{what} ({} ms)", deadline.as_millis()));
    }
    let run = progress.lock().unwrap_or_else(PoisonError::into_inner);
    run.clone()
}

/// Blocks the signal in this thread; returns the mask that was.
#[expect(unsafe_code, reason = "signal masks have no safe form")]
fn block_stop() -> libc::sigset_t {
    // SAFETY: the sets are initialised before they are used, and only this thread's mask is changed.
    unsafe {
        let (mut set, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, STOP);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
        before
    }
}

#[expect(unsafe_code, reason = "signal masks have no safe form")]
fn restore_mask(before: &libc::sigset_t) {
    // SAFETY: the set is one that the kernel gave, and only this thread's mask is changed.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

#[expect(unsafe_code, reason = "a signal to one thread has no safe form")]
fn stop(thread: &std::thread::JoinHandle<()>) {
    // SAFETY: the handle is not joined yet, so the thread's id is valid.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), STOP) };
}

fn drive(start: Start, progress: &Mutex<Run>) -> Result<(), String> {
    let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let kvm = Kvm::new().map_err(|error| said("/dev/kvm does not open", &error))?;
    let memory = Memory::new();
    memory.fill();
    let machine = kvm.create_vm().map_err(|error| said("no machine can be made", &error))?;
    memory.give(&machine).map_err(|error| said("no memory can be given", &error))?;
    let mut vcpu = machine.create_vcpu(0).map_err(|error| said("no processor", &error))?;
    set_up(&vcpu, start).map_err(|error| said("no registers can be set", &error))?;
    let_through(&vcpu).map_err(|error| said("no signal mask can be set", &error))?;
    progress.lock().unwrap_or_else(PoisonError::into_inner).made = true;
    loop {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(_, bytes)) => {
                let mut run = progress.lock().unwrap_or_else(PoisonError::into_inner);
                run.said.extend_from_slice(bytes);
            }
            Ok(VcpuExit::Hlt) => return Ok(()),
            Ok(exit) => return Err(format!("the guest ended with {exit:?}")),
            Err(error) => return Err(said("the guest does not run", &error)),
        }
    }
}

/// Lets the signal, which is blocked in this thread, through while the guest runs: then KVM_RUN ends
/// with `EINTR`, and no handler is needed (`KVM_SET_SIGNAL_MASK` of the kernel's KVM API document).
#[expect(unsafe_code, reason = "this ioctl has no safe form")]
fn let_through(vcpu: &VcpuFd) -> std::io::Result<()> {
    /// `struct kvm_signal_mask` with a set of the kernel's length, 8 bytes.
    #[repr(C)]
    struct Mask {
        length: u32,
        set: [u8; 8],
    }
    /// `_IOW(0xAE, 0x8b, struct kvm_signal_mask)`: the flexible array counts nothing.
    const SET_SIGNAL_MASK: libc::c_ulong = 0x4004_ae8b;
    let mask = Mask { length: 8, set: [0; 8] };
    // SAFETY: the ioctl reads `Mask`, which outlives it.
    match unsafe { libc::ioctl(vcpu.as_raw_fd(), SET_SIGNAL_MASK as _, &raw const mask) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn set_up(vcpu: &VcpuFd, start: Start) -> Result<(), kvm_ioctls::Error> {
    let mut system = vcpu.get_sregs()?;
    system.cs.base = 0;
    system.cs.selector = 0;
    let rip = match start {
        Start::RealMode => CODE_AT,
        Start::LongMode => {
            system.cr3 = PAGES_AT;
            system.cr4 |= 1 << 5;
            system.efer |= 1 << 8 | 1 << 10;
            system.cr0 |= 1 << 31 | 1;
            system.cs = segment(0x8, 0xb, true);
            system.ds = segment(0x10, 0x3, false);
            (system.es, system.ss) = (system.ds, system.ds);
            system.gdt.base = TABLE_AT as u64;
            system.gdt.limit = 23;
            LONG_AT
        }
    };
    vcpu.set_sregs(&system)?;
    // Bit 1 of the flags is always set.
    vcpu.set_regs(&kvm_regs { rip, rflags: 2, ..kvm_regs::default() })
}

fn segment(selector: u16, kind: u8, code: bool) -> kvm_segment {
    kvm_segment {
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        s: 1,
        g: 1,
        l: u8::from(code),
        db: u8::from(!code),
        ..kvm_segment::default()
    }
}

/// The guest's memory, on a page's border.
struct Memory {
    start: NonNull<u8>,
}

impl Memory {
    const LAYOUT: Layout = match Layout::from_size_align(MEMORY, 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("the layout is a constant"),
    };

    #[expect(unsafe_code, reason = "memory on a page's border")]
    fn new() -> Self {
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(Self::LAYOUT) };
        match NonNull::new(start) {
            Some(start) => Self { start },
            None => std::alloc::handle_alloc_error(Self::LAYOUT),
        }
    }

    #[expect(unsafe_code, reason = "memory given to a machine")]
    fn give(&self, machine: &VmFd) -> Result<(), kvm_ioctls::Error> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr: self.start.as_ptr() as u64,
        };
        // SAFETY: the memory outlives the machine: it is made before the machine and dropped
        // after it.
        unsafe { machine.set_user_memory_region(region) }
    }

    /// Puts code and tables into it.
    fn fill(&self) {
        self.put(CODE_AT as usize, &CODE);
        // Limit and base of the segment table, then: nothing, 64-bit code, data.
        self.put(TABLE_POINTER_AT, &23_u16.to_le_bytes());
        self.put(TABLE_POINTER_AT + 2, &(TABLE_AT as u32).to_le_bytes());
        self.put(TABLE_AT + 8, &0x00af_9b00_0000_ffff_u64.to_le_bytes());
        self.put(TABLE_AT + 16, &0x00cf_9300_0000_ffff_u64.to_le_bytes());
        // Present and writable; the last level maps 2 MiB at once.
        self.put(PAGES_AT as usize, &(PAGES_AT + 0x1000 + 3).to_le_bytes());
        self.put(PAGES_AT as usize + 0x1000, &(PAGES_AT + 0x2000 + 3).to_le_bytes());
        self.put(PAGES_AT as usize + 0x2000, &0x83_u64.to_le_bytes());
    }

    #[expect(unsafe_code, reason = "memory outside Rust's own")]
    fn put(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= MEMORY, "constants lie inside");
        // SAFETY: inside the allocation, as just checked; nobody else has it yet.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(at), bytes.len());
        }
    }
}

impl Drop for Memory {
    #[expect(unsafe_code, reason = "memory on a page's border")]
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.start.as_ptr(), Self::LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_told_to_end_before_it_began_ends_nobody_else() {
        for _ in 0..50 {
            let run = run(Start::RealMode, Duration::ZERO);
            assert!(run.ended || run.fault.is_some());
        }
    }
}
