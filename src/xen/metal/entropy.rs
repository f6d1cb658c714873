//! Unpredictable bytes from the CPU's generators, mixed with the time-stamp counter.

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step, _rdtsc};
use core::hash::Hasher;
use siphasher::sip128::{Hasher128, SipHasher13};

/// Tries before a generator counts as broken (Intel's guide recommends ten for RDRAND; RDSEED runs dry more
/// often).
const TRIES: usize = 1000;

/// 32 bytes from RDSEED, or RDRAND where it is missing; `None` when the CPU has neither or they fail.
pub fn bytes() -> Option<[u8; 32]> {
    let draw = generator()?;
    let mut seed = [0; 32];
    for (round, half) in seed.chunks_exact_mut(16).enumerate() {
        // A hash of several draws: a weak generator alone does not decide the result.
        let mut hasher = SipHasher13::new_with_keys(draw()?, draw()?);
        hasher.write_u64(draw()?);
        hasher.write_u64(draw()?);
        // SAFETY: every x86-64 CPU has a time-stamp counter.
        hasher.write_u64(unsafe { _rdtsc() });
        hasher.write_usize(round);
        half.copy_from_slice(&hasher.finish128().as_bytes());
    }
    Some(seed)
}

fn generator() -> Option<fn() -> Option<u64>> {
    let has_rdseed = __cpuid_count(7, 0).ebx & 1 << 18 != 0;
    let has_rdrand = __cpuid(1).ecx & 1 << 30 != 0;
    match (has_rdseed, has_rdrand) {
        (true, _) => Some(rdseed),
        (_, true) => Some(rdrand),
        _ => None,
    }
}

fn rdseed() -> Option<u64> {
    let mut value = 0;
    // SAFETY: `generator` saw the feature.
    (0..TRIES).any(|_| unsafe { _rdseed64_step(&mut value) } == 1).then_some(value)
}

fn rdrand() -> Option<u64> {
    let mut value = 0;
    // SAFETY: `generator` saw the feature.
    (0..TRIES).any(|_| unsafe { _rdrand64_step(&mut value) } == 1).then_some(value)
}
