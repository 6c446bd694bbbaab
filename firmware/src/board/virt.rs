//! QEMU's RISC-V machine `virt`: one hart, the CLINT's timer, a 16550 behind the PLIC.

#![allow(unsafe_code)] // Registers, and the slot that `Context` asks for.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use riscv::register::{mie, mstatus};

/// How long a tick of the clock is: it runs at 10 MHz.
pub const TICK: u64 = 100;

mod clint {
    pub const COMPARE: *mut u32 = 0x0200_4000 as _;
    pub const TIME: *mut u32 = 0x0200_BFF8 as _;
    pub const SOFTWARE: *mut u32 = 0x0200_0000 as _;
}

mod uart {
    pub const DATA: *mut u8 = 0x1000_0000 as _;
    pub const INTERRUPT_ENABLE: *mut u8 = 0x1000_0001 as _;
    pub const STATUS: *mut u8 = 0x1000_0005 as _;
    pub const READY: u8 = 1;
    pub const SENDER_EMPTY: u8 = 1 << 5;
    /// Its number at the PLIC.
    pub const NUMBER: usize = 10;
}

mod plic {
    pub const PRIORITIES: *mut u32 = 0x0C00_0000 as _;
    pub const ENABLE: *mut u32 = 0x0C00_2000 as _;
    pub const THRESHOLD: *mut u32 = 0x0C20_0000 as _;
    pub const CLAIM: *mut u32 = 0x0C20_0004 as _;
}

pub fn start() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Ordering::Relaxed) {
        return;
    }
    wake_at(u64::MAX);
    // SAFETY: the addresses are those of this machine; the handlers are there.
    unsafe {
        ptr::write_volatile(uart::INTERRUPT_ENABLE, 1);
        ptr::write_volatile(plic::PRIORITIES.add(uart::NUMBER), 1);
        ptr::write_volatile(plic::ENABLE, 1 << uart::NUMBER);
        ptr::write_volatile(plic::THRESHOLD, 0);
        mie::set_mext();
        mie::set_mtimer();
        mie::set_msoft();
        mstatus::set_mie();
    }
}

/// Ticks since the start.
pub fn ticks() -> u64 {
    loop {
        // SAFETY: the address is that of the CLINT's time.
        let (high, low, again) =
            unsafe { (ptr::read_volatile(clint::TIME.add(1)), ptr::read_volatile(clint::TIME), ptr::read_volatile(clint::TIME.add(1))) };
        if high == again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// Has the processor woken when that tick begins, if not before.
pub fn wake_at(tick: u64) {
    // SAFETY: the address is that of the CLINT's comparison; no time between lies before both.
    unsafe {
        ptr::write_volatile(clint::COMPARE.add(1), u32::MAX);
        ptr::write_volatile(clint::COMPARE, tick as u32);
        ptr::write_volatile(clint::COMPARE.add(1), (tick >> 32) as u32);
    }
}

/// Sleeps until an interrupt is pending. Interrupts are off; those that came before end the sleep at once.
pub fn sleep() {
    riscv::asm::wfi();
}

/// Sends a byte, as soon as there is room for it.
pub fn send(byte: u8) {
    // SAFETY: the addresses are those of this machine's UART; only tasks send.
    unsafe {
        while ptr::read_volatile(uart::STATUS) & uart::SENDER_EMPTY == 0 {}
        ptr::write_volatile(uart::DATA, byte);
    }
}

/// Raises an interrupt by software.
pub fn raise() {
    // SAFETY: the address is that of this hart's software interrupt.
    unsafe { ptr::write_volatile(clint::SOFTWARE, 1) };
}

static IN_A_HANDLER: AtomicBool = AtomicBool::new(false);

fn handle(f: impl FnOnce()) {
    IN_A_HANDLER.store(true, Ordering::Relaxed);
    f();
    IN_A_HANDLER.store(false, Ordering::Relaxed);
}

#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn timer() {
    // It is pending as long as its time has come.
    wake_at(u64::MAX);
}

#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineSoft)]
fn software() {
    handle(|| {
        // SAFETY: as in `raise`.
        unsafe { ptr::write_volatile(clint::SOFTWARE, 0) };
        super::raised();
    });
}

#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineExternal)]
fn external() {
    handle(|| {
        // SAFETY: the addresses are those of this machine; only this handler reads the UART.
        unsafe {
            let claimed = ptr::read_volatile(plic::CLAIM);
            while ptr::read_volatile(uart::STATUS) & uart::READY != 0 {
                super::received(ptr::read_volatile(uart::DATA));
            }
            ptr::write_volatile(plic::CLAIM, claimed);
        }
        super::raised();
    });
}

struct OneHart;

static CURRENT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

// SAFETY: one hart, one thread of execution beside the handlers, and in a handler it is null.
unsafe impl matou_core::Context for OneHart {
    fn get() -> *mut () {
        if IN_A_HANDLER.load(Ordering::Relaxed) { ptr::null_mut() } else { CURRENT.load(Ordering::Relaxed) }
    }

    fn set(value: *mut ()) {
        CURRENT.store(value, Ordering::Relaxed);
    }
}

matou_core::set_context!(OneHart);

#[riscv_rt::entry]
fn main() -> ! {
    crate::main()
}
