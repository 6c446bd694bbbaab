//! A TI Stellaris LM3S6965: Cortex-M3, SysTick, and a PL011 as UART 0.

#![allow(unsafe_code)] // Registers, and the slot that `Context` asks for.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, SCB};
use cortex_m_rt::exception;

/// How long a tick of the clock is.
pub const TICK: u64 = 1_000_000;

static TICKS: AtomicU32 = AtomicU32::new(0);

/// Registers of the PL011.
mod uart {
    pub const DATA: *mut u32 = 0x4000_C000 as _;
    pub const FLAGS: *mut u32 = 0x4000_C018 as _;
    pub const CONTROL: *mut u32 = 0x4000_C030 as _;
    pub const INTERRUPT_MASK: *mut u32 = 0x4000_C038 as _;
    pub const INTERRUPT_CLEAR: *mut u32 = 0x4000_C044 as _;
    pub const RECEIVER_EMPTY: u32 = 1 << 4;
    pub const SENDER_FULL: u32 = 1 << 5;
    pub const ENABLE: u32 = 1 | 1 << 8 | 1 << 9;
    pub const RECEIVED: u32 = 1 << 4 | 1 << 6;
}

/// The interrupts of this chip that are used.
#[derive(Clone, Copy)]
struct Uart0;

// SAFETY: UART 0 is number 5 of this chip.
unsafe impl cortex_m::interrupt::InterruptNumber for Uart0 {
    fn number(self) -> u16 {
        5
    }
}

pub fn start() {
    let Some(mut core) = cortex_m::Peripherals::take() else { return };
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(12_000 - 1);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
    // SAFETY: the addresses are those of this chip's UART 0; its handler is there.
    unsafe {
        ptr::write_volatile(uart::CONTROL, uart::ENABLE);
        ptr::write_volatile(uart::INTERRUPT_MASK, uart::RECEIVED);
        NVIC::unmask(Uart0);
    }
}

/// Ticks since the start.
pub fn ticks() -> u64 {
    u64::from(TICKS.load(Ordering::Relaxed))
}

/// Has the processor woken by the tick that begins then, if not before: each tick does.
pub fn wake_at(_tick: u64) {}

/// Sleeps until an interrupt is pending. Interrupts are off; those that came before end the sleep at once.
pub fn sleep() {
    cortex_m::asm::wfi();
}

/// Sends a byte, as soon as there is room for it.
pub fn send(byte: u8) {
    // SAFETY: the addresses are those of this chip's UART 0; only tasks send.
    unsafe {
        while ptr::read_volatile(uart::FLAGS) & uart::SENDER_FULL != 0 {}
        ptr::write_volatile(uart::DATA, byte.into());
    }
}

/// Raises the interrupt of UART 0, as a byte that comes does.
pub fn raise() {
    NVIC::pend(Uart0);
}

#[exception]
fn SysTick() {
    // The one writer: a processor that cannot add in one step does it in two.
    TICKS.store(TICKS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Every interrupt that has no handler of its own: the one in use is that of UART 0.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    assert!(number == 5, "interrupt {number} was not switched on");
    // SAFETY: the addresses are those of this chip's UART 0, which only this handler reads.
    unsafe {
        while ptr::read_volatile(uart::FLAGS) & uart::RECEIVER_EMPTY == 0 {
            super::received(ptr::read_volatile(uart::DATA) as u8);
        }
        ptr::write_volatile(uart::INTERRUPT_CLEAR, uart::RECEIVED);
    }
    super::raised();
}

struct OneCore;

static CURRENT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

// SAFETY: one core, one thread of execution beside the handlers, and in a handler it is null.
unsafe impl matou_core::Context for OneCore {
    fn get() -> *mut () {
        match SCB::vect_active() {
            cortex_m::peripheral::scb::VectActive::ThreadMode => CURRENT.load(Ordering::Relaxed),
            _ => ptr::null_mut(),
        }
    }

    fn set(value: *mut ()) {
        CURRENT.store(value, Ordering::Relaxed);
    }
}

matou_core::set_context!(OneCore);

#[cortex_m_rt::entry]
fn main() -> ! {
    crate::main()
}
