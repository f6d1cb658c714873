//! `rate=` of a vif: how many bytes its client may send, as a token bucket.
//!
//! The toolstack writes the node `rate` into the backend's directory: bytes per interval, a comma, and the interval in
//! microseconds (libxl; xl's default is 50 ms, `xl-network-configuration`(5)). As in Linux's netback, what the client
//! sends is counted, as the size that its requests say, and what is too much waits in its ring. Unlike there the bucket
//! holds one interval's bytes and no more: a packet passes while there are any left, and what it took beyond those is
//! missing in the next interval.

use crate::base::text::decimal;
use crate::base::time::Moment;
use core::fmt;
use core::time::Duration;

/// A limit as the toolstack writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// In one interval.
    bytes: u64,
    interval: Duration,
}

/// Text that is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRateLimit;

impl RateLimit {
    /// Reads the node `rate`.
    pub fn parse(text: &str) -> Result<Self, NoRateLimit> {
        let (bytes, interval) = text.split_once(',').ok_or(NoRateLimit)?;
        let (bytes, interval) =
            (decimal(bytes).ok_or(NoRateLimit)?, decimal::<u32>(interval).ok_or(NoRateLimit)?);
        if bytes == 0 || interval == 0 {
            return Err(NoRateLimit);
        }
        Ok(Self { bytes, interval: Duration::from_micros(interval.into()) })
    }

    fn depth(self) -> i64 {
        i64::try_from(self.bytes).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes every {} us", self.bytes, self.interval.as_micros() as u64)
    }
}

/// What is left of a limit, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    limit: Option<RateLimit>,
    /// Bytes that may still be sent in this interval; negative when a packet took more. Without a limit, more than
    /// anybody ever sends.
    tokens: i64,
    /// When the interval began.
    began: Moment,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(limit: Option<RateLimit>, now: Moment) -> Self {
        Self { limit, tokens: limit.map_or(i64::MAX, RateLimit::depth), began: now }
    }

    /// The limit that it keeps.
    pub fn limit(&self) -> Option<RateLimit> {
        self.limit
    }

    /// Adds what time has brought.
    pub fn refill(&mut self, now: Moment) {
        let Some(limit) = self.limit else { return };
        let interval = limit.interval.as_nanos() as u64;
        let passed = now.since(self.began).as_nanos() as u64 / interval;
        if passed > 0 {
            let brought = i64::try_from(passed).unwrap_or(i64::MAX).saturating_mul(limit.depth());
            self.tokens = self.tokens.saturating_add(brought).min(limit.depth());
            self.began = self.began + Duration::from_nanos(passed * interval);
        }
    }

    /// Whether nothing may be sent before [`Self::due`].
    pub fn is_empty(&self) -> bool {
        self.tokens <= 0
    }

    /// Takes what a packet costs.
    pub fn take(&mut self, bytes: u16) {
        self.tokens -= i64::from(bytes);
    }

    /// When an empty bucket has something in it again; `None` if it is not empty.
    pub fn due(&self) -> Option<Moment> {
        let limit = self.limit.filter(|_| self.is_empty())?;
        let intervals = self.tokens.unsigned_abs() / limit.bytes + 1;
        let wait = (limit.interval.as_nanos() as u64).saturating_mul(intervals);
        Some(self.began + Duration::from_nanos(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanoseconds(1_000_000_000 + milliseconds * 1_000_000)
    }

    /// Sends packets of 1,500 bytes for so long, whenever that may be; bytes sent.
    fn send(bucket: &mut TokenBucket, milliseconds: u64) -> u64 {
        let mut sent = 0;
        for now in 0..milliseconds {
            bucket.refill(at(now));
            while !bucket.is_empty() {
                bucket.take(1500);
                sent += 1500;
            }
        }
        sent
    }

    #[test]
    fn v_2_what_libxl_writes_is_read_and_nothing_else() {
        // rate=2Mb/s
        let limit = RateLimit::parse("12500,50000").unwrap();
        assert_eq!(limit.to_string(), "12500 bytes every 50000 us");
        for text in [
            "",
            "12500",
            "12500,",
            ",50000",
            "12500,50000 ",
            "2Mb/s",
            "12500,50000,1",
            "-1,50000",
            "0,50000",
            "1,0",
        ] {
            assert_eq!(RateLimit::parse(text), Err(NoRateLimit), "{text}");
        }
    }

    #[test]
    fn v_2_bytes_are_limited_in_the_long_run_and_a_pause_saves_up_one_interval() {
        let limit = RateLimit::parse("12500,50000").ok();
        let mut bucket = TokenBucket::new(limit, at(0));
        let sent = send(&mut bucket, 10_000);
        assert!((2_500_000..2_500_000 + 1500).contains(&sent), "{sent}");
        let mut bucket = TokenBucket::new(limit, at(0));
        bucket.refill(at(60_000));
        let begun = bucket;
        (0..9).for_each(|_| bucket.take(1500));
        assert!(bucket.is_empty() && !begun.is_empty());
    }

    #[test]
    fn v_2_a_packet_larger_than_an_interval_s_bytes_passes_and_is_paid_for() {
        let mut bucket = TokenBucket::new(RateLimit::parse("1000,50000").ok(), at(0));
        bucket.take(65_000);
        assert!(bucket.is_empty());
        assert_eq!(bucket.due(), Some(at(65 * 50)));
        bucket.refill(at(65 * 50 - 1));
        assert!(bucket.is_empty());
        bucket.refill(at(65 * 50));
        assert!(!bucket.is_empty());
        assert_eq!(bucket.due(), None);
    }

    #[test]
    fn v_2_without_a_limit_a_bucket_never_runs_empty() {
        let mut bucket = TokenBucket::new(None, at(0));
        (0..1_000_000).for_each(|_| bucket.take(u16::MAX));
        bucket.refill(at(1));
        assert_eq!((bucket.is_empty(), bucket.due(), bucket.limit()), (false, None, None));
    }
}
