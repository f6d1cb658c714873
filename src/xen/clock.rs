//! The paravirtual clock: Xen's system time from the time-stamp counter, and the wall clock.
//!
//! Both are kept in the shared info page under sequence locks (`xen.h`, `vcpu_time_info` and `wc_*`).

use super::page::SharedPage;
use crate::base::time::{Moment, UnixSeconds};
use core::mem::offset_of;
use core::sync::atomic::{Ordering, fence};
use xen_sys::{shared_info, vcpu_info, vcpu_time_info};

/// vCPU 0's time record.
const TIME: usize = offset_of!(shared_info, vcpu_info) + offset_of!(vcpu_info, time);

fn load_u64(page: &SharedPage, offset: usize) -> u64 {
    u64::from(page.load(offset)) | u64::from(page.load(offset + 4)) << 32
}

/// Reads under a sequence lock: again until the version at `version` is even and did not change.
fn read_locked<T>(page: &SharedPage, version: usize, read: impl Fn() -> T) -> T {
    loop {
        let before = page.load_acquire(version);
        let value = read();
        // Pairs with Xen's write barrier between the values and the version.
        fence(Ordering::Acquire);
        if before & 1 == 0 && page.load(version) == before {
            return value;
        }
        core::hint::spin_loop();
    }
}

/// System time now; `time_stamp` reads the time-stamp counter.
pub fn system_time(page: &SharedPage, time_stamp: impl Fn() -> u64) -> Moment {
    let nanoseconds = read_locked(page, TIME + offset_of!(vcpu_time_info, version), || {
        let then = load_u64(page, TIME + offset_of!(vcpu_time_info, tsc_timestamp));
        let base = load_u64(page, TIME + offset_of!(vcpu_time_info, system_time));
        let scale = page.load(TIME + offset_of!(vcpu_time_info, tsc_to_system_mul));
        let [shift, ..] = page.load(TIME + offset_of!(vcpu_time_info, tsc_shift)).to_le_bytes();
        base.wrapping_add(scaled(time_stamp().wrapping_sub(then), scale, shift.cast_signed()))
    });
    Moment::from_nanoseconds(nanoseconds)
}

/// Counter ticks to nanoseconds: shifted by `shift` (left if positive), times `scale` / 2³².
fn scaled(ticks: u64, scale: u32, shift: i8) -> u64 {
    let distance = u32::from(shift.unsigned_abs());
    let shifted = if shift >= 0 { ticks.checked_shl(distance) } else { ticks.checked_shr(distance) };
    let product = u128::from(shifted.unwrap_or(0)) * u128::from(scale);
    u64::try_from(product >> 32).unwrap_or(u64::MAX)
}

/// The wall clock at `now`.
pub fn unix_time(page: &SharedPage, now: Moment) -> UnixSeconds {
    let (seconds, nanoseconds) = read_locked(page, offset_of!(shared_info, wc_version), || {
        let high = page.load(offset_of!(shared_info, wc_sec_hi));
        let low = page.load(offset_of!(shared_info, wc_sec));
        (u64::from(high) << 32 | u64::from(low), page.load(offset_of!(shared_info, wc_nsec)))
    });
    let since_boot = now.as_nanoseconds().saturating_add(u64::from(nanoseconds));
    UnixSeconds(seconds.saturating_add(since_boot / 1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::super::page::on_heap;
    use super::*;

    #[test]
    fn system_time_scales_the_ticks_since_the_record() {
        let page = on_heap::shared_page();
        page.store(32, 2);
        page.store(40, 1_000);
        page.store(48, 5_000);
        // 2 ns a tick: scale 2^31, shifted left by two.
        page.store(56, 1 << 31);
        page.store(60, 2);
        assert_eq!(system_time(&page, || 1_010).as_nanoseconds(), 5_020);
        page.store(60, u32::from((-1i8).cast_unsigned()));
        assert_eq!(system_time(&page, || 1_040).as_nanoseconds(), 5_010);
    }

    #[test]
    fn wall_clock_adds_system_time() {
        let page = on_heap::shared_page();
        page.store(0xc04, 1_700_000_000);
        page.store(0xc08, 900_000_000);
        let now = Moment::from_nanoseconds(2_200_000_000);
        assert_eq!(unix_time(&page, now), UnixSeconds(1_700_000_003));
    }
}
