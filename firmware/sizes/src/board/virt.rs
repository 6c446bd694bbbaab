//! QEMU's RISC-V machine `virt`: one hart, the CLINT's timer at 10 MHz.

use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use riscv::register::{mie, mstatus};

const COMPARE: *mut u32 = 0x0200_4000 as _;
const TIME: *mut u32 = 0x0200_BFF8 as _;
const MILLISECOND: u32 = 10_000;

static IN_A_HANDLER: AtomicBool = AtomicBool::new(false);

/// Has the clock tick.
pub fn start() {
    // SAFETY: the addresses are those of this machine; the programs end long before the lower half is over.
    unsafe {
        ptr::write_volatile(COMPARE.add(1), 0);
        ptr::write_volatile(COMPARE, ptr::read_volatile(TIME) + MILLISECOND);
        mie::set_mtimer();
        mstatus::set_mie();
    }
}

/// Sleeps until an interrupt is pending.
#[allow(dead_code)] // An executor may bring its own.
pub fn sleep() {
    riscv::asm::wfi();
}

#[allow(dead_code)]
pub fn in_a_handler() -> bool {
    IN_A_HANDLER.load(Ordering::Relaxed)
}

#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn timer() {
    // SAFETY: as in `start`; this handler alone writes from now on.
    unsafe { ptr::write_volatile(COMPARE, ptr::read_volatile(COMPARE) + MILLISECOND) };
    IN_A_HANDLER.store(true, Ordering::Relaxed);
    super::ticked();
    IN_A_HANDLER.store(false, Ordering::Relaxed);
}

#[riscv_rt::entry]
fn main() -> ! {
    crate::main()
}
