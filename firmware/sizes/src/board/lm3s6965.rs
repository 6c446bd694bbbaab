//! A TI Stellaris LM3S6965: Cortex-M3 (or M0, which runs on it), SysTick.

use cortex_m::peripheral::SCB;
use cortex_m::peripheral::scb::VectActive;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// Has the clock tick.
pub fn start() {
    let Some(mut core) = cortex_m::Peripherals::take() else { return };
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(12_000 - 1);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
}

/// Sleeps until an interrupt is pending.
#[allow(dead_code)] // An executor may bring its own.
pub fn sleep() {
    cortex_m::asm::wfi();
}

#[allow(dead_code)]
pub fn in_a_handler() -> bool {
    !matches!(SCB::vect_active(), VectActive::ThreadMode)
}

#[exception]
fn SysTick() {
    super::ticked();
}

#[cortex_m_rt::entry]
fn main() -> ! {
    crate::main()
}
